// A store that is not written any more gives the memory of its last writes back, once.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { startIdleFlush } from "../../../../src/storage/leveldb/upkeep/idle-flush.ts";
import { nodeDelay, type Delay } from "../../../../src/storage/leveldb/write/write-guard.ts";
import { commitEvents, newEvents } from "../../../support/events.ts";

/** A store of which only the writes are counted, and what it is told of time by hand. */
function counted() {
  let look: () => void = () => {};
  const state = { sequence: 0, flushes: 0, isAccepting: true, spare: Infinity };
  const warnings: string[] = [];
  let flush = async (): Promise<void> => void state.flushes++;
  const store = {
    get sequence() {
      return state.sequence;
    },
    kv: { flush: () => flush() },
  };
  const idle = startIdleFlush({
    store: store as unknown as Parameters<typeof startIdleFlush>[0]["store"],
    isAccepting: () => state.isAccepting,
    spareBytes: () => state.spare,
    warn: (message) => void warnings.push(message),
    delay: (_, callback) => {
      look = callback;
      return () => (look = () => {});
    },
  });
  const fails = (): void => void (flush = () => Promise.reject(new Error("no room")));
  return { state, idle, warnings, fails, look: () => look() };
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
