// Giving back the space of removed events: nothing that is left changes, nothing that is gone can be
// found, every check goes on holding, and a failure between any two steps does no harm.
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
import type { Entry, Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStoreOver, type OverOptions } from "../../../../src/storage/leveldb/open.ts";
import type { Reclaimer } from "../../../../src/storage/leveldb/upkeep/reclaimer.ts";
import { composeRemovedRecord } from "../../../../src/storage/leveldb/format/removed-record.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { Batch, Storage } from "../../../../src/storage/storage.ts";
import { generatedLaw } from "../../contract/generated.ts";
import { selectStream } from "../../contract/checks.ts";
import {
  commitEvents,
  idOf,
  newEvent,
  newEvents,
  readRequest,
  recordsOf,
} from "../../../support/events.ts";
import { handTimers } from "../../../support/hand-timers.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { askEverything, differences, topicsOf } from "../../../support/questions.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { faultyKv } from "../kv/faulty-kv.ts";

const secret = "nobody may read this any more";

/** Streams `gone` and `kept` in turn, four events in a commit; every third id is the server's. */
async function fill(storage: Storage, commits: number, from = 0): Promise<void> {
  for (let i = from; i < from + commits; i++) {
    const events = newEvents(4, (n) => ({
      id: idOf(0xce_0000 + i * 4 + n),
      idFromClient: (i * 4 + n) % 3 !== 2,
      stream: n % 2 === 0 ? "gone" : "kept",
      type: n < 2 ? "Early" : "Late",
      tags: [`n:${n}`],
      metadata: { sideValue: n % 2 === 0 ? secret : "plain" },
      data: n % 2 === 0 ? `${secret} ${i}`.repeat(9) : `data ${i}`.repeat(9),
    }));
    await commitEvents(storage, events, 1_000 + i);
  }
}

async function countOf(batches: AsyncIterable<Batch>): Promise<number> {
  let count = 0;
  for await (const batch of batches) count += batch.count;
  return count;
}

interface Opened {
  readonly storage: Storage;
  readonly reclaimer: Reclaimer;
  readonly warnings: string[];
}

async function open(openKv: () => Promise<Kv>, more: Partial<OverOptions> = {}): Promise<Opened> {
  const warnings: string[] = [];
  const warn = (message: string, cause?: unknown) =>
    void warnings.push(`${message}: ${(cause as Error | undefined)?.message}`);
  const identity = { storeId: "0190a000-0000-7000-8000-00000000a11a", createdAt: 1 };
  const options = { openKv, clock: () => 5_000, warn, reclaim: whenAsked, ...identity, ...more };
  const { storage, reclaimer } = await openStoreOver(options);
  if (reclaimer === undefined) return expect.unreachable();
  return { storage, reclaimer, warnings };
}

async function entriesOf(kv: Kv): Promise<Entry[]> {
  const range = { first: Buffer.from([0]), last: Buffer.from([0xff]) };
  return kv.page({ ...range, limit: 100_000, bytesMax: 1 << 30 });
}

async function findingsIn(kv: Kv, storage: Storage): Promise<string[]> {
  const findings: string[] = [];
  const found = (finding: string) => void findings.push(finding);
  await verifyStore(kv, { head: storage.head().position, found });
  return findings;
}

/** The answers to every question but those that tell of the head and of events removed. */
async function answersOf(storage: Storage, topics: Awaited<ReturnType<typeof topicsOf>>) {
  const answers = new Map(await askEverything(storage, topics));
  for (const question of answers.keys()) {
    if (/^head$|the middle|system streams|^removed ones|^matches after/.test(question))
      answers.delete(question);
  }
  return answers;
}

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

  test("is not an event: what is removed later keeps to the stubs that are there", async () => {
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
        withFrames(chunk, frames, { recordedIn, originalHash: hashOf(chunk) }).value,
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
      withFrames(chunk, frames, { recordedIn: 122, originalHash: hashOf(chunk) }).value,
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

async function put(kv: Kv, key: Uint8Array, value: Uint8Array): Promise<void> {
  await kv.write([[key, value]]);
}

describe("what slides", () => {
  test("gives up whole parts of the log, and a last part once it stands still", async () => {
    const { storage, reclaimer } = await open(async () => openMemoryKv());
    const append = (count: number) =>
      commitEvents(
        storage,
        newEvents(count, (i) => ({ stream: "s", data: `${secret} ${i}` })),
      );
    await append(4);
    await append(4);
    await setPolicy(storage, "s", { maxCount: 5 });
    const events = async (): Promise<number> => {
      await reclaimer.round();
      return reclaimer.status().events;
    };
    // Three are gone: a part of the first chunk, seen for the first time.
    expect(await events()).toBe(0);
    await append(2);
    // Five are gone now: three were at the look before, and more are to follow.
    expect(await events()).toBe(0);
    await append(1);
    // Six are gone; of the five before, the first four are a whole chunk.
    expect(await events()).toBe(4);
    expect(await events()).toBe(6);
    expect(await events()).toBe(6);
  });

  test("is judged by a time that never turns back behind what was given up", async () => {
    const hands = { now: 0 };
    const kv = openMemoryKv();
    const clock = () => hands.now;
    let { storage, reclaimer } = await open(async () => kv, { clock });
    await setPolicy(storage, "s", { maxAge: 50 });
    await commitEvents(storage, [newEvent({ stream: "s" })], 10);
    await commitEvents(storage, [newEvent({ stream: "s" })], 40);
    hands.now = 70;
    await reclaimAll(reclaimer);
    hands.now = 20;
    for (let restart = 0; restart < 2; restart++) {
      expect(await storage.stream("s")).toMatchObject({ eventCount: 1, firstVersion: 2 });
      expect(await recordsOf(storage, { selection: selectStream("s") })).toHaveLength(1);
      await storage.close();
      ({ storage, reclaimer } = await open(async () => kv, { clock }));
    }
    expect(storage.head()).toEqual({ position: 4, recordedAt: 70 });
  });
});

describe("a write that fails while space is reclaimed", () => {
  for (const how of ["fails, there", "fails, not there"] as const) {
    for (const at of [0, 1, 2]) {
      test(`batch ${at} ${how}: nothing is lost, and the rest follows`, async () => {
        const faulty = faultyKv();
        const timers = handTimers();
        const { storage, reclaimer } = await open(() => faulty.openKv(), { delay: timers.delay });
        for (let i = 0; i < 4; i++) {
          const events = newEvents(60, () => ({ stream: "gone", data: secret.repeat(200) }));
          await commitEvents(storage, events);
        }
        await fill(storage, 4);
        await setPolicy(storage, "gone", { truncateBefore: 240 });
        const topics = await topicsOf(storage);
        const before = await answersOf(storage, topics);
        await reclaimer.round();
        for (let i = 0; i < at; i++) faulty.writes.push("works");
        faulty.writes.push(how);
        await expect(reclaimer.round()).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
        while (storage.writeState() !== "accepting") {
          if (!timers.next()) await new Promise((resolve) => setImmediate(resolve));
        }
        expect(differences(before, await answersOf(storage, topics))).toEqual([]);
        expect(await findingsIn(await faulty.openKv(), storage)).toEqual([]);
        await reclaimAll(reclaimer);
        expect(differences(before, await answersOf(storage, topics))).toEqual([]);
        const kv = await faulty.openKv();
        expect(await findingsIn(kv, storage)).toEqual([]);
        const removedRecords = (await recordsOf(storage, { withRemoved: true })).filter(
          (record) => decodeRecord(record).removed !== undefined,
        );
        expect(removedRecords).toHaveLength(239);
        await storage.close();
      });
    }
  }
});

describe("generated histories in which every other reclaiming fails", () => {
  generatedLaw(async (clock = () => 0) => {
    const faulty = faultyKv();
    const timers = handTimers();
    const openIt = () => open(() => faulty.openKv(), { clock, delay: timers.delay });
    let opened = await openIt();
    let turn = 0;
    return {
      storage: opened.storage,
      async reopen() {
        await opened.storage.close();
        opened = await openIt();
        return opened.storage;
      },
      async reclaim() {
        const { storage, reclaimer } = opened;
        const how = (["works", "fails, there", "fails, not there"] as const)[turn++ % 3];
        await reclaimer.round();
        faulty.writes.push(how ?? "works");
        await reclaimer.round().catch((error: unknown) => {
          if ((error as { reason?: unknown }).reason !== "OUTCOME_UNKNOWN") throw error;
        });
        faulty.writes.length = 0;
        while (storage.writeState() !== "accepting") {
          if (!timers.next()) await new Promise((resolve) => setImmediate(resolve));
        }
      },
      async findings() {
        return findingsIn(await faulty.openKv(), opened.storage);
      },
      close: () => opened.storage.close(),
    };
  }, 60);
});

describe("the reclaimer", () => {
  test("leaves a damaged part of the log alone, says so once, and does the others", async () => {
    const kv = openMemoryKv();
    const { storage, reclaimer, warnings } = await open(async () => kv);
    await fill(storage, 10);
    await setPolicy(storage, "gone", { truncateBefore: 21 });
    const key = chunkKey(8);
    const [value = Buffer.alloc(0)] = await kv.getMany([key]);
    const corrupted = Buffer.from(value);
    corrupted[90] = (corrupted[90] as number) ^ 1;
    await put(kv, key, corrupted);
    await reclaimAll(reclaimer);
    expect(reclaimer.status().events).toBe(18);
    await reclaimer.round();
    expect(warnings).toEqual([
      "the space up to position 8 cannot be reclaimed: the chunk that ends at position 8 fails its CRC",
    ]);
    expect((await kv.getMany([key]))[0]).toEqual(corrupted);
  });

  test("never fills the disk that appends need", async () => {
    const spare = { bytes: Number.MAX_SAFE_INTEGER };
    const { storage, reclaimer } = await open(async () => openMemoryKv(), {
      spareBytes: () => spare.bytes,
    });
    await fill(storage, 4);
    await deleteStream(storage, "gone");
    await reclaimer.round();
    spare.bytes = 1024 * 1024;
    await expect(reclaimer.round()).rejects.toThrow("the disk is nearly full");
    expect(storage.writeState()).toBe("accepting");
    spare.bytes = Number.MAX_SAFE_INTEGER;
    await reclaimer.round();
    expect(reclaimer.status().events).toBe(8);
  });

  test("goes round by itself, keeps to its rate, and stops wherever it is", async () => {
    const timers = handTimers();
    const finished: number[] = [];
    const { storage, reclaimer } = await open(async () => openMemoryKv(), {
      delay: timers.delay,
      reclaim: {
        bytesPerSecond: 100_000,
        delayMs: 7_000,
        pauseMs: 60_000,
        isBusy: () => false,
        finished: ({ events }) => void finished.push(events),
      },
    });
    await fill(storage, 400);
    await deleteStream(storage, "gone");
    const until = async (isThere: () => boolean): Promise<void> => {
      while (!isThere()) {
        await new Promise((resolve) => setImmediate(resolve));
        if (!isThere()) timers.next();
      }
    };
    expect(timers.waiting()).toEqual([7_000]);
    await until(() => reclaimer.status().rounds === 1);
    const beganMs = timers.nowMs();
    await until(() => finished.length > 0);
    expect(finished).toEqual([800]);
    const { bytesFreed } = reclaimer.status();
    expect(timers.nowMs() - beganMs).toBeGreaterThan((bytesFreed / 100_000) * 1_000);
    await reclaimer.stop();
    expect(reclaimer.status().phase).toBe("stopped");
    expect(timers.waiting()).toEqual([]);
    await storage.close();
  });
});
