// A store that is left alone gives the memory of its last writes and reads back, once.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { firstEpoch } from "../../../../src/domain/epoch.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { startIdleMemory } from "../../../../src/storage/leveldb/upkeep/idle-memory.ts";
import { nodeDelay, type Delay } from "../../../../src/storage/leveldb/write/write-guard.ts";
import { openEngine } from "../../../../src/storage/leveldb/write/engine.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";

/** A store of which only the writes are counted, and what it is told of time by hand. */
function counted() {
  let look: () => void = () => {};
  const state = { sequence: 0, flushes: 0, forgotten: 0, isAccepting: true, spare: Infinity };
  const warnings: string[] = [];
  let flush = async (): Promise<void> => void state.flushes++;
  const store = {
    get sequence() {
      return state.sequence;
    },
    kv: { flush: () => flush() },
    hot: { uses: 0, clear: () => void state.forgotten++ },
    tail: { clear: () => {} },
  };
  const idle = startIdleMemory({
    store: store as unknown as Parameters<typeof startIdleMemory>[0]["store"],
    isAccepting: () => state.isAccepting,
    spareBytes: () => state.spare,
    warn: (message) => void warnings.push(message),
    delay: (_, callback) => {
      look = callback;
      return () => (look = () => {});
    },
  });
  const fails = (): void => void (flush = () => Promise.reject(new Error("no room")));
  return { state, hot: store.hot, idle, warnings, fails, look: () => look() };
}

test("writes that have ended are flushed once", () => {
  const { state, look } = counted();
  state.sequence = 5_000;
  look();
  expect(state.flushes).toBe(0);
  look();
  look();
  look();
  expect(state.flushes).toBe(1);
  state.sequence += 1_000;
  look();
  look();
  expect(state.flushes).toBe(1);
  state.sequence += 1_000;
  look();
  state.sequence += 1;
  look();
  expect(state.flushes).toBe(1);
  look();
  expect(state.flushes).toBe(2);
});

test("nothing is flushed on a disk that is nearly full, nor while the store is reopened", () => {
  const { state, look } = counted();
  state.sequence = 5_000;
  state.spare = 1_000_000;
  look();
  look();
  state.spare = Infinity;
  state.isAccepting = false;
  look();
  expect(state.flushes).toBe(0);
  state.isAccepting = true;
  look();
  expect(state.flushes).toBe(1);
});

test("a flush that fails is told, and the end waits for it", async () => {
  const { state, idle, warnings, fails, look } = counted();
  fails();
  state.sequence = 5_000;
  look();
  look();
  await idle.stop();
  expect(warnings).toEqual(["what is in memory could not be written to a table"]);
  look();
  expect(state.flushes).toBe(0);
});

test("events in memory are forgotten when they were not used for two looks, once", () => {
  const { state, hot, look } = counted();
  look();
  expect(state.forgotten).toBe(0);
  hot.uses++;
  look();
  look();
  expect(state.forgotten).toBe(0);
  state.sequence++;
  look();
  look();
  expect(state.forgotten).toBe(0);
  look();
  look();
  look();
  expect(state.forgotten).toBe(1);
  hot.uses++;
  look();
  look();
  look();
  expect(state.forgotten).toBe(2);
});

test("a stream is read from the disk, and appended to, when its events were forgotten", async () => {
  let look: () => void = () => {};
  const { storage, store } = await openEngine({
    identity: {
      storeId: "0190a000-0000-7000-8000-000000000000",
      createdAt: 0,
      engine: "leveldb",
      formatVersion: 2,
      durability: "memory",
      history: [firstEpoch("s", 0)],
    },
    openKv: async () => ({ kv: openMemoryKv(), sequence: 0 }),
    clock: () => 0,
    warn: () => {},
  });
  const idle = startIdleMemory({
    store,
    isAccepting: () => true,
    spareBytes: () => Infinity,
    warn: () => {},
    delay(_, callback) {
      look = callback;
      return () => {};
    },
  });
  const stream = { kind: "stream", stream: "a-1" } as const;
  const ofStream = () => recordsOf(storage, { selection: stream });
  await commitEvents(
    storage,
    newEvents(10, () => ({ stream: "a-1" })),
  );
  const before = await ofStream();
  expect(before).toHaveLength(10);
  for (let i = 0; i < 3; i++) look();
  expect(store.tail.count).toBe(0);
  expect(await ofStream()).toEqual(before);
  for (let i = 0; i < 3; i++) look();
  await commitEvents(
    storage,
    newEvents(3, () => ({ stream: "a-1" })),
  );
  const after = await ofStream();
  expect(after.slice(0, 10)).toEqual(before);
  expect(after).toHaveLength(13);
  await idle.stop();
  await storage.close();
});

test("the table in memory becomes a file while the store is served", async () => {
  const folder = await mkdtemp(join(tmpdir(), "annals-idle-"));
  // Time passes quickly.
  const delay: Delay = (_, callback) => nodeDelay(5, callback);
  const storage = await openLevelStorage({ folder, reserveBytes: 0, delay });
  const tables = async (): Promise<number> =>
    (await readdir(join(folder, "log"))).filter((name) => name.endsWith(".ldb")).length;
  expect(await tables()).toBe(0);
  for (let stream = 0; stream < 4; stream++) {
    await commitEvents(
      storage,
      newEvents(500, () => ({ stream: `a-${stream}` })),
    );
  }
  while ((await tables()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(storage.head().position).toBe(2_000);
  await storage.close();
  const again = await openLevelStorage({ folder, reserveBytes: 0 });
  expect(again.head().position).toBe(2_000);
  await again.close();
  await rm(folder, { recursive: true });
});
