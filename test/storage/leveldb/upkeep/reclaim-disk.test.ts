// Space given back on a real disk: the folder shrinks, and what looks at a folder (the audit of a
// start after a kill, `annals verify`, backups, the scrubber) goes on finding nothing.
import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeRecord } from "../../../../src/domain/record.ts";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import { openLevelStore, type LevelStore } from "../../../../src/storage/leveldb/open.ts";
import { lookEveryMs } from "../../../../src/storage/leveldb/upkeep/idle-memory.ts";
import { restore } from "../../../../src/storage/leveldb/offline/restore.ts";
import type { ScrubberStatus } from "../../../../src/storage/leveldb/upkeep/scrubber.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { copyStore, filesOf } from "../../../support/store-folder.ts";

let scratch: string;
let folder: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-reclaim-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, `store-${made++}`);
});

/** Bytes that hardly compress. */
function noise(bytes: number, seed: number): Uint8Array {
  const data = Buffer.alloc(bytes);
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = state >>> 24;
  }
  return data;
}

async function fill(storage: Storage, commits: number): Promise<void> {
  const { position } = storage.head();
  for (let i = 0; i < commits; i++) {
    const events = newEvents(20, (n) => ({
      stream: n % 4 === 0 ? "kept" : `gone-${n % 4}`,
      idFromClient: n % 5 !== 0,
      type: n % 2 ? "Even" : "Odd",
      data: noise(700, position + i * 20 + n),
    }));
    await commitEvents(storage, events);
  }
}

async function removeMost(storage: Storage): Promise<void> {
  await deleteStream(storage, "gone-1");
  await setPolicy(storage, "gone-2", { maxCount: 3 });
  await setPolicy(storage, "gone-3", { truncateBefore: 50 });
}

const opened = (): Promise<LevelStore> => openLevelStore({ folder, reclaim: whenAsked });

async function bytesOf(path: string): Promise<number> {
  const files = await filesOf(join(path, "log"));
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function findingsIn(path: string): Promise<readonly string[]> {
  return (await verifyFolder(path)).findings;
}

/** Every record of a store, removed or not, and how many are removed records. */
async function everything(storage: Storage): Promise<{ left: string; removedRecords: number }> {
  const left = hash("sha256", Buffer.concat(await recordsOf(storage)));
  const all = await recordsOf(storage, { withRemoved: true });
  const removedRecords = all.filter((record) => decodeRecord(record).removed !== undefined).length;
  return { left, removedRecords };
}

test("a folder shrinks when most of its events are removed", async () => {
  const { storage, reclaimer } = await opened();
  await fill(storage, 300);
  await removeMost(storage);
  const kept = await everything(storage);
  await storage.close();
  const before = await bytesOf(folder);
  const again = await opened();
  await reclaimAll(again.reclaimer);
  expect(await everything(again.storage)).toEqual({
    left: kept.left,
    removedRecords: 4_500 - 3 - 1_451,
  });
  expect(again.storage.reclaiming?.()).toMatchObject({ phase: "waiting", events: 3_046 });
  await again.storage.close();
  // Events are stored twice; of a little more than half of them next to nothing is left.
  expect(await bytesOf(folder)).toBeLessThan(before * 0.6);
  expect(await findingsIn(folder)).toEqual([]);
  await reclaimer?.stop();
});

test("a store that is killed while it reclaims starts and is sound, wherever it was", async () => {
  let copies = 0;
  const { storage, reclaimer } = await openLevelStore({
    folder,
    reclaim: { ...whenAsked, bytesPerSecond: 1_000, isBusy: () => false },
    // It pauses before each batch: nothing is being written then.
    delay(ms, callback) {
      const copyAndGoOn = async (): Promise<void> => {
        await copyStore(folder, `${folder}-killed-${copies}`);
        copies++;
        callback();
      };
      if (ms < 2 ** 30 && ms !== lookEveryMs) void copyAndGoOn();
      return () => {};
    },
  });
  await fill(storage, 60);
  await removeMost(storage);
  const { left } = await everything(storage);
  await reclaimAll(reclaimer);
  await copyStore(folder, `${folder}-killed-${copies}`);
  expect(copies).toBeGreaterThan(5);
  await storage.close();
  const removedRecords: number[] = [];
  for (let i = 0; i <= copies; i++) {
    const killed = `${folder}-killed-${i}`;
    expect(await findingsIn(killed)).toEqual([]);
    const warnings: string[] = [];
    const store = await openLevelStore({
      folder: killed,
      reclaim: whenAsked,
      warn: (message) => void warnings.push(message),
    });
    const found = await everything(store.storage);
    expect(found.left).toBe(left);
    removedRecords.push(found.removedRecords);
    await reclaimAll(store.reclaimer);
    expect(await everything(store.storage)).toEqual({ left, removedRecords: 300 + 297 + 49 });
    await store.storage.close();
    expect(warnings).toEqual([]);
    expect(await findingsIn(killed)).toEqual([]);
  }
  expect(removedRecords.at(-1)).toBe(300 + 297 + 49);
  expect(new Set(removedRecords).size).toBeGreaterThan(3);
});

describe("backups", () => {
  test("from before and after make a store that is sound, and reclaims again", async () => {
    const backup = `${folder}-backup`;
    const { storage, reclaimer } = await opened();
    await fill(storage, 20);
    await backUp({ store: folder, target: backup });
    await fill(storage, 20);
    await removeMost(storage);
    await reclaimAll(reclaimer);
    await fill(storage, 3);
    // The second part has removed records; the first one has the events.
    await backUp({ store: folder, target: backup });
    const { left } = await everything(storage);
    await storage.close();
    const target = `${folder}-restored`;
    await restore({ backup, target });
    expect(await findingsIn(target)).toEqual([]);
    const restored = await openLevelStore({ folder: target, reclaim: whenAsked });
    const found = await everything(restored.storage);
    expect(found.left).toBe(left);
    expect(found.removedRecords).toBeGreaterThan(100);
    await reclaimAll(restored.reclaimer);
    expect(await everything(restored.storage)).toEqual({ left, removedRecords: 200 + 212 + 49 });
    await restored.storage.close();
    expect(await findingsIn(target)).toEqual([]);
  });

  test("of a store whose space was reclaimed come back as they were, entry by entry", async () => {
    const { storage, reclaimer } = await opened();
    await fill(storage, 30);
    await removeMost(storage);
    await reclaimAll(reclaimer);
    const found = await everything(storage);
    const [backup, target] = [`${folder}-backup`, `${folder}-restored`];
    const taken = await backUp({ store: folder, target: backup });
    const came = await restore({ backup, target });
    expect(came.chain).toBe(taken.chain);
    await storage.close();
    const restored = await openLevelStore({ folder: target, reclaim: whenAsked });
    expect(await everything(restored.storage)).toEqual(found);
    const { position } = restored.storage.head();
    await reclaimAll(restored.reclaimer);
    expect(restored.storage.head().position).toBe(position);
    await restored.storage.close();
  });
});

test("the scrubber finds nothing while space is reclaimed under it", async () => {
  const rounds: ScrubberStatus[] = [];
  const { storage, reclaimer } = await openLevelStore({
    folder,
    reclaim: whenAsked,
    scrub: {
      bytesPerSecond: Number.POSITIVE_INFINITY,
      delayMs: 0,
      pauseMs: 0,
      isBusy: () => false,
      finished: (status) => void rounds.push(status),
    },
  });
  const until = async (count: number): Promise<void> => {
    while (rounds.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  for (let i = 1; i <= 4; i++) {
    await fill(storage, 10);
    await setPolicy(storage, "gone-1", { truncateBefore: i * 45 });
    await setPolicy(storage, "gone-2", { truncateBefore: i * 30 });
    await reclaimAll(reclaimer);
    await until(rounds.length + 2);
  }
  expect(reclaimer?.status().events).toBe(179 + 119);
  expect(rounds.at(-1)?.findings).toEqual([]);
  await storage.close();
});
