// The measurements of one part of a load.

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

  /** Ends the warm-up. Failures are kept: a load that failed once does not count. */
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
