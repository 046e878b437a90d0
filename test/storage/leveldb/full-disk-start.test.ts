// A store that was stopped by a full disk is served again without a free byte: reads go on, appends
// are refused, no file changes. When there is space, it opens for writing by itself.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readIdentity, writeIdentity } from "../../../src/storage/leveldb/folder/identity.ts";
import { verifyFolder } from "../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent, newEvents, recordsOf } from "../../support/events.ts";
import { saveSnapshot, snapshotsOf } from "../../support/snapshots.ts";
import { askEverything, topicsOf, type Answers, type Topics } from "../../support/questions.ts";
import { contentsOf, copyStore } from "../../support/store-folder.ts";

let scratch: string;
let folder: string;
/** The same once more. */
let old: string;
let topics: Topics;
let answers: Answers;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-full-"));
  const working = join(scratch, "working");
  let storage = await openLevelStorage({ folder: working, reserveBytes: 0 });
  await fill(storage);
  await storage.close();
  storage = await openLevelStorage({ folder: working, reserveBytes: 0 });
  await fill(storage);
  topics = await topicsOf(storage);
  answers = await askEverything(storage, topics);
  folder = join(scratch, "full");
  await copyStore(working, folder);
  old = join(scratch, "old");
  await copyStore(working, old);
  await storage.close();
});
afterAll(() => rm(scratch, { recursive: true }));

async function fill(storage: Storage): Promise<void> {
  for (let i = 0; i < 20; i++) {
    const data = Buffer.alloc(100, i);
    await commitEvents(
      storage,
      newEvents(5, (n) => ({ stream: `s-${n % 3}`, tags: [`n:${n}`], data })),
    );
  }
  await saveSnapshot(storage, { stream: "s-1", kind: "", version: 2, payload: Buffer.from("s") });
}

function whenAccepting(storage: Storage): Promise<void> {
  return new Promise((resolve) => {
    storage.watch({
      writeStateChanged: (state) => {
        if (state === "accepting") resolve();
      },
    });
  });
}

test("a start without space reads, and goes on to write when there is some", async () => {
  let free = 10_000;
  const warnings: string[] = [];
  const before = await contentsOf(folder);
  const storage = await openLevelStorage({
    folder,
    freeBytes: () => free,
    spareBytes: () => free,
    warn: (message) => void warnings.push(message),
    delay(ms, callback) {
      const timer = setTimeout(callback, ms / 50);
      return () => clearTimeout(timer);
    },
  });
  expect(storage.writeState()).toBe("disk-full");
  expect(warnings[0]).toMatch(/^the disk has 10000 bytes left, and \d+ are needed to open/);
  expect([...(await askEverything(storage, topics))]).toEqual([...answers]);
  expect(await snapshotsOf(storage, "s-1")).toHaveLength(1);
  const refusal = await commitEvents(storage, [newEvent()]).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ failure: { reason: "DISK_FULL" } });
  // MARK is written in place.
  const [now, then] = [await contentsOf(folder), before].map((contents) => {
    return [...contents].filter(([path]) => path !== "MARK");
  });
  expect(now).toEqual(then);
  const accepting = whenAccepting(storage);
  free = 1e9;
  await accepting;
  await commitEvents(storage, [newEvent({ stream: "s-1" })]);
  expect(await recordsOf(storage)).toHaveLength(201);
  await storage.close();
});

test("a store of format version 1 stays one until there is space", async () => {
  const identity = (await readIdentity(old)) ?? expect.unreachable();
  await writeIdentity(old, { ...identity, formatVersion: 1 });
  const version = async () => (await readIdentity(old))?.formatVersion;
  let free = 10_000;
  const storage = await openLevelStorage({
    folder: old,
    freeBytes: () => free,
    spareBytes: () => free,
    delay(ms, callback) {
      const timer = setTimeout(callback, ms / 50);
      return () => clearTimeout(timer);
    },
  });
  expect(storage.writeState()).toBe("disk-full");
  expect([await version(), storage.identity.formatVersion]).toEqual([1, 1]);
  const accepting = whenAccepting(storage);
  free = 1e9;
  await accepting;
  expect([await version(), storage.identity.formatVersion]).toEqual([2, 2]);
  await commitEvents(storage, [newEvent({ stream: "s-1" })]);
  await storage.close();
  expect((await verifyFolder(old)).findings).toEqual([]);
});
