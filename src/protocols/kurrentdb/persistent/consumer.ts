// One connected consumer: what is in flight to it, and what is to be sent.

import type { HandlingTimes } from "./handling-times.ts";
import type { ConsumerIdentity } from "./identity.ts";

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
  readonly identity: ConsumerIdentity;
  readonly bufferSize: number;
  readonly memory: Held;
  /** Undefined: the subscription wants no extra statistics. */
  readonly times: HandlingTimes | undefined;
  /** By id. */
  readonly held = new Map<string, HeldEvent & { readonly givenMs: number }>();
  /** Called when what waited here was taken. */
  onRoom: (() => void) | undefined;
  private outbox: DueEvent[] = [];
  private outboxBytes = 0;
  private wake: (() => void) | undefined;
  private end: { readonly error: unknown } | undefined;
  itemCount = 0;

  constructor(identity: ConsumerIdentity, bufferSize: number, memory: Held, times?: HandlingTimes) {
    this.identity = identity;
    this.bufferSize = bufferSize;
    this.memory = memory;
    this.times = times;
  }

  get hasRoom(): boolean {
    return this.held.size < this.bufferSize && this.outboxBytes < outboxBytesMax;
  }

  give(due: DueEvent): void {
    const { token, id, position } = due;
    this.held.set(id, { token, id, position, givenMs: performance.now() });
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

  /** The consumer answered this event. Undefined: it does not hold it. */
  answered(id: string): HeldEvent | undefined {
    const held = this.held.get(id);
    if (held === undefined) return undefined;
    this.held.delete(id);
    this.times?.record(performance.now() - held.givenMs);
    return held;
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
