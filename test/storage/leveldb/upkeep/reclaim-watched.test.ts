// The reclaimer where more streams have removed events than it keeps in mind between two rounds: it
// goes through them by turns, and gives back the space of all of them.
import { expect, test } from "vitest";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStoreOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";

test.each([1, 3, 7, 100])("every stream's turn comes, %i at a time", async (watchedMax) => {
  const kv = openMemoryKv();
  const reclaim = { ...whenAsked, watchedMax };
  const { storage, reclaimer } = await openStoreOver({
    openKv: async () => kv,
    reclaim,
    lifecyclesBytesMax: 2_000,
  });
  const streamCount = 20;
  for (let round = 0; round < 5; round++) {
    const sketch = (i: number) => ({ stream: `s-${i}`, data: "x".repeat(500) });
    await commitEvents(storage, newEvents(streamCount, sketch));
  }
  for (let i = 0; i < streamCount; i++) {
    if (i % 3 === 0) await deleteStream(storage, `s-${i}`);
    else await setPolicy(storage, `s-${i}`, i % 3 === 1 ? { maxCount: 2 } : { truncateBefore: 5 });
  }
  const left = await recordsOf(storage);
  const rounds = Math.ceil(streamCount / watchedMax);
  for (let i = 0; i <= rounds; i++) await reclaimAll(reclaimer);
  const removed = 5 * streamCount - left.length;
  expect(reclaimer?.status().events).toBe(removed);
  expect(await recordsOf(storage)).toEqual(left);
  const findings: string[] = [];
  const { position: head } = storage.head();
  await verifyStore(kv, { head, found: (finding) => void findings.push(finding) });
  expect(findings).toEqual([]);
  await storage.close();
});
