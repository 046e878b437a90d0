// Long work on the main thread, done in steps, between which others have the thread. Who runs the
// work decides whether it waits between the steps, and for whom.

/**
 * Work that can be left at each `yield`. It tells what the step has cost, as the scheduler counts
 * (log/scheduling/policy.ts): in bytes, of which 32 KiB are about a millisecond.
 */
export type Steps<T> = Generator<number, T>;

/** The cost after which others have the thread. */
export const stepBytes = 32 * 1024;

/** Adds up what work costs until it is time for others. */
export class Effort {
  private bytes = 0;

  /** True: the step is long enough, and `take` tells its cost. */
  spend(bytes: number): boolean {
    this.bytes += bytes;
    return this.bytes >= stepBytes;
  }

  take(): number {
    const { bytes } = this;
    this.bytes = 0;
    return bytes;
  }
}

/** Does the work without a pause: for what is known to be short. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
