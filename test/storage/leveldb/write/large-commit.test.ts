// A commit with many new terms: how it looks them up, and that others have the thread meanwhile.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { defaultLimits } from "../../../../src/domain/limits.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import { commitEvents, newEvents } from "../../../support/events.ts";

const { appendTagsMax, appendEventsMax } = defaultLimits;
const tagsEach = appendTagsMax / appendEventsMax;

/** An append at its limits, each tag new. */
function largest(of: string) {
  return newEvents(appendEventsMax, (i) => ({
    stream: "s",
    type: "T",
    tags: Array.from({ length: tagsEach }, (_, j) => `${of}-${i}-${j}`),
  }));
}

test("new terms are looked up many in one trip, and none of them alone", async () => {
  const kv = openMemoryKv();
  const trips: number[] = [];
  let pages = 0;
  const counted = {
    ...kv,
    getMany: (keys: Uint8Array[]) => {
      trips.push(keys.length);
      return kv.getMany(keys);
    },
    page: (range: Parameters<typeof kv.page>[0]) => {
      pages++;
      return kv.page(range);
    },
  };
  const storage = await openStorageOver({ openKv: async () => counted });
  trips.length = pages = 0;
  await commitEvents(storage, largest("a"));
  expect(Math.max(...trips)).toBeLessThanOrEqual(1_000);
  expect(trips.length).toBeLessThanOrEqual(appendTagsMax / 1_000 + 5);
  expect(pages).toBeLessThanOrEqual(5);
  await storage.close();
});

test("others have the thread many times while it is composed, and see none of it", async () => {
  const kv = openMemoryKv();
  const storage = await openStorageOver({ openKv: async () => kv });
  const heads: number[] = [];
  const commit = { isDone: false };
  const done = commitEvents(storage, largest("a")).finally(() => (commit.isDone = true));
  while (!commit.isDone) {
    heads.push(storage.head().position);
    await setImmediate();
  }
  await done;
  expect(heads.filter((head) => head === 0).length).toBeGreaterThan(appendTagsMax / 220);
  expect(heads.filter((head) => head > 0 && head < appendEventsMax)).toEqual([]);
  expect(storage.head().position).toBe(appendEventsMax);
  const findings: string[] = [];
  const head = appendEventsMax;
  await verifyStore(kv, { head, found: (finding) => findings.push(finding) });
  expect(findings).toEqual([]);
  await storage.close();
});

test("many terms become visible in another turn than that in which the write has ended", async () => {
  const kv = openMemoryKv();
  let isWritten = false;
  const write: typeof kv.write = async (operations) => {
    await kv.write(operations);
    isWritten = operations.length > appendTagsMax;
  };
  const storage = await openStorageOver({ openKv: async () => ({ ...kv, write }) });
  const commit = { isDone: false };
  const done = commitEvents(storage, largest("a")).finally(() => (commit.isDone = true));
  let turnsBetween = 0;
  while (!commit.isDone) {
    if (isWritten && storage.head().position === 0) turnsBetween++;
    await setImmediate();
  }
  await done;
  expect(turnsBetween).toBe(1);
  await storage.close();
});
