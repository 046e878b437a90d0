// Repeats work after a conflict, a bounded number of times.

import { ConflictError } from "../store/errors.ts";
import { delayMs, pause, type RetryPolicy } from "../store/retry.ts";

export interface ConflictOptions {
  /** The number of times the work is done. Absent: 20. */
  readonly attemptsMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const attemptsDefault = 20;
const delays: Omit<RetryPolicy, "attemptsMax"> = { delayMinMs: 4, delayMaxMs: 250 };

/**
 * Repeats the work (read, decide, append) while it ends in a `ConflictError`, after a short,
 * growing, random delay. Throws the last conflict. For appends over several streams; a repository
 * and a boundary do this themselves.
 */
export async function retryOnConflict<T>(
  work: (attempt: number) => Promise<T>,
  { attemptsMax = attemptsDefault, signal }: ConflictOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt >= attemptsMax) throw error;
      await pause(delayMs({ ...delays, attemptsMax }, attempt, Math.random()), signal);
    }
  }
}
