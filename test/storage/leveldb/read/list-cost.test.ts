// What a list of streams costs in look-ups: one trip for the last chunks of many streams, and none
// for what the dictionary tells.
import { expect, test } from "vitest";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";

async function countedStore() {
  const kv = openMemoryKv();
  const calls = { getMany: 0, page: 0 };
  const counted = {
    ...kv,
    getMany: (keys: Uint8Array[]) => {
      calls.getMany++;
      return kv.getMany(keys);
    },
    page: (range: Parameters<typeof kv.page>[0]) => {
      calls.page++;
      return kv.page(range);
    },
  };
  const storage = await openStorageOver({ openKv: async () => counted });
  return { storage, calls };
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
    expect(calls.getMany).toBeLessThanOrEqual(Math.ceil(streamCount / 32));
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
