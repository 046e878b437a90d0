// A backup of a store with a damaged table: refused, or the same as that of the sound store. LevelDB
// checks no block when it reads one, and damage of a key can hide an entry from it.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import { checkBackup } from "../../../../src/storage/leveldb/offline/backup-read.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { composeCommit, newEvents } from "../../../support/events.ts";
import { contentsOf } from "../../../support/store-folder.ts";

const [commits, readers] = [20, 40];
const trials = 48;

let scratch: string;
let store: string;
let path: string;
let table: Buffer;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-backup-damage-"));
  store = join(scratch, "store");
  const storage = await openLevelStorage({ folder: store });
  for (let i = 0; i < commits; i++) {
    const commit = await composeCommit(
      storage,
      newEvents(5, (n) => ({ stream: `s-${n}`, data: Buffer.alloc(200, i) })),
    );
    const names = Array.from({ length: readers / commits }, (_, n) => `reader ${i} ${n}`);
    const value = Buffer.from("seen");
    const sideValues = names.map((name) => ({ space: "checkpoint" as const, name, value }));
    await storage.commit({ ...commit, sideValues });
  }
  await storage.close();
  // A start turns the write-ahead log into a table.
  await (await openLevelStorage({ folder: store })).close();
  const name = (await readdir(join(store, "log"))).find((each) => each.endsWith(".ldb"));
  path = join(store, "log", name ?? "no table");
  table = await readFile(path);
});
afterAll(() => rm(scratch, { recursive: true }));

/** The backup's files, but for its list, which tells when it was made. Undefined: refused. */
async function backedUp(name: string): Promise<string[] | undefined> {
  const target = join(scratch, name);
  try {
    await backUp({ store, target });
    await checkBackup(target);
    const contents = await contentsOf(target);
    contents.delete("BACKUP");
    return [...contents.values()];
  } catch {
    return undefined;
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

describe("a backup of a damaged store", () => {
  test("never has what is not proved, and lacks nothing, whatever byte was flipped", async () => {
    const sound = await backedUp("sound");
    expect(sound).toBeDefined();
    let refused = 0;
    for (let i = 0; i < trials; i++) {
      const at = Math.floor((i / trials) * table.length);
      const damaged = Buffer.from(table);
      damaged[at] = (damaged[at] as number) ^ (1 << (i % 8));
      await writeFile(path, damaged);
      const found = await backedUp("damaged");
      if (found === undefined) refused++;
      else expect(String(found) === String(sound), `byte ${at}`).toBe(true);
    }
    await writeFile(path, table);
    expect(refused).toBeGreaterThan(trials / 2);
    expect(await backedUp("mended")).toEqual(sound);
  });

  test("is refused where the damage hides a side value from LevelDB", async () => {
    // Keys behind the first one of a block share its bytes.
    const entry = table.indexOf("reader ");
    expect(entry).toBeGreaterThan(0);
    // Each byte before the name in turn: the space, and the lengths of the entry.
    for (let at = entry - 6; at < entry; at++) {
      const damaged = Buffer.from(table);
      damaged[at] = (damaged[at] as number) ^ 0x20;
      await writeFile(path, damaged);
      await expect(backUp({ store, target: join(scratch, `hidden-${at}`) })).rejects.toThrow(
        /table|block/,
      );
    }
    await writeFile(path, table);
  });
});
