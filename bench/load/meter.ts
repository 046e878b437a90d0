// What one part of a load has done while it was measured.

import { Histogram } from "./histogram.ts";
import type { PartResult } from "./job.ts";

export class Meter {
  readonly latency = new Histogram();
  calls = 0;
  events = 0;
  messages = 0;
  receivedBytes = 0;
  failed = 0;
  late = 0;
  firstFailure: string | undefined;
  private since = performance.now();

  /** The warm-up is over. Failures are remembered: a load that failed once is no measurement. */
  restart(): void {
    this.latency.clear();
    this.calls = 0;
    this.events = 0;
    this.messages = 0;
    this.receivedBytes = 0;
    this.late = 0;
    this.since = performance.now();
  }

  fail(message: string): void {
    this.failed++;
    this.firstFailure ??= message;
  }

  result(): PartResult {
    return {
      seconds: (performance.now() - this.since) / 1_000,
      calls: this.calls,
      events: this.events,
      messages: this.messages,
      receivedBytes: this.receivedBytes,
      failed: this.failed,
      firstFailure: this.firstFailure,
      late: this.late,
      p50: this.latency.percentile(0.5),
      p99: this.latency.percentile(0.99),
      p999: this.latency.percentile(0.999),
    };
  }
}
