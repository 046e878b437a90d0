// Streams that were read or written lately are read without a look at the disk.
import { expect, test } from "vitest";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import {
  openStorageOver,
  openStoreOver,
  type OverOptions,
} from "../../../../src/storage/leveldb/open.ts";
import type { Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { deleteStream } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { commitEvents, newEvent, recordsOf } from "../../../support/events.ts";

async function countedStore(more: Partial<OverOptions> = {}) {
  const kv = openMemoryKv();
  const looks = { count: 0 };
  const counted = {
    ...kv,
    getMany: (keys: Uint8Array[]) => {
      looks.count++;
      return kv.getMany(keys);
    },
    getNow: (key: Uint8Array) => {
      looks.count++;
      return kv.getNow?.(key);
    },
    page: (range: Parameters<typeof kv.page>[0]) => {
      looks.count++;
      return kv.page(range);
    },
  };
  const open = () => openStorageOver({ openKv: async () => counted, ...more });
  return { open, looks };
}

const order = { kind: "stream", stream: "order-1" } as const;
const whole = (storage: Storage, parts: Partial<StorageRead> = {}) =>
  recordsOf(storage, { selection: order, ...parts });

/** Events of the stream among others, which fill more than what is kept of recent chunks. */
async function fill(storage: Storage, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await commitEvents(storage, [newEvent({ stream: "order-1", data: `${i}` })]);
    const long = { stream: `long-${i}`, data: Buffer.alloc(1024 * 1024) };
    await commitEvents(storage, [newEvent(long)]);
  }
}

test("a stream is read from memory after it was written, in every part", async () => {
  const { open, looks } = await countedStore();
  const storage = await open();
  await fill(storage, 12);
  looks.count = 0;
  const all = await whole(storage);
  expect(all).toHaveLength(12);
  expect(await whole(storage, { direction: "backwards" })).toEqual(all.toReversed());
  expect(await whole(storage, { versions: { first: 3, last: 5 } })).toEqual(all.slice(2, 5));
  expect(await whole(storage, { positions: { first: 4, last: 9 } })).toEqual(all.slice(2, 5));
  expect(await whole(storage, { batchBytes: 1 })).toEqual(all);
  expect(await whole(storage, { batchEvents: 5 })).toEqual(all);
  expect(await whole(storage, { versions: { first: 13, last: 20 } })).toEqual([]);
  expect(looks.count).toBe(0);
  await storage.close();
});

test("a stream is read from memory after it was read, and appended to without a look", async () => {
  const { open, looks } = await countedStore();
  const first = await open();
  await fill(first, 12);
  await first.close();
  const storage = await open();
  looks.count = 0;
  const all = await whole(storage);
  expect(looks.count).toBeGreaterThan(0);
  looks.count = 0;
  expect(await whole(storage)).toEqual(all);
  const { versions } = await storage.facts({ streams: ["order-1"], ids: [], conditions: [] });
  expect(versions.get("order-1")).toBe(12);
  expect(looks.count).toBe(0);
  await commitEvents(storage, [newEvent({ stream: "order-1", id: "", idFromClient: false })]);
  looks.count = 0;
  expect((await whole(storage)).slice(0, 12)).toEqual(all);
  expect(await whole(storage)).toHaveLength(13);
  expect(looks.count).toBe(0);
  await storage.close();
});

test("a read that saw a part of a stream is no source for its whole", async () => {
  const { open } = await countedStore();
  const first = await open();
  await fill(first, 12);
  await first.close();
  const storage = await open();
  expect(await whole(storage, { versions: { first: 9, last: 10 } })).toHaveLength(2);
  expect(await whole(storage, { positions: { first: 1, last: 9 } })).toHaveLength(5);
  expect(await whole(storage, { versions: { first: 9, last: 99 } })).toHaveLength(4);
  for await (const batch of storage.read({
    selection: order,
    direction: "forwards",
    positions: { first: 1, last: storage.head().position },
    batchBytes: 1,
  })) {
    expect(batch.count).toBe(1);
    break;
  }
  expect(await whole(storage)).toHaveLength(12);
  await storage.close();
});

test("with no memory, every read looks", async () => {
  const { open, looks } = await countedStore({ hotBytesMax: 0 });
  const storage = await open();
  await fill(storage, 12);
  looks.count = 0;
  for (let i = 0; i < 2; i++) expect(await whole(storage)).toHaveLength(12);
  expect(looks.count).toBeGreaterThanOrEqual(2);
  await storage.close();
});

test("what was reclaimed is in no memory, and a view of before it is refused after a restart", async () => {
  const memory = openMemoryKv();
  const kv = { ...memory, close: async () => {} };
  const open = () => openStoreOver({ openKv: async () => kv, reclaim: whenAsked });
  const { storage, reclaimer } = await open();
  await commitEvents(storage, [newEvent({ stream: "order-1", data: "private" })]);
  const { position } = storage.head();
  const before = { asOf: position, positions: { first: 1, last: position } };
  await deleteStream(storage, "order-1");
  expect(await whole(storage)).toEqual([]);
  expect(await whole(storage, before)).toHaveLength(1);
  await reclaimAll(reclaimer);
  const overtaken = { failure: { reason: "READ_OVERTAKEN" } };
  await expect(whole(storage, before)).rejects.toMatchObject(overtaken);
  await storage.close();
  const { storage: later } = await open();
  await expect(whole(later, before)).rejects.toMatchObject(overtaken);
  await later.close();
});
