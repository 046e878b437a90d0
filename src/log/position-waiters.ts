// Calls that wait until a consumer or a group has reached a position. They do not poll: each change
// of a position is reported here.

import type { AnyPosition } from "../domain/checkpoint.ts";
import { AnnalsError } from "../domain/errors.ts";
import { cancellation } from "./cancellation.ts";
import type { Timers } from "./timers.ts";

export class PositionWaiters<P extends AnyPosition = number> {
  private readonly timers: Timers;
  private readonly byName = new Map<string, Set<PositionWaiter<P>>>();
  private stopped = false;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  /** The number of waiting calls. */
  get count(): number {
    let count = 0;
    for (const waiters of this.byName.values()) count += waiters.size;
    return count;
  }

  /** The names that calls wait for. */
  get names(): readonly string[] {
    return [...this.byName.keys()];
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** Notices every change from now on. The caller must close it. */
  open(name: string, position: P): PositionWaiter<P> {
    const waiter = new PositionWaiter<P>(this, this.timers, name, position);
    const waiters = this.byName.get(name);
    if (waiters === undefined) this.byName.set(name, new Set([waiter]));
    else waiters.add(waiter);
    if (this.stopped) waiter.fail(stopping());
    return waiter;
  }

  /** The consumer or group of this name has reached a position. */
  reached(name: string, position: P): void {
    for (const waiter of this.byName.get(name) ?? []) waiter.reached(position);
  }

  /** No consumer or group has this name any more. */
  fail(name: string, error: AnnalsError): void {
    for (const waiter of this.byName.get(name) ?? []) waiter.fail(error);
  }

  close(waiter: PositionWaiter<P>): void {
    const waiters = this.byName.get(waiter.name);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.byName.delete(waiter.name);
  }

  /** Ends every wait, including later ones. */
  stop(): void {
    this.stopped = true;
    for (const name of this.names) this.fail(name, stopping());
  }
}

function stopping(): AnnalsError {
  return new AnnalsError({ reason: "STOPPING" }, "the server is stopping; ask again");
}

export class PositionWaiter<P extends AnyPosition = number> {
  readonly name: string;
  private readonly waiters: PositionWaiters<P>;
  private readonly timers: Timers;
  private readonly position: P;
  private readonly outcome: Promise<P>;
  private resolve: (position: P) => void = () => {};
  private reject: (error: unknown) => void = () => {};

  constructor(waiters: PositionWaiters<P>, timers: Timers, name: string, position: P) {
    this.waiters = waiters;
    this.timers = timers;
    this.name = name;
    this.position = position;
    this.outcome = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // It may fail before the call waits.
    this.outcome.catch(() => {});
  }

  /**
   * Returns the position that was reached. Throws DEADLINE_EXCEEDED, the signal's reason, STOPPING.
   */
  async wait(ms: number, signal?: AbortSignal): Promise<P> {
    const abort = (): void => this.reject(signal && cancellation(signal));
    if (signal?.aborted === true) abort();
    signal?.addEventListener("abort", abort, { once: true });
    const stopTimer = this.timers.delay(ms, () => {
      const message = `position ${this.position} was not reached in ${ms} ms`;
      this.reject(new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, message));
    });
    try {
      return await this.outcome;
    } finally {
      stopTimer();
      signal?.removeEventListener("abort", abort);
    }
  }

  reached(position: P): void {
    if (position >= this.position) this.resolve(position);
  }

  fail(error: AnnalsError): void {
    this.reject(error);
  }

  close(): void {
    this.waiters.close(this);
  }
}
