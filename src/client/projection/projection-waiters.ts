// Waits until a projection has reached a position, to read one's own writes.

import { TimedOutError } from "../store/errors.ts";
import { pause } from "../store/retry.ts";

export interface WaitOptions {
  /** Absent: 5 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The last position up to the given one that the projection will ever take. Undefined: not known.
 */
export type LastOfInterest = (position: number, signal: AbortSignal) => Promise<number | undefined>;

interface Waiter {
  position: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const timeoutDefaultMs = 5_000;
/** Most waits end within milliseconds, without a question to the server. */
const askAfterMs = 20;

export class ProjectionWaiters {
  private readonly waiters = new Set<Waiter>();
  private readonly lastOfInterest: LastOfInterest;
  private reachedPosition = -1;
  private ended: { readonly error: unknown } | undefined;

  constructor(lastOfInterest: LastOfInterest) {
    this.lastOfInterest = lastOfInterest;
  }

  get position(): number {
    return Math.max(this.reachedPosition, 0);
  }

  /** Everything up to this position has been taken. It decreases when a read model is rebuilt. */
  moveTo(position: number): void {
    this.reachedPosition = position;
    for (const waiter of this.waiters) if (waiter.position <= position) waiter.resolve();
  }

  /** The projection has ended. */
  end(error: unknown): void {
    this.ended = { error };
    for (const waiter of this.waiters) waiter.reject(error);
  }

  /** Fails with a `TimedOutError`, the signal's reason, or what the projection ended with. */
  async reached(
    position: number,
    { timeoutMs = timeoutDefaultMs, signal }: WaitOptions,
  ): Promise<void> {
    if (this.reachedPosition >= position) return;
    if (this.ended !== undefined) throw this.ended.error;
    signal?.throwIfAborted();
    const over = new AbortController();
    const { promise, ...settle } = deferred();
    const waiter: Waiter = { position, ...settle };
    this.waiters.add(waiter);
    const timer = setTimeout(() => waiter.reject(this.late(position, timeoutMs)), timeoutMs);
    const abort = () => waiter.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    void this.ask(waiter, over.signal);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.waiters.delete(waiter);
      over.abort();
    }
  }

  /**
   * A position whose event the projection does not select is never reached as such; the last
   * selected event before it counts.
   */
  private async ask(waiter: Waiter, signal: AbortSignal): Promise<void> {
    try {
      await pause(askAfterMs, signal);
      const last = await this.lastOfInterest(waiter.position, signal);
      waiter.position = last ?? waiter.position;
      if (this.reachedPosition >= waiter.position) waiter.resolve();
    } catch {
      // If it is not known, the wait continues until its timeout.
    }
  }

  private late(position: number, timeoutMs: number): TimedOutError {
    const where = `position ${this.position} after ${timeoutMs} ms`;
    return new TimedOutError(`waited for position ${position}; the projection is at ${where}`);
  }
}

function deferred() {
  let resolve = () => {};
  let reject = (_error: unknown) => {};
  const promise = new Promise<void>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
