// Retries: how often, with which delays.

import { setTimeout as sleep } from "node:timers/promises";
import { isWorthRetrying, storeErrorOf } from "./call-failure.ts";
import { AnnalsError, ConflictError, EventIdConflictError, ExhaustedError } from "./errors.ts";

export interface RetryPolicy {
  /**
   * The number of attempts. 1: no retry. Absent: 40, which take more than a minute, so that the
   * time for an operation ends it first.
   */
  readonly attemptsMax: number;
  /** The delay before the second attempt. It doubles with each further one. */
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
}

export const defaultRetryPolicy: RetryPolicy = Object.freeze({
  attemptsMax: 40,
  delayMinMs: 50,
  delayMaxMs: 3_000,
});

/** The longest delay that a server may ask for. */
const askedDelayMaxMs = 30_000;

/**
 * The delay after failure number `failures` (from 1). `chance` is from [0, 1) and determines the
 * upper half of the delay, so that clients that failed together do not retry together.
 */
export function delayMs(
  { delayMinMs, delayMaxMs }: RetryPolicy,
  failures: number,
  chance: number,
  askedMs = 0,
): number {
  const full = Math.min(delayMaxMs, delayMinMs * 2 ** Math.min(failures - 1, 30));
  const own = full / 2 + (full / 2) * chance;
  return Math.max(own, Math.min(askedMs, askedDelayMaxMs) * (1 + chance / 10));
}

export function delayAfter(policy: RetryPolicy, failures: number, error: unknown): number {
  const asked = error instanceof ExhaustedError ? error.retryAfterMs : undefined;
  return delayMs(policy, failures, Math.random(), asked);
}

/** Waits; fails with the signal's own reason. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

export interface Patience {
  readonly policy: RetryPolicy;
  /** The time for all attempts and the delays between them. */
  readonly timeoutMs: number;
  /** The time for one attempt. */
  readonly attemptTimeoutMs: number;
  /**
   * False: it is not made again once an attempt may have taken effect, because doing it twice would
   * undo what others did in between. Absent: true.
   */
  readonly isIdempotent?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a call until it succeeds, fails finally, or the time is over, and throws the last failure
 * as the SDK's error. The append may be stored if any attempt may have stored it.
 */
export async function patiently<T>(
  attempt: (options: { timeoutMs: number; signal: AbortSignal | undefined }) => Promise<T>,
  { policy, timeoutMs, attemptTimeoutMs, isIdempotent = true, signal }: Patience,
): Promise<T> {
  const endsAt = performance.now() + timeoutMs;
  let mayHaveBeenStored = false;
  for (let failures = 1; ; failures += 1) {
    const leftMs = Math.max(1, endsAt - performance.now());
    try {
      return await attempt({ timeoutMs: Math.min(leftMs, attemptTimeoutMs), signal });
    } catch (caught) {
      signal?.throwIfAborted();
      const error = storeErrorOf(caught);
      mayHaveBeenStored ||= error instanceof AnnalsError && error.mayHaveBeenStored;
      const waitMs = delayAfter(policy, failures, error);
      const over = failures >= policy.attemptsMax || performance.now() + waitMs >= endsAt;
      const isDone = !isIdempotent && mayHaveBeenStored;
      if (over || isDone || !isWorthRetrying(error)) throw withOutcome(error, mayHaveBeenStored);
      await pause(waitMs, signal);
    }
  }
}

/**
 * Adds to an append's last failure what earlier attempts may have done. If the store decided
 * against the append, nothing was stored: it looks for the ids first, and decides in the order of
 * arrival.
 */
export function withOutcome(error: unknown, mayHaveBeenStored: boolean): unknown {
  const decided = error instanceof ConflictError || error instanceof EventIdConflictError;
  if (error instanceof AnnalsError && !decided) error.mayHaveBeenStored ||= mayHaveBeenStored;
  return error;
}
