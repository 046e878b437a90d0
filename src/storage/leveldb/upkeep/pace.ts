// Work in the background at a bounded rate: it waits after what it did, longer while others need
// the machine, and is stopped wherever it waits.

import { performance, type EventLoopUtilization } from "node:perf_hooks";
import type { Delay } from "../write/write-guard.ts";

export interface PaceOptions {
  readonly bytesPerSecond: number;
  /** Whether others need the machine now. */
  readonly isBusy: () => boolean;
  readonly delay: Delay;
}

/** Thrown out of work that is no longer wanted. */
export class Stopped extends Error {}

/** While others need the machine, this part of the rate is left: it goes on, whatever happens. */
const busyShare = 1 / 8;
/** Shorter pauses are saved up. */
const pauseMsMin = 5;

export class Pace {
  private readonly options: PaceOptions;
  private owedMs = 0;
  private stopped = false;
  private readonly pauses = new Set<() => void>();

  constructor(options: PaceOptions) {
    this.options = options;
  }

  get isStopped(): boolean {
    return this.stopped;
  }

  /** Waits as long as reading so many bytes should take. Throws Stopped. */
  async spend(bytes: number): Promise<void> {
    const { bytesPerSecond, isBusy } = this.options;
    const rate = isBusy() ? bytesPerSecond * busyShare : bytesPerSecond;
    this.owedMs += (bytes / rate) * 1_000;
    if (this.owedMs >= pauseMsMin) {
      const owed = this.owedMs;
      this.owedMs = 0;
      await this.pause(owed);
    }
    if (this.stopped) throw new Stopped();
  }

  /** Ends early where it is stopped. */
  pause(ms: number): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        this.pauses.delete(wake);
        resolve();
      };
      const prevent = this.options.delay(ms, end);
      const wake = (): void => {
        prevent();
        end();
      };
      this.pauses.add(wake);
    });
  }

  stop(): void {
    this.stopped = true;
    for (const wake of this.pauses) wake();
  }
}

/**
 * Whether this process's event loop was busy for much of the time since it was last asked. Appends
 * that keep two cores busy take two thirds of it: the rest they wait for the disk.
 */
export function busyEventLoop(share = 0.4): () => boolean {
  let last: EventLoopUtilization = performance.eventLoopUtilization();
  let busy = false;
  return () => {
    const now = performance.eventLoopUtilization();
    const since = performance.eventLoopUtilization(now, last);
    if (since.idle + since.active >= 100) {
      busy = since.utilization > share;
      last = now;
    }
    return busy;
  };
}
