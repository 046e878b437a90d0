// The store's time outlives the process that measured ages by it, and the store itself in a backup.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { backUp } from "../../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../../src/storage/leveldb/offline/restore.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../support/events.ts";
import { setPolicy } from "../../support/lifecycles.ts";
import { copyStore } from "../../support/store-folder.ts";

const second = 1_000_000;
const start = 1_767_225_600 * second;
let scratch: string;
let folder: string;
let made = 0;
let now: number;
let warnings: string[];
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-time-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, String(made++));
  now = start;
  warnings = [];
});

function open(path = folder): Promise<Storage> {
  const warn = (message: string) => void warnings.push(message);
  return openLevelStorage({ folder: path, clock: () => now, warn });
}

async function left(storage: Storage): Promise<number> {
  return (await recordsOf(storage)).length;
}

/** Five events that are kept for a minute; an hour later they have been found to be too old. */
async function agedOut(): Promise<Storage> {
  const storage = await open();
  await commitEvents(
    storage,
    newEvents(5, () => ({ stream: "a" })),
    start,
  );
  await setPolicy(storage, "a", { maxAge: 60 * second }, start);
  expect(await left(storage)).toBe(5);
  now = start + 3_600 * second;
  expect(await left(storage)).toBe(0);
  now = start + second;
  return storage;
}

test("what its age removed stays removed after a clean stop, with the clock set back", async () => {
  const storage = await agedOut();
  expect(await left(storage)).toBe(0);
  await storage.close();
  const again = await open();
  expect(await left(again)).toBe(0);
  expect(again.now()).toBe(start + 3_600 * second);
  expect(warnings).toEqual([
    "the clock is 3599 s behind the store's time, by which ages are measured: " +
      "until it catches up, no event grows older",
  ]);
  await again.close();
});

test("and after a kill, without anything written since", async () => {
  const storage = await agedOut();
  const killed = `${folder}-killed`;
  await copyStore(folder, killed);
  await storage.close();
  const again = await open(killed);
  expect(await left(again)).toBe(0);
  await again.close();
});

test("and in the store that a backup is restored to", async () => {
  const storage = await agedOut();
  await backUp({ store: folder, target: `${folder}-backup` });
  await storage.close();
  await restore({ backup: `${folder}-backup`, target: `${folder}-restored` });
  const restored = await open(`${folder}-restored`);
  expect(await left(restored)).toBe(0);
  await restored.close();
});

test("a store in which no stream has a lifecycle follows its clock", async () => {
  const storage = await open();
  await commitEvents(
    storage,
    newEvents(5, () => ({ stream: "a" })),
    start,
  );
  now = start + 3_600 * second;
  expect(await left(storage)).toBe(5);
  await storage.close();
  now = start + second;
  const again = await open();
  expect(again.now()).toBe(now);
  expect(warnings).toEqual([]);
  await again.close();
});
