// The limit of LevelDB under Node: writes the bytes of encoded events in chunks of 8 KiB, in one
// synced batch after another, without index, checks or calls.

import { rmSync } from "node:fs";
import { Level } from "level";
import { annalsCalls } from "../load/annals-calls.ts";
import { Histogram } from "../load/histogram.ts";

process.env["UV_THREADPOOL_SIZE"] ??= "8";

export interface LevelJob {
  readonly folder: string;
  /** Events in a batch. */
  readonly events: number;
  /** Bytes of one stored event. */
  readonly eventBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface LevelResult {
  readonly eventsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

const chunkBytes = 8 * 1024;
const poolBytes = 8 * 1024 * 1024;

/** Bytes that compress like those of events. */
function pool(): Buffer {
  const call = annalsCalls.call({ verb: "append", events: 100, streams: 10_000 }, 0);
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes < poolBytes;) {
    const part = Buffer.from(call?.request(0) ?? []);
    parts.push(part);
    bytes += part.length;
  }
  return Buffer.concat(parts);
}

async function run(job: LevelJob): Promise<LevelResult> {
  const { folder, events, eventBytes, warmUpMs, measureMs } = job;
  // The options of the product's database: src/storage/leveldb/kv/level-kv.ts.
  const database = new Level<Buffer, Buffer>(folder, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: true,
    writeBufferSize: 64 * 1024 * 1024,
    maxFileSize: 32 * 1024 * 1024,
  });
  await database.open();
  const bytes = pool();
  const latency = new Histogram();
  let position = 0;
  let measured = 0;
  let offset = 0;
  let started = performance.now();
  const warm = started + warmUpMs;
  try {
    for (let since = started; since < warm + measureMs; since = performance.now()) {
      if (latency.count === 0 && since >= warm) {
        started = since;
        measured = 0;
      }
      const batch = database.batch();
      for (let left = events * eventBytes; left > 0; left -= chunkBytes) {
        const count = Math.min(left, chunkBytes);
        offset = offset + count > bytes.length ? 0 : offset;
        const key = Buffer.alloc(9);
        key.writeDoubleBE(++position, 1);
        batch.put(key, bytes.subarray(offset, (offset += count)));
      }
      await batch.write({ sync: true } as object);
      measured += events;
      if (since >= warm) latency.record(performance.now() - since);
    }
    const seconds = (performance.now() - started) / 1_000;
    return {
      eventsPerSecond: measured / seconds,
      p50: latency.percentile(0.5),
      p99: latency.percentile(0.99),
      p999: latency.percentile(0.999),
    };
  } finally {
    await database.close();
    rmSync(folder, { recursive: true });
  }
}

process.on("message", (job: LevelJob) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ error: (error as Error).message }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
