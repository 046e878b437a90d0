// Limits the rate of background work. After each step the work pauses, longer while the server is
// busy. Stopping ends any pause.

import { performance, type EventLoopUtilization } from "node:perf_hooks";
import type { Delay } from "../write/write-guard.ts";

export interface PaceOptions {
  readonly bytesPerSecond: number;
  /** Whether the server is busy with other work. */
  readonly isBusy: () => boolean;
  readonly delay: Delay;
}

/** Thrown in the background work when it is stopped. */
export class Stopped extends Error {}

/** The share of the rate that is left while the server is busy. The work never stops completely. */
const busyShare = 1 / 8;
/** Shorter pauses are accumulated. */
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

  /** Pauses for as long as reading this many bytes should take. Throws Stopped. */
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

  /** Ends early when stopped. */
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
 * Whether the event loop of this process was busy for more than `share` of the time since the last
 * call. Appends that keep two cores busy use two thirds of the event loop; for the rest, they wait
 * for the disk.
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
