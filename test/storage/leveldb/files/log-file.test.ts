// Our reader of LevelDB's log files: what it makes of sound, torn and corrupted files, and that LevelDB
// itself recovers from each of them exactly the records that we say it will.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLevelKv } from "../../../../src/storage/leveldb/kv/level-kv.ts";
import { readLog } from "../../../../src/storage/leveldb/files/log-file.ts";
import { copyStore } from "../../../support/store-folder.ts";
import { batchOf, fragment, logOf } from "./log-files.ts";

const block = 32_768;

function record(number: number, length: number): Buffer {
  const value = Buffer.alloc(length, number % 251);
  return batchOf(number, [[Buffer.from(`key ${String(number).padStart(6, "0")}`), value]]);
}

function records(count: number, length: (i: number) => number): Buffer[] {
  return Array.from({ length: count }, (_, i) => record(i + 1, length(i)));
}

function flipped(file: Buffer, byte: number, bit = 0): Buffer {
  const corrupted = Buffer.from(file);
  corrupted[byte] = (corrupted[byte] as number) ^ (1 << bit);
  return corrupted;
}

describe("a sound log", () => {
  test("gives its records back, however they fall on blocks", () => {
    const lengths = [0, 1, block - 60, block - 7, block, 3 * block, 5, 100_000];
    const all = lengths.map((length, i) => record(i + 1, length));
    const log = readLog(logOf(all));
    expect(log.faultOffset).toBeUndefined();
    expect(log.records.map((each) => Buffer.from(each))).toEqual(all);
  });

  test("may leave every number of bytes at the end of a block, header or filling", () => {
    for (let left = 0; left <= 16; left++) {
      const first = Buffer.alloc(block - 7 - left, 1);
      const second = Buffer.alloc(40, 2);
      const log = readLog(logOf([first, second]));
      expect([log.faultOffset, log.records.length], `${left} bytes left`).toEqual([undefined, 2]);
    }
  });

  test("that is empty has no records and no fault", () => {
    const nothing = { faultOffset: undefined, recordBehindFault: false };
    expect(readLog(Buffer.alloc(0))).toEqual({ ...nothing, records: [], recordsBehind: [] });
  });
});

describe("a torn end is no proof of corrupted bytes", () => {
  const all = records(5, (i) => 50 + i * 20_000);
  const file = logOf(all);
  const lastStart = logOf(all.slice(0, 4)).length;

  test("wherever the last record was cut off", () => {
    for (let cut = lastStart + 1; cut < file.length; cut += cut < lastStart + 20 ? 1 : 997) {
      const log = readLog(file.subarray(0, cut));
      expect([log.records.length, log.faultOffset, log.recordBehindFault], `cut at ${cut}`).toEqual(
        [4, lastStart, false],
      );
    }
  });

  test("where the file was cut between records there is no fault at all", () => {
    const log = readLog(file.subarray(0, lastStart));
    expect([log.records.length, log.faultOffset]).toEqual([4, undefined]);
  });

  test("where zeros stand for what was never written", () => {
    for (const zeros of [1, 6, 7, 100, block, 3 * block]) {
      const log = readLog(Buffer.concat([file, Buffer.alloc(zeros)]));
      expect([log.records.length, log.recordBehindFault], `${zeros} zeros`).toEqual([5, false]);
    }
  });

  test("where a middle part of the last record never reached the disk", () => {
    const long = logOf([...all.slice(0, 4), record(5, 5 * block)]);
    const torn = Buffer.from(long);
    const hole = lastStart - (lastStart % block) + 2 * block;
    torn.fill(0, hole, hole + block);
    const log = readLog(torn);
    expect([log.records.length, log.faultOffset, log.recordBehindFault]).toEqual([
      4,
      lastStart,
      false,
    ]);
  });
});

describe("a corrupted record that others follow", () => {
  const all = records(6, () => 200);
  const file = logOf(all);
  const size = file.length / 6;

  test("is told from a torn end, whichever of its bits is flipped", () => {
    for (let byte = 2 * size; byte < 3 * size; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const log = readLog(flipped(file, byte, bit));
        expect(
          [log.records.length, log.faultOffset, log.recordBehindFault],
          `bit ${bit} of byte ${byte}`,
        ).toEqual([2, 2 * size, true]);
      }
    }
  });

  test("is told although the records behind it lie in later blocks only", () => {
    const long = logOf([record(1, 50), record(2, 2 * block), record(3, 50)]);
    const log = readLog(flipped(long, block + 5_000));
    expect([log.records.length, log.recordBehindFault, log.recordsBehind.length]).toEqual([
      1,
      true,
      1,
    ]);
  });

  test("in the last record is not: that takes the high-water mark", () => {
    const log = readLog(flipped(file, file.length - 1));
    expect([log.records.length, log.recordBehindFault]).toEqual([5, false]);
  });
});

describe("fragments out of order", () => {
  const part = (type: number) => fragment(type, Buffer.alloc(20, type));
  test.each([
    ["a record begins in another one", [2, 1], 0],
    ["a record goes on that never began", [1, 3, 1], 27],
    ["a record ends that never began", [1, 4, 1], 27],
    ["a record begins anew before its end", [2, 2, 4], 0],
  ])("%s", (_, types, offset) => {
    const log = readLog(Buffer.concat(types.map(part)));
    expect([log.faultOffset, log.recordBehindFault]).toEqual([offset, true]);
  });
});

describe("LevelDB recovers what we say it will", () => {
  let scratch: string;
  let template: string;
  let logName: string;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "annals-log-"));
    template = join(scratch, "template");
    const kv = await openLevelKv(template, true);
    // As a killed process leaves it: an empty write-ahead log that the MANIFEST names.
    await copyStore(template, join(scratch, "empty"));
    await kv.close();
    template = join(scratch, "empty");
    logName = (await readdir(template)).find((name) => name.endsWith(".log")) as string;
  });
  afterAll(() => rm(scratch, { recursive: true }));

  async function recovered(file: Buffer): Promise<string[]> {
    const folder = join(scratch, "tried");
    await rm(folder, { recursive: true, force: true });
    await copyStore(template, folder);
    await writeFile(join(folder, logName), file);
    const kv = await openLevelKv(folder, false);
    try {
      const range = { first: Buffer.from([0]), last: Buffer.from([0xff]), limit: 10_000 };
      return (await kv.page(range)).map(([key]) => Buffer.from(key).toString("latin1"));
    } finally {
      await kv.close();
    }
  }

  function expected(file: Buffer): string[] {
    const { records: sound, recordsBehind } = readLog(file);
    return [...sound, ...recordsBehind].map((each) =>
      Buffer.from(each.subarray(14, 24)).toString("latin1"),
    );
  }

  test("from sound files, cut files, files with zeros and files with flipped bits", async () => {
    const lengths = fc.array(fc.oneof(fc.nat(300), fc.nat(70_000)), { minLength: 1, maxLength: 8 });
    const fault = fc.oneof(
      fc.constant({ kind: "none" as const }),
      fc.record({ kind: fc.constant("cut" as const), at: fc.nat(0xffff_ffff) }),
      fc.record({ kind: fc.constant("flip" as const), at: fc.nat(0xffff_ffff), bit: fc.nat(7) }),
      fc.record({
        kind: fc.constant("zeros" as const),
        at: fc.nat(0xffff_ffff),
        count: fc.nat(4_000),
      }),
    );
    await fc.assert(
      fc.asyncProperty(lengths, fc.array(fault, { maxLength: 2 }), async (sizes, faults) => {
        let file = logOf(records(sizes.length, (i) => sizes[i] as number));
        for (const each of faults) {
          if (each.kind === "none") continue;
          const at = each.at % file.length;
          if (each.kind === "cut") file = file.subarray(0, at + 1);
          else if (each.kind === "flip") file = flipped(file, at, each.bit);
          else file = Buffer.from(file).fill(0, at, Math.min(at + each.count, file.length));
        }
        expect(await recovered(file)).toEqual(expected(file));
      }),
      { numRuns: 150 },
    );
  });
});
