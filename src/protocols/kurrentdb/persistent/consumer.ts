// One connected consumer: what is in flight to it, and what is to be sent.

/** An event that is in flight. */
export interface HeldEvent {
  readonly token: string;
  /** The id by which the consumer acknowledges it: the link's, if there is one. */
  readonly id: string;
  readonly position: number;
}

/** An event that is to be sent. */
export interface DueEvent extends HeldEvent {
  readonly retries: number;
  readonly record: Uint8Array;
  readonly link: Uint8Array | undefined;
  /** Events of one key go to one consumer, if the strategy pins them. */
  readonly key: string;
}

/** What a consumer may leave untaken before others get the events. */
const outboxBytesMax = 256 * 1024;

/** Draws from the budget of the consumer's call. `hold` throws OVERLOADED. */
interface Held {
  hold(bytes: number): void;
  release(bytes: number): void;
}

export function bytesOf({ record, link }: DueEvent): number {
  return record.length + (link?.length ?? 0);
}

export class Consumer {
  readonly peer: string;
  readonly bufferSize: number;
  readonly memory: Held;
  /** By id. */
  readonly held = new Map<string, HeldEvent>();
  /** Called when what waited here was taken. */
  onRoom: (() => void) | undefined;
  private outbox: DueEvent[] = [];
  private outboxBytes = 0;
  private wake: (() => void) | undefined;
  private end: { readonly error: unknown } | undefined;
  itemCount = 0;

  constructor(peer: string, bufferSize: number, memory: Held) {
    this.peer = peer;
    this.bufferSize = bufferSize;
    this.memory = memory;
  }

  get hasRoom(): boolean {
    return this.held.size < this.bufferSize && this.outboxBytes < outboxBytesMax;
  }

  give(due: DueEvent): void {
    const { token, id, position } = due;
    this.held.set(id, { token, id, position });
    const bytes = bytesOf(due);
    try {
      this.memory.hold(bytes);
    } catch (error) {
      return this.finish(error);
    }
    this.outboxBytes += bytes;
    this.outbox.push(due);
    this.itemCount++;
    this.wake?.();
  }

  /** Takes an event away. It is not sent, if it was not yet. */
  take({ id, position }: HeldEvent): void {
    this.held.delete(id);
    const kept = this.outbox.filter((other) => other.position !== position);
    const taken = this.outbox.filter((other) => other.position === position);
    this.outbox = kept;
    for (const due of taken) this.release(bytesOf(due));
  }

  /** Undefined `error`: in order. */
  finish(error: unknown): void {
    this.end ??= { error };
    this.wake?.();
  }

  /** What to send. Undefined: no more. Throws if the subscription ended. */
  async next(): Promise<readonly DueEvent[] | undefined> {
    for (;;) {
      if (this.end !== undefined) {
        if (this.end.error !== undefined) throw this.end.error as Error;
        return undefined;
      }
      if (this.outbox.length > 0) {
        const { outbox } = this;
        this.outbox = [];
        this.release(this.outboxBytes);
        this.onRoom?.();
        return outbox;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  private release(bytes: number): void {
    this.outboxBytes -= bytes;
    this.memory.release(bytes);
  }
}
