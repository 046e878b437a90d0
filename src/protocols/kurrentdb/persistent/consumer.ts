// One connected consumer: what is in flight to it, and what is to be sent.

/** An event that is in flight. */
export interface HeldEvent {
  readonly token: string;
  readonly retries: number;
  readonly record: Uint8Array;
  readonly link: Uint8Array | undefined;
  /** The id by which the consumer acknowledges it: the link's, if there is one. */
  readonly id: string;
  readonly position: number;
  /** Events of one key go to one consumer, if the strategy pins them. */
  readonly key: string;
}

export class Consumer {
  readonly peer: string;
  readonly bufferSize: number;
  /** By id. */
  readonly held = new Map<string, HeldEvent>();
  private outbox: HeldEvent[] = [];
  private wake: (() => void) | undefined;
  private end: { readonly error: unknown } | undefined;
  itemCount = 0;

  constructor(peer: string, bufferSize: number) {
    this.peer = peer;
    this.bufferSize = bufferSize;
  }

  get hasRoom(): boolean {
    return this.held.size < this.bufferSize;
  }

  give(held: HeldEvent): void {
    this.held.set(held.id, held);
    this.outbox.push(held);
    this.itemCount++;
    this.wake?.();
  }

  /** Takes an event away. It is not sent, if it was not yet. */
  take(held: HeldEvent): void {
    this.held.delete(held.id);
    this.outbox = this.outbox.filter((other) => other !== held);
  }

  /** Undefined `error`: in order. */
  finish(error: unknown): void {
    this.end ??= { error };
    this.wake?.();
  }

  /** What to send. Undefined: no more. Throws if the subscription ended. */
  async next(): Promise<readonly HeldEvent[] | undefined> {
    for (;;) {
      if (this.end !== undefined) {
        if (this.end.error !== undefined) throw this.end.error as Error;
        return undefined;
      }
      if (this.outbox.length > 0) {
        const { outbox } = this;
        this.outbox = [];
        return outbox;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
