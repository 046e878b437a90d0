// LevelDB's MANIFEST and write batches as we read them: by hand, and against what LevelDB writes.
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkDatabase } from "../../../../src/storage/leveldb/files/database-check.ts";
import { chunkKey } from "../../../../src/storage/leveldb/format/keys.ts";
import { openLevelKv } from "../../../../src/storage/leveldb/kv/level-kv.ts";
import { readLog } from "../../../../src/storage/leveldb/files/log-file.ts";
import { foldManifest } from "../../../../src/storage/leveldb/files/manifest.ts";
import { readBatch } from "../../../../src/storage/leveldb/files/write-batch.ts";
import { copyStore } from "../../../support/store-folder.ts";
import { batchOf } from "./log-files.ts";

function edit(...bytes: readonly (number | string)[]): Buffer {
  const parts = bytes.map((each) =>
    typeof each === "number" ? Buffer.from([each]) : Buffer.from(each),
  );
  return Buffer.concat(parts);
}

const comparator = edit(1, 4, "name");

describe("version edits", () => {
  test("add and remove tables, and say which log still counts", () => {
    const manifest = foldManifest([
      edit(...comparator, 2, 3, 9, 0, 3, 9, 4, 77),
      edit(7, 0, 5, 100, 1, "a", 1, "b", 7, 0, 6, 90, 1, "c", 1, "d"),
      edit(6, 0, 5, 7, 1, 8, 0x80, 1, 1, "a", 1, "z", 5, 0, 1, "b", 2, 9, 4, 0x81, 1),
    ]);
    expect(manifest.logNumber).toBe(9);
    expect(manifest.lastSequence).toBe(129);
    expect([...manifest.tables]).toEqual([
      [6, 90],
      [8, 128],
    ]);
  });

  test("an edit that removes and adds one table leaves it: additions come last", () => {
    const manifest = foldManifest([edit(7, 0, 5, 9, 0, 0), edit(7, 1, 5, 9, 0, 0, 6, 0, 5)]);
    expect([...manifest.tables.keys()]).toEqual([5]);
  });

  test("without edits there is nothing", () => {
    expect(foldManifest([])).toEqual({
      logNumber: 0,
      lastSequence: 0,
      tables: new Map(),
      ranges: new Map(),
    });
  });

  test.each([
    ["an unknown tag", edit(8, 1)],
    ["a number cut off", edit(2)],
    ["a table cut off", edit(7, 0, 5, 9, 4, "a")],
  ])("%s is refused", (_, malformed) => {
    expect(() => foldManifest([malformed])).toThrow(RangeError);
  });
});

describe("write batches", () => {
  const value = Buffer.alloc(70);
  value.writeBigUInt64BE(41n, 8);

  test("tell their numbers and the positions of their chunks", () => {
    const record = batchOf(9, [
      [chunkKey(44), value],
      [Buffer.from("p12345678123456789"), Buffer.alloc(200)],
    ]);
    expect(readBatch(record)).toEqual({ sequence: 9, count: 2, chunks: [{ first: 41, last: 44 }] });
  });

  test("may delete", () => {
    const record = Buffer.concat([batchOf(2 ** 40, []), Buffer.from([0, 1, 0x63])]);
    record.writeUInt32LE(1, 8);
    expect(readBatch(record)).toEqual({ sequence: 2 ** 40, count: 1, chunks: [] });
  });

  test.each([
    ["shorter than a header", Buffer.alloc(11)],
    ["that holds less than it says", Buffer.concat([batchOf(1, [[value, value]])]).subarray(0, 80)],
    ["that holds more than it says", Buffer.concat([batchOf(1, []), Buffer.from([1, 0, 0])])],
    [
      "with an entry of no known kind",
      withCount(Buffer.concat([batchOf(1, []), Buffer.from([2, 0])])),
    ],
  ])("a batch %s is refused", (_, record) => {
    expect(() => readBatch(record)).toThrow(RangeError);
  });

  function withCount(record: Buffer): Buffer {
    record.writeUInt32LE(1, 8);
    return record;
  }
});

describe("what LevelDB writes", () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "annals-manifest-"));
  });
  afterAll(() => rm(scratch, { recursive: true }));

  async function put(folder: string, from: number, to: number, flush: boolean): Promise<void> {
    const kv = await openLevelKv(folder, true);
    for (let i = from; i < to; i++) {
      await kv.write([
        [Buffer.from(`key ${i}`), Buffer.alloc(500, i)],
        [Buffer.from(`more ${i}`), Buffer.alloc(5, i)],
      ]);
      if (flush && i % 4 === 3) await kv.flush();
    }
    await copyStore(folder, `${folder}-killed`);
    await kv.close();
  }

  test("is read as it is: tables with their sizes, logs, and the number of the last write", async () => {
    const folder = join(scratch, "db");
    await put(folder, 0, 10, true);
    const killed = `${folder}-killed`;
    const name = (await readFile(join(killed, "CURRENT"), "utf8")).trim();
    const manifest = foldManifest(readLog(await readFile(join(killed, name))).records);
    const names = await readdir(killed);
    for (const [number, bytes] of manifest.tables) {
      const file = names.find((each) => each.endsWith(".ldb") && parseInt(each, 10) === number);
      expect((await stat(join(killed, file ?? "missing"))).size).toBe(bytes);
    }
    expect(manifest.tables.size).toBe(2);
    const check = await checkDatabase(killed);
    expect([check.findings, check.lastSequence, check.tables.length]).toEqual([[], 20, 2]);
  });

  test("after another start and stop still counts every write", async () => {
    const folder = join(scratch, "db");
    await put(folder, 10, 13, false);
    expect((await checkDatabase(folder)).lastSequence).toBe(26);
    expect((await checkDatabase(`${folder}-killed`)).lastSequence).toBe(26);
  });
});
