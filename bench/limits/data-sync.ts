// The limit of the disk: repeatedly appends bytes to a file and waits until they are durable. The
// file is on the file system of the stores.

import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { Histogram } from "../load/histogram.ts";

export interface SyncJob {
  readonly file: string;
  readonly bytes: number;
  readonly measureMs: number;
}

export interface SyncResult {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

function run({ file, bytes, measureMs }: SyncJob): SyncResult {
  const descriptor = openSync(file, "w");
  const block = Buffer.alloc(bytes, 0x61);
  const latency = new Histogram();
  const started = performance.now();
  try {
    for (let since = started; since - started < measureMs;) {
      writeSync(descriptor, block);
      fdatasyncSync(descriptor);
      const now = performance.now();
      latency.record(now - since);
      since = now;
    }
  } finally {
    closeSync(descriptor);
    rmSync(file);
  }
  return {
    perSecond: latency.count / ((performance.now() - started) / 1_000),
    p50: latency.percentile(0.5),
    p99: latency.percentile(0.99),
    p999: latency.percentile(0.999),
  };
}

process.on("message", (job: SyncJob) => process.send?.(run(job)));
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
