// What is deleted under a server that runs ends its appends, and another server on the folder never
// makes it acknowledge what is not there.
import { mkdtemp, open, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openLevelStorage, openLevelStore } from "../../../../src/storage/leveldb/open.ts";
import {
  startFolderWatch,
  type FolderWatch,
} from "../../../../src/storage/leveldb/upkeep/folder-watch.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, newEvent, newEvents, recordsOf } from "../../../support/events.ts";
import { copyStore } from "../../../support/store-folder.ts";

let scratch: string;
let pristine: string;
let folder: string;
let made = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-watch-"));
  pristine = join(scratch, "pristine");
  const storage = await openLevelStorage({ folder: pristine, reserveBytes: 0 });
  await commitEvents(
    storage,
    newEvents(20, () => ({ stream: "a-1" })),
  );
  await storage.close();
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(async () => {
  folder = join(scratch, String(made++));
  await copyStore(pristine, folder);
});

interface Watched {
  readonly storage: Storage;
  /** What the operator is told when writing ends. */
  readonly ended: Promise<string>;
}

async function opened(): Promise<Watched> {
  const storage = await openLevelStorage({ folder, reserveBytes: 0, lookEveryMs: 20 });
  const ended = new Promise<string>((resolve) => {
    storage.watch({
      writeStateChanged: (state, why) => {
        if (state === "failed") resolve(why ?? "");
      },
    });
  });
  return { storage, ended };
}

async function deleteIn(place: string, pattern: RegExp): Promise<void> {
  const names = (await readdir(place)).filter((name) => pattern.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) await rm(join(place, name), { recursive: true });
}

async function reasonOf(storage: Storage): Promise<unknown> {
  return commitEvents(storage, [newEvent()]).then(
    () => "stored",
    (error: { failure?: { reason?: string } }) => error.failure?.reason,
  );
}

describe("what is deleted under an open store ends its appends", () => {
  const cases: readonly (readonly [string, () => Promise<void>, string])[] = [
    ["the guard", () => deleteIn(folder, /^guard-/), "the folder's lock (guard-*.sock)"],
    ["LevelDB's LOCK", () => deleteIn(join(folder, "log"), /^LOCK$/), "log/LOCK was deleted"],
    ["CURRENT", () => deleteIn(join(folder, "log"), /^CURRENT$/), "log/CURRENT was deleted"],
    ["the MANIFEST", () => deleteIn(join(folder, "log"), /^MANIFEST/), "the MANIFEST was deleted"],
    ["a table", () => deleteIn(join(folder, "log"), /\.ldb$/), "table log/"],
    ["MARK", () => deleteIn(folder, /^MARK$/), "MARK was deleted"],
    ["IDENTITY", () => deleteIn(folder, /^IDENTITY$/), "IDENTITY was deleted"],
    // One file after the other: a look may come between.
    ["the folder", () => rm(folder, { recursive: true }), "was deleted"],
    ["the folder's name", () => rename(folder, `${folder}-moved`), "was deleted, moved"],
  ];
  test.each(cases)("%s", async (_, remove, said) => {
    const { storage, ended } = await opened();
    await remove();
    expect(await ended).toContain(said);
    expect(await reasonOf(storage)).toBe("STORE_FAILED");
    await storage.close();
  });

  test("but nothing does while only LevelDB changes its files", async () => {
    const { storage, ended } = await opened();
    for (let i = 0; i < 20; i++) {
      await writeFile(join(folder, "log", "LOG.old"), String(i));
      await commitEvents(storage, [newEvent()]);
    }
    expect(await Promise.race([ended, Promise.resolve("nothing")])).toBe("nothing");
    await storage.close();
  });
});

test.each([
  ["that was only touched is sound, and appends go on", false],
  ["that was written to is checked at once, and its damage ends appends", true],
])("a table %s", async (_, isDamaged) => {
  const scrub = { delayMs: 3_600_000 };
  const { storage, scrubber } = await openLevelStore({
    folder,
    reserveBytes: 0,
    lookEveryMs: 20,
    scrub,
  });
  const failed = new Promise<string>((resolve) => {
    storage.watch({ writeStateChanged: (state, why) => resolve(`${state}: ${why}`) });
  });
  const name = (await readdir(join(folder, "log"))).find((each) => each.endsWith(".ldb")) ?? "";
  const path = join(folder, "log", name);
  if (isDamaged) {
    const table = await open(path, "r+");
    await table.write(Buffer.alloc(64), 0, 64, 40);
    await table.close();
    expect(await failed).toContain(`failed: table ${name}: the block at byte 0 fails its CRC`);
  } else {
    await utimes(path, 1, 1);
    while (scrubber?.status().bytes === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await reasonOf(storage)).toBe(isDamaged ? "STORE_FAILED" : "stored");
  await storage.close();
});

test("a write is not acknowledged once the lock is gone, though nobody has looked yet", async () => {
  const storage = await openLevelStorage({ folder, reserveBytes: 0 });
  expect(await reasonOf(storage)).toBe("stored");
  await deleteIn(folder, /^guard-/);
  expect(await reasonOf(storage)).toBe("OUTCOME_UNKNOWN");
  expect(await reasonOf(storage)).toBe("STORE_FAILED");
  expect(await recordsOf(storage)).toHaveLength(21);
  await storage.close();
});

test("a watch that is stopped during a look does not wait for the next one", async () => {
  let delays = 0;
  let watch: FolderWatch | undefined;
  await new Promise<void>((resolve, reject) => {
    const parts = {
      folder,
      database: join(folder, "log"),
      isHeld() {
        resolve(watch?.stop());
        return true;
      },
      isReopening: () => false,
      lost: (what: string) => reject(new Error(what)),
      // Only the first pause ends by itself.
      delay(_: number, callback: () => void) {
        if (delays++ === 0) setImmediate(callback);
        return () => {};
      },
    };
    startFolderWatch(parts).then((started) => (watch = started), reject);
  });
  expect(delays).toBe(1);
});
