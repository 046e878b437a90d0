// Walks of the log for types that many events have: batches hold copies of what is selected, end
// where they should, and what is removed meanwhile is judged as on any other way.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { recordsIn, scanRecord } from "../../../../src/domain/record.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStoreOver } from "../../../../src/storage/leveldb/open.ts";
import type { Reclaimer } from "../../../../src/storage/leveldb/upkeep/reclaimer.ts";
import type { Batch, Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { readBatches, selectQuery } from "../../contract/checks.ts";
import { commitEvents, newEvents, readRequest } from "../../../support/events.ts";
import { deleteStream } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";

const selection = selectQuery({ types: ["t-3"] });
const perCommit = 50;

let storage: Storage;
let reclaimer: Reclaimer | undefined;

beforeEach(async () => {
  const kv = openMemoryKv();
  ({ storage, reclaimer } = await openStoreOver({ openKv: async () => kv, reclaim: whenAsked }));
  for (let i = 0; i < 60; i++) {
    const events = newEvents(perCommit, (n) => ({
      stream: `s-${n % 7}`,
      type: i < 40 ? `t-${(n % 3) + 1}` : `late-${n % 3}`,
      tags: [`k:${n % 5}`],
      data: "x".repeat(n * 40),
    }));
    await commitEvents(storage, events);
  }
});
afterEach(() => storage.close());

const positionsIn = ({ frames }: Batch): number[] =>
  frames.flatMap((each) => [...recordsIn(each)].map((record) => scanRecord(record).position));

/** As the definition has it, of all events. */
async function wanted(parts: Partial<StorageRead>, isWanted = (_: string) => true) {
  const [all] = [await readBatches(storage, readRequest(storage, { withRemoved: true }))];
  const { positions } = readRequest(storage, parts);
  return all
    .flatMap(({ frames }) => frames.flatMap((each) => [...recordsIn(each)].map(scanRecord)))
    .filter(({ type, stream }) => type === "t-3" && isWanted(stream))
    .map(({ position }) => position)
    .filter((position) => position >= positions.first && position <= positions.last);
}

describe("a walk for a common type", () => {
  test.each<Partial<StorageRead>>([
    {},
    { batchBytes: 1 },
    { batchBytes: 3_000 },
    { batchEvents: 64 },
    { batchEvents: 200, batchBytes: 100_000 },
    { positions: { first: 37, last: 2_990 } },
    { positions: { first: 4, last: 2_000 }, batchBytes: 2_000 },
  ])("finds each event once, in batches of the size asked for: %j", async (parts) => {
    const request = readRequest(storage, { selection, ...parts });
    const batches = await readBatches(storage, request);
    expect(batches.flatMap(positionsIn)).toEqual(await wanted(parts));
    for (const { count, bytes } of batches) {
      if (count > 1) expect(bytes).toBeLessThanOrEqual(request.batchBytes);
    }
    expect(batches.at(-1)?.through).toBe(request.positions.last);
  });

  test("holds no page of the log in its batches", async () => {
    const batches = await readBatches(storage, readRequest(storage, { selection }));
    for (const { frames, bytes } of batches) {
      const held = frames.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
      expect(held).toBeLessThanOrEqual(2 * bytes + 16_384);
    }
  });

  test("tells its progress where it finds nothing for long", async () => {
    for (let i = 0; i < 900; i++) {
      await commitEvents(
        storage,
        newEvents(1, () => ({ type: "other", data: "x".repeat(9_000) })),
      );
    }
    const batches = await readBatches(storage, readRequest(storage, { selection }));
    const silent = batches.filter(({ count }) => count === 0);
    expect(silent.length).toBeGreaterThanOrEqual(2);
  });
});

/** The batches of a read, in whose middle something is done. */
async function interrupted(parts: Partial<StorageRead>, what: () => Promise<unknown>) {
  const found: number[] = [];
  let isDone = false;
  for await (const batch of storage.read(readRequest(storage, { selection, ...parts }))) {
    found.push(...positionsIn(batch));
    if (!isDone) await what();
    isDone = true;
  }
  return found;
}

describe("a removal amid a walk", () => {
  test("is not in a view of before", async () => {
    const parts = { asOf: storage.head().position, batchBytes: 1 };
    const expected = await wanted({});
    const remove = () => deleteStream(storage, "s-3");
    expect(await interrupted(parts, remove)).toEqual(expected);
  });

  test("hides the rest of the stream from a read of what is there", async () => {
    const all = await wanted({});
    const left = await wanted({}, (stream) => stream !== "s-3");
    const found = await interrupted({ batchBytes: 1 }, () => deleteStream(storage, "s-3"));
    expect(found).toEqual([...all.slice(0, 1), ...left.filter((each) => each > (all[0] ?? 0))]);
  });

  test("overtakes a view of before, where its space is reclaimed", async () => {
    const parts = { asOf: storage.head().position, batchBytes: 1 };
    const remove = async (): Promise<void> => {
      await deleteStream(storage, "s-3");
      await reclaimAll(reclaimer);
    };
    // The pages that were read before are whole.
    const overtaken = { failure: { reason: "READ_OVERTAKEN" } };
    await expect(interrupted(parts, remove)).rejects.toMatchObject(overtaken);
  });
});
