// Upgrade and downgrade: a program opens the stores of every earlier one, and refuses those of a
// later one by name, with all of its commands and before it changes anything.

import { createHash } from "node:crypto";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StoreRefused } from "../../../../src/storage/leveldb/folder/store-refused.ts";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import { planSalvage } from "../../../../src/storage/leveldb/offline/salvage.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";
import { copyStore } from "../../../support/store-folder.ts";

const earlier = globSync("test/fixtures/store-*/").filter((path) => !path.endsWith(".json"));

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "annals-versions-"));
});
afterEach(() => rmSync(scratch, { recursive: true }));

describe("a store of an earlier program", () => {
  test("is there for each format version, also where space was reclaimed", () => {
    expect(earlier.map((path) => basename(path)).toSorted()).toEqual([
      "store-v1",
      "store-v1-reclaimed",
      "store-v2",
      "store-v2-reclaimed",
    ]);
  });

  test.each(earlier)("%s opens, goes on, and is sound afterwards", async (path) => {
    const folder = join(scratch, "store");
    await copyStore(path, folder);
    const storage = await openLevelStorage({ folder });
    await commitEvents(storage, [newEvent({ stream: "later-1" })]);
    await storage.close();
    expect((await verifyFolder(folder)).findings).toEqual([]);
  });
});

/** The folder's files and their bytes. */
function bytesOf(folder: string): string[] {
  return globSync("**/*", { cwd: folder, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((path) => `${path} ${createHash("sha256").update(readFileSync(path)).digest("hex")}`);
}

describe("a store of a later program", () => {
  const works: [string, (folder: string) => Promise<unknown>][] = [
    ["serve", (folder) => openLevelStorage({ folder })],
    ["verify", (folder) => verifyFolder(folder)],
    ["backup", (folder) => backUp({ store: folder, target: join(scratch, "backup") })],
    ["salvage", (folder) => planSalvage({ folder })],
  ];

  test.each(works)("is refused by name by %s, and left as it is", async (_, work) => {
    const folder = join(scratch, "store");
    await copyStore(earlier[0] ?? "", folder);
    const path = join(folder, "IDENTITY");
    const { crc32: _crc, ...fields } = JSON.parse(await readFile(path, "utf8")) as object & {
      crc32: string;
    };
    const later = { ...fields, formatVersion: 3, further: ["what", "a later program added"] };
    const sum = crc32(JSON.stringify(later)).toString(16).padStart(8, "0");
    writeFileSync(path, `${JSON.stringify({ ...later, crc32: sum })}\n`);
    const before = bytesOf(folder);
    const refused = await work(folder).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreRefused);
    expect(String(refused)).toContain("it has format version 3; this server knows up to 2");
    expect(bytesOf(folder)).toEqual(before);
  });
});
