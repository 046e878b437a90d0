// Waiting until a projection has got somewhere: read your own writes.

import { TimedOutError } from "../store/errors.ts";
import { pause } from "../store/retry.ts";

export interface WaitOptions {
  /** Absent: 5 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The last position up to the one asked for that the projection will ever take; undefined: not
 * known.
 */
export type LastOfInterest = (position: number, signal: AbortSignal) => Promise<number | undefined>;

interface Waiter {
  position: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const timeoutDefaultMs = 5_000;
/** Most of the time it is a matter of milliseconds, and nobody has to be asked. */
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

  /** Everything up to here has been taken. Backwards, where a read model is built anew. */
  moveTo(position: number): void {
    this.reachedPosition = position;
    for (const waiter of this.waiters) if (waiter.position <= position) waiter.resolve();
  }

  /** Nobody gets anywhere any more. */
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
   * A position whose event is of no interest is never taken as such: what counts is the one
   * before.
   */
  private async ask(waiter: Waiter, signal: AbortSignal): Promise<void> {
    try {
      await pause(askAfterMs, signal);
      const last = await this.lastOfInterest(waiter.position, signal);
      waiter.position = last ?? waiter.position;
      if (this.reachedPosition >= waiter.position) waiter.resolve();
    } catch {
      // Not to know is no failure: the waiter has its own end.
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
