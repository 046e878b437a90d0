// Trying again: how often, how long to wait in between, and who must not wait with whom.

import { setTimeout as sleep } from "node:timers/promises";
import { isWorthRetrying, storeErrorOf } from "./call-failure.ts";
import { AnnalsError, ConflictError, EventIdConflictError, ExhaustedError } from "./errors.ts";

export interface RetryPolicy {
  /** How often a call is made at most. 1: never again. */
  readonly attemptsMax: number;
  /** The wait before the second attempt; doubles with each further one. */
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
}

export const defaultRetryPolicy: RetryPolicy = Object.freeze({
  attemptsMax: 12,
  delayMinMs: 50,
  delayMaxMs: 3_000,
});

/** The longest a server may make a client wait before it looks again. */
const askedDelayMaxMs = 30_000;

/**
 * How long to wait after failure number `failures` (from 1). `chance` is from [0, 1): the upper
 * half of the delay is left to it, so that clients that failed together do not come back
 * together.
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
  /** For all attempts and the waits between them. */
  readonly timeoutMs: number;
  /** For one attempt. */
  readonly attemptTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a call until it succeeds, fails for good, or patience ends; then throws the last failure,
 * as the SDK's error. It may have been stored if any attempt may have stored it.
 */
export async function patiently<T>(
  attempt: (options: { timeoutMs: number; signal: AbortSignal | undefined }) => Promise<T>,
  { policy, timeoutMs, attemptTimeoutMs, signal }: Patience,
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
      if (over || !isWorthRetrying(error)) throw withOutcome(error, mayHaveBeenStored);
      await pause(waitMs, signal);
    }
  }
}

/**
 * An append's last failure, told what the attempts before it may have done. That the store decided
 * against the append says enough: it looks for the ids first, and decides in the order of arrival.
 */
export function withOutcome(error: unknown, mayHaveBeenStored: boolean): unknown {
  const decided = error instanceof ConflictError || error instanceof EventIdConflictError;
  if (error instanceof AnnalsError && !decided) error.mayHaveBeenStored ||= mayHaveBeenStored;
  return error;
}
