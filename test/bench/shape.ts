// What the shape tests share: the product's own path from request bytes to LevelDB, with every
// operation on LevelDB counted. Counts do not depend on the machine; a regression shows as a
// number.
import { appendFromBytes } from "../../src/grpc/convert/append-bytes.ts";
import { defaultLimits } from "../../src/domain/limits.ts";
import { createEventLog, type EventLog } from "../../src/log/event-log.ts";
import type { Kv } from "../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver, systemClock } from "../../src/storage/leveldb/open.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { annalsCalls } from "../../bench/load/annals-calls.ts";
import type { CallSpec } from "../../bench/load/job.ts";

export interface KvCounts {
  batches: number;
  puts: number;
  putBytes: number;
  deletes: number;
  /** Keys asked for, and the calls that asked for some in one trip. */
  gets: number;
  getCalls: number;
  /** Entries answered by range reads, and the calls that asked. */
  entries: number;
  pages: number;
}

const none: KvCounts = {
  batches: 0,
  puts: 0,
  putBytes: 0,
  deletes: 0,
  gets: 0,
  getCalls: 0,
  entries: 0,
  pages: 0,
};

export interface Counted {
  readonly storage: Storage;
  readonly log: EventLog;
  readonly kv: Kv;
  /** What the work did to LevelDB, all of it done when it resolves. */
  readonly during: (work: () => Promise<unknown>) => Promise<KvCounts>;
}

/** `kv`: a database that has events already; the engine over it is new and knows nothing yet. */
export async function countedLog(kv: Kv = openMemoryKv()): Promise<Counted> {
  let counts = { ...none };
  const counting: Kv = {
    getMany(keys) {
      counts.getCalls++;
      counts.gets += keys.length;
      return kv.getMany(keys);
    },
    getNow(key) {
      counts.gets++;
      return kv.getNow?.(key);
    },
    async page(range) {
      const entries = await kv.page(range);
      counts.pages++;
      counts.entries += entries.length;
      return entries;
    },
    write(operations) {
      counts.batches++;
      for (const [key, value] of operations) {
        if (value === undefined) counts.deletes++;
        else {
          counts.puts++;
          counts.putBytes += key.length + value.length;
        }
      }
      return kv.write(operations);
    },
    flush: () => kv.flush(),
    compact: (first, last) => kv.compact(first, last),
    close: () => kv.close(),
  };
  const storage = await openStorageOver({ openKv: async () => counting });
  const log = createEventLog({ storage, limits: defaultLimits, clock: systemClock });
  return {
    storage,
    log,
    kv,
    async during(work) {
      counts = { ...none };
      await work();
      return counts;
    },
  };
}

/** Appends the benchmark's own requests, all of them at once. */
export async function appendRequests(
  { log }: Pick<Counted, "log">,
  spec: CallSpec,
  count: number,
): Promise<void> {
  const call = annalsCalls.call(spec, 0);
  if (!call) throw new Error("no such call");
  const conversion = { limits: defaultLimits };
  const appends = Array.from({ length: count }, (_, worker) => {
    const framed = Buffer.from(call.request(worker));
    return log.append(appendFromBytes(framed.subarray(5), conversion));
  });
  for (const { outcome } of await Promise.all(appends)) {
    if (outcome.kind !== "appended") throw new Error(`refused: ${outcome.kind}`);
  }
}

/** A store with the benchmark's preloaded events: streams of ten events, tags of ten events. */
async function preloaded(events: number): Promise<Counted> {
  const counted = await countedLog();
  const call = { verb: "preload", events: 100, from: 0, total: events } as const;
  await appendRequests(counted, call, events / 100);
  return counted;
}

/** An engine that has just been opened over a preloaded store. */
export async function reopened(events: number): Promise<Counted> {
  return countedLog((await preloaded(events)).kv);
}
