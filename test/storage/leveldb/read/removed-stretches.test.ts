// Reads by type, tag and category over long stretches of removed events whose space was reclaimed:
// what is skipped is counted in reads of the engine, and nothing that is left is skipped.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { scanPlacement } from "../../../../src/domain/record.ts";
import { hashOf, openChunk, withFrames } from "../../../../src/storage/leveldb/format/chunk.ts";
import { chunkKey, postingKey, TermKind } from "../../../../src/storage/leveldb/format/keys.ts";
import { composePosting, openPosting } from "../../../../src/storage/leveldb/format/posting.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStoreOver } from "../../../../src/storage/leveldb/open.ts";
import { numberOf } from "../../../../src/storage/leveldb/state/terms.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { Batch, Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { queryOf, selectQuery, selectStream } from "../../contract/checks.ts";
import { commitEvents, newEvents, readRequest, recordsOf } from "../../../support/events.ts";
import { deleteStream } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";

const removedCount = 900;
const perCommit = 3;

/** What a read asks the database for. */
interface Asked {
  chunks: number;
  postings: number;
}

let kv: Kv;
let asked: Asked;
let storage: Storage;
let kept: number[];

function counted(inner: Kv): Kv {
  return {
    ...inner,
    getMany: (keys) => {
      asked.chunks += keys.filter(([prefix]) => prefix === 0x63).length;
      return inner.getMany(keys);
    },
    page: async (range) => {
      const entries = await inner.page(range);
      asked.postings += entries.filter(([[prefix]]) => prefix === 0x70).length;
      return entries;
    },
  };
}

/** Opens the store anew, with nothing remembered. */
async function reopen() {
  await storage?.close();
  const opened = await openStoreOver({ openKv: async () => kv, reclaim: whenAsked });
  storage = opened.storage;
  return opened.reclaimer;
}

beforeEach(async () => {
  asked = { chunks: 0, postings: 0 };
  const memory = openMemoryKv();
  kv = counted({ ...memory, close: async () => {} });
  await reopen();
  const sketch = { type: "Passed", tags: ["of:all"], data: "x".repeat(200) };
  const commit = (stream: string, count: number) =>
    commitEvents(
      storage,
      newEvents(count, () => ({ ...sketch, stream })),
    );
  kept = [];
  for (let i = 0; i < removedCount; i += perCommit) {
    if (i === 0 || i === 150)
      kept.push((await commit("kept-1", 1)).commit.events[0]?.position ?? 0);
    await commit(`gone-${i % 5}`, perCommit);
  }
  // Enough besides for the index to be worth following.
  for (let i = 0; i < 4; i++) {
    const others = newEvents(1_000, () => ({ stream: "other", type: "Other" }));
    await commitEvents(storage, others);
  }
});
afterEach(() => storage.close());

async function removeAll(): Promise<void> {
  for (let i = 0; i < 5; i++) await deleteStream(storage, `gone-${i}`);
}

const selections = [
  selectQuery({ types: ["Passed"] }),
  selectQuery({ tags: ["of:all"] }),
  selectQuery({ types: ["Passed"], tags: ["of:all"] }),
];

async function positionsOf(read: Partial<StorageRead>): Promise<number[]> {
  const asOf = storage.head().position;
  return (await recordsOf(storage, { asOf, ...read })).map((each) => scanPlacement(each).position);
}

describe("removed events whose space was reclaimed", () => {
  test("are skipped by their index entries, and then by long runs of them", async () => {
    await removeAll();
    await reclaimAll(await reopen());
    for (const direction of ["forwards", "backwards"] as const) {
      for (const selection of selections) {
        await reopen();
        const expected = direction === "forwards" ? kept : kept.toReversed();
        // The second read jumps over the run of 250 postings that the first one has met.
        for (const postingsMax of [removedCount / perCommit + 10, 120]) {
          asked = { chunks: 0, postings: 0 };
          expect(await positionsOf({ selection, direction })).toEqual(expected);
          // The first 64 events of a list are looked at.
          expect(asked.chunks).toBeLessThanOrEqual(kept.length + 64 / perCommit);
          expect(asked.postings).toBeLessThanOrEqual(postingsMax);
        }
      }
    }
  });

  test("cost a condition and the first event of a type no look at them", async () => {
    await removeAll();
    await reclaimAll(await reopen());
    await reopen();
    const conditions = [{ query: queryOf({ types: ["Passed"] }), after: kept.at(-1) ?? 0 }];
    const question = { streams: [], ids: [], conditions };
    for (let round = 0; round < 2; round++) {
      asked = { chunks: 0, postings: 0 };
      expect((await storage.facts(question)).matches).toEqual([0]);
      expect(asked.chunks).toBe(0);
    }
  });

  test("are there for a read that asks for them", async () => {
    await removeAll();
    await reclaimAll(await reopen());
    await positionsOf({ selection: selections[0] as StorageRead["selection"] });
    for (const selection of selections) {
      for (const also of [{ withRemoved: true }, { withRemovedRecords: true }]) {
        expect(await positionsOf({ selection, ...also })).toHaveLength(removedCount + kept.length);
      }
    }
    expect(await positionsOf({ selection: selectStream("kept-1") })).toEqual(kept);
  });

  test.each(["forwards", "backwards"] as const)(
    "are never missing from a read %s of before they were removed",
    async (direction) => {
      const reclaimer = await reopen();
      const asOf = storage.head().position;
      const reads = [...selections, { kind: "all" } as const].map((selection) =>
        readRequest(storage, { selection, direction, asOf, batchEvents: 1 }),
      );
      const counts = await Promise.all(reads.map((read) => countOf(read)));
      const begun = reads.map((read) => storage.read(read)[Symbol.asyncIterator]());
      for (const batches of begun) await batches.next();
      await removeAll();
      await reclaimAll(reclaimer);
      // What reads of now learn is not for those of before.
      for (const selection of selections) await positionsOf({ selection });
      const finish = async (batches: AsyncIterator<Batch>): Promise<number> => {
        for (let count = 1; ; count++) if ((await batches.next()).done === true) return count;
      };
      const ends = [...begun.map(finish), ...reads.map((read) => countOf(read))];
      for (const [i, end] of (await Promise.allSettled(ends)).entries()) {
        if (end.status === "rejected")
          expect(end.reason).toMatchObject({ reason: "READ_OVERTAKEN" });
        else expect(end.value).toBe(counts[i % counts.length]);
      }
    },
  );

  test("are found out where the index or a chunk calls events removed that are left", async () => {
    const { position: head } = storage.head();
    const number = await numberOf(kv, { kind: TermKind.type, name: "Passed" });
    const range = { first: postingKey(number, 0), last: postingKey(number, head), limit: 90 };
    const [key, value] = (await kv.page(range)).at(-1) ?? expect.unreachable();
    const posting = openPosting(key, value);
    const { before, ordinals, chunkFirst, chunkLast } = posting;
    const place = { first: chunkFirst, count: chunkLast - chunkFirst + 1 };
    const wrong = composePosting(key, place, { before, ordinals, removedRecords: ordinals.length });
    await kv.write([[key, wrong]]);
    expect(await findings()).toEqual([expect.stringContaining("calls removed")]);
    await kv.write([[key, value]]);
    expect(await findings()).toEqual([]);

    await removeAll();
    await reclaimAll(await reopen());
    const [, chunkValue] =
      (await kv.page({ first: chunkKey(1), last: chunkKey(1), limit: 1 }))[0] ?? [];
    const chunk = openChunk(chunkKey(1), chunkValue ?? new Uint8Array());
    const originalHash = hashOf(chunk);
    const reclaimed = { recordedIn: head + 6, originalHash, isEmptied: true };
    const emptied = withFrames(chunk, [chunk.records], reclaimed);
    await kv.write([[chunkKey(1), emptied.value]]);
    expect(await findings()).toContain("positions 1 to 1 are not removed, as their chunk says");
  });
});

async function findings(): Promise<string[]> {
  const found: string[] = [];
  const { position: head } = storage.head();
  await verifyStore(kv, { head, found: (finding) => void found.push(finding) });
  return found;
}

async function countOf(read: StorageRead): Promise<number> {
  let count = 0;
  for await (const batch of storage.read(read)) count += batch.count;
  return count;
}
