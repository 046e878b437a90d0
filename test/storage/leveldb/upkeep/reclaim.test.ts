// Reclaiming the space of removed events: nothing that is left changes, nothing that was removed can
// be found, and every check goes on holding.
import { beforeEach, describe, expect, test } from "vitest";
import { decodeRecord, recordsIn } from "../../../../src/domain/record.ts";
import {
  frameOffsets,
  hashOf,
  isIdFromClient,
  openChunk,
  recordOf,
  withFrames,
} from "../../../../src/storage/leveldb/format/chunk.ts";
import { chunkKey } from "../../../../src/storage/leveldb/format/keys.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { composeRemovedRecord } from "../../../../src/storage/removed-record.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { selectStream } from "../../contract/checks.ts";
import { readRequest, recordsOf } from "../../../support/events.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { differences, topicsOf } from "../../../support/questions.ts";
import { reclaimAll } from "../../../support/reclaiming.ts";
import {
  answersOf,
  countOf,
  entriesOf,
  fill,
  findingsIn,
  open,
  type Opened,
  put,
  secret,
} from "./reclaim-store.ts";

describe("space that was reclaimed", () => {
  let kv: Kv;
  let opened: Opened;
  let storage: Storage;
  beforeEach(async () => {
    kv = openMemoryKv();
    opened = await open(async () => kv);
    ({ storage } = opened);
    await fill(storage, 30);
    await setPolicy(storage, "gone", { truncateBefore: 41 });
  });

  test("is empty: nothing anywhere holds what was removed, but its id and its words", async () => {
    const holding = async (): Promise<number> =>
      (await entriesOf(kv)).filter(([, value]) => Buffer.from(value).includes(secret)).length;
    // 30 chunks and 30 postings; of a third of them the stream is left.
    expect(await holding()).toBe(60);
    await reclaimAll(opened.reclaimer);
    expect(await holding()).toBe(20);
    const status = opened.reclaimer.status();
    expect(status).toMatchObject({ chunks: 20, events: 40, rounds: 2, lastFinishedAt: 5_000 });
    expect(status.bytesFreed).toBeGreaterThan(40 * secret.length * 9 * 2);
    expect(storage.reclaiming?.()).toEqual(status);
    const [removedRecord] = await recordsOf(storage, { withRemoved: true });
    const { data, metadata, tags, removed } = decodeRecord(removedRecord ?? Buffer.alloc(0));
    expect([data.length, metadata, tags]).toEqual([0, {}, ["n:0"]]);
    expect(removed?.policyPosition).toBe(121n);
  });

  test("changes no answer, and no check finds anything, before and after a restart", async () => {
    const topics = await topicsOf(storage);
    const before = await answersOf(storage, topics);
    await reclaimAll(opened.reclaimer);
    expect(differences(before, await answersOf(storage, topics))).toEqual([]);
    expect(await findingsIn(kv, storage)).toEqual([]);
    await storage.close();
    opened = await open(async () => kv);
    expect(differences(before, await answersOf(opened.storage, topics))).toEqual([]);
    expect(await findingsIn(kv, opened.storage)).toEqual([]);
    // Nothing is left to do, and that is not recorded.
    const { position } = opened.storage.head();
    await reclaimAll(opened.reclaimer);
    expect(opened.storage.head().position).toBe(position);
  });

  test("is recorded in the log: what, whose, by which policy, and what is there since", async () => {
    await reclaimAll(opened.reclaimer);
    const records = await recordsOf(storage, { selection: selectStream("$removals") });
    const [record = Buffer.alloc(0)] = records;
    expect(records).toHaveLength(1);
    const { type, data, position } = decodeRecord(record);
    expect([type, position]).toEqual(["$EventsRemoved", 122n]);
    const said = JSON.parse(Buffer.from(data).toString()) as { chunks: unknown[] };
    expect(said).toMatchObject({
      events: 40,
      streams: [{ stream: "gone", events: 40, before: 41, policy: 121 }],
      streamCount: 1,
    });
    expect(said.chunks.slice(0, 2)).toEqual([
      [1, 4, expect.stringMatching(/^.{43}=$/)],
      [5, 8, expect.stringMatching(/^.{43}=$/)],
    ]);
    expect(said.chunks).toHaveLength(20);
  });

  test("is not an event: later removals keep the removed records that exist", async () => {
    await reclaimAll(opened.reclaimer);
    await deleteStream(storage, "gone");
    await deleteStream(storage, "kept");
    await fill(storage, 1, 50);
    await reclaimAll(opened.reclaimer);
    expect(opened.reclaimer.status().events).toBe(120);
    expect(await findingsIn(kv, storage)).toEqual([]);
    expect(await recordsOf(storage)).toHaveLength(4);
    const removed = await recordsOf(storage, { withRemoved: true });
    const policies = removed.map((each) => decodeRecord(each).removed?.policyPosition);
    expect(policies.slice(0, 4)).toEqual([121n, 124n, 121n, 124n]);
  });

  test("comes back with no later policy: the bodies are gone for good", async () => {
    await reclaimAll(opened.reclaimer);
    await setPolicy(storage, "gone", {});
    const own = await recordsOf(storage, { selection: selectStream("gone") });
    expect(own).toHaveLength(20);
  });

  test("waits a round: what was just removed is there for who reads already", async () => {
    const reading = storage.read(
      readRequest(storage, { asOf: 120, positions: { first: 1, last: 120 }, batchEvents: 100 }),
    );
    await opened.reclaimer.round();
    expect(await countOf(reading)).toBe(120);
  });

  test("refuses a view of before it, rather than show it with holes", async () => {
    const positions = { first: 1, last: 120 };
    const begun = storage.read(readRequest(storage, { asOf: 120, positions, batchEvents: 1 }));
    const batches = begun[Symbol.asyncIterator]();
    await batches.next();
    await reclaimAll(opened.reclaimer);
    const later = readRequest(storage, { asOf: 120, positions });
    for (const selection of [{ kind: "all" } as const, selectStream("gone")]) {
      await expect(countOf(storage.read({ ...later, selection }))).rejects.toMatchObject({
        reason: "READ_OVERTAKEN",
      });
    }
    // What does not meet it goes on.
    const kept = { ...later, selection: selectStream("kept") };
    expect(await countOf(storage.read(kept))).toBe(60);
    await batches.return?.();
  });

  test("is vouched for: a chunk that anybody else rewrote is found", async () => {
    await reclaimAll(opened.reclaimer);
    for (const [last, recordedIn, expected] of [
      [8, 122, "positions 5 to 8 are not what the removal at position 122 made of them"],
      [100, 122, "positions 97 to 100 are not what the removal at position 122 made of them"],
      [100, 9, /^the removal of events of positions 97 to 100 cannot be read/],
      [100, 999, /^the removal of events of positions 97 to 100 cannot be read/],
    ] as const) {
      const key = chunkKey(last);
      const [value = Buffer.alloc(0)] = await kv.getMany([key]);
      const chunk = openChunk(key, value);
      const frames = framesOf(chunk.records);
      frames[1] = composeRemovedRecord(
        recordOf(frames[1] as Uint8Array),
        isIdFromClient(chunk, 1),
        121,
      );
      await put(
        kv,
        key,
        withFrames(chunk, frames, { recordedIn, originalHash: hashOf(chunk), isEmptied: false })
          .value,
      );
      const findings = (await findingsIn(kv, storage)).filter((each) => /removal/.test(each));
      expect(findings).toEqual([
        typeof expected === "string" ? expected : expect.stringMatching(expected),
      ]);
      await put(kv, key, value);
    }
    expect(await findingsIn(kv, storage)).toEqual([]);
  });

  test("an event that was emptied although nothing removed it is damage, not an answer", async () => {
    const key = chunkKey(100);
    const [value = Buffer.alloc(0)] = await kv.getMany([key]);
    const chunk = openChunk(key, value);
    const frames = framesOf(chunk.records);
    frames[1] = composeRemovedRecord(
      recordOf(frames[1] as Uint8Array),
      isIdFromClient(chunk, 1),
      121,
    );
    await put(
      kv,
      key,
      withFrames(chunk, frames, { recordedIn: 122, originalHash: hashOf(chunk), isEmptied: false })
        .value,
    );
    await storage.close();
    ({ storage } = await open(async () => kv));
    for (const direction of ["forwards", "backwards"] as const) {
      await expect(recordsOf(storage, { direction })).rejects.toMatchObject({
        reason: "CORRUPTION",
        failure: { firstPosition: 98, stream: "kept" },
      });
    }
  });
});

function framesOf(records: Uint8Array): Uint8Array[] {
  const chunk = { first: 1, last: 4, count: 4, records } as Parameters<typeof frameOffsets>[0];
  const offsets = frameOffsets(chunk);
  return [...recordsIn(records)].map((_, i) => records.subarray(offsets[i], offsets[i + 1]));
}
