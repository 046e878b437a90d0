// What a list of streams costs in look-ups: one trip for the last chunks of many streams, and none
// for what the dictionary tells.
import { expect, test } from "vitest";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import type { StorageRead } from "../../../../src/storage/storage.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";

async function countedStore() {
  const kv = openMemoryKv();
  const calls = { getMany: 0, page: 0 };
  const bytes = { atOnce: 0 };
  const counted = {
    ...kv,
    getMany: async (keys: Uint8Array[]) => {
      calls.getMany++;
      const values = await kv.getMany(keys);
      const sum = values.reduce((all, value) => all + (value?.length ?? 0), 0);
      bytes.atOnce = Math.max(bytes.atOnce, sum);
      return values;
    },
    page: (range: Parameters<typeof kv.page>[0]) => {
      calls.page++;
      return kv.page(range);
    },
  };
  const storage = await openStorageOver({ openKv: async () => counted });
  return { storage, calls, bytes };
}

const all = { prefix: "", after: "", limit: 1_000 };
const streamCount = 96;
/** Beyond what is kept of recent chunks. */
const filler = { stream: "filler", data: Buffer.alloc(64 * 1024) };

test.each([
  ["of one event each", 1, 0],
  ["of events in several chunks", 2, streamCount],
])(
  "a list of streams %s looks up little else than its range",
  async (_, rounds, firstChunks) => {
    const { storage, calls } = await countedStore();
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < streamCount; i++) {
        await commitEvents(storage, [newEvent({ stream: `s-${i}` })]);
      }
      for (let i = 0; i < 600; i++) await commitEvents(storage, [newEvent(filler)]);
    }
    calls.getMany = calls.page = 0;
    expect(await storage.listStreams({ ...all, prefix: "s-" })).toHaveLength(streamCount);
    expect(calls.page).toBeLessThanOrEqual(2 + firstChunks);
    // A few trips with less than 32 chunks find out that they are small.
    expect(calls.getMany).toBeLessThanOrEqual(Math.ceil(streamCount / 32) + 3 + firstChunks);
    // What is known of a chunk is not looked up again.
    calls.getMany = calls.page = 0;
    expect(await storage.listStreams({ ...all, prefix: "s-" })).toHaveLength(streamCount);
    expect(calls).toEqual({ getMany: 0, page: 2 });
    await storage.close();
  },
  30_000,
);

test("a list of event types looks up nothing but its range", async () => {
  const { storage, calls } = await countedStore();
  for (let i = 0; i < streamCount; i++) await commitEvents(storage, [newEvent({ type: `T${i}` })]);
  calls.getMany = calls.page = 0;
  expect(await storage.listEventTypes(all)).toHaveLength(streamCount);
  expect([calls.getMany, calls.page]).toEqual([0, 2]);
  await storage.close();
});

const largeBytes = 1_000_000;

test.each([
  ["a list of streams", "listed"],
  ["a read of a query", "query"],
  ["a read of a stream", "stream"],
])("%s looks up a few large chunks at a time", async (_, how) => {
  const { storage, bytes } = await countedStore();
  const count = 30;
  for (let i = 0; i < count; i++) {
    const stream = how === "listed" ? `s-${i}` : "s";
    const data = Buffer.alloc(i === 0 ? 10 : largeBytes);
    await commitEvents(storage, [newEvent({ stream, type: "T", tags: ["t"], data })]);
  }
  await commitEvents(
    storage,
    Array.from({ length: 9 }, () => newEvent({ ...filler, data: Buffer.alloc(largeBytes) })),
  );
  bytes.atOnce = 0;
  if (how === "listed") {
    expect(await storage.listStreams({ ...all, prefix: "s-" })).toHaveLength(count);
  } else {
    const nothing = { streams: [], streamPrefixes: [], types: [], tagsAny: [] };
    const query = { items: [{ ...nothing, tags: ["t"] }] };
    const selection = how === "query" ? { kind: "query", query } : { kind: "stream", stream: "s" };
    const positions = { first: 1, last: storage.head().position };
    const read = { selection, direction: "forwards", positions, batchBytes: 1 } as StorageRead;
    let found = 0;
    for await (const batch of storage.read(read)) found += batch.count;
    expect(found).toBe(count);
  }
  expect(bytes.atOnce).toBeGreaterThan(largeBytes);
  expect(bytes.atOnce).toBeLessThan(5 * largeBytes);
  await storage.close();
});
