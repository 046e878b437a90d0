// Our check of LevelDB's tables against real ones: a sound table passes, whatever is in it; a table
// with any bit flipped, or cut anywhere, does not.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLevelKv } from "../../../../src/storage/leveldb/kv/level-kv.ts";
import { checkTable } from "../../../../src/storage/leveldb/files/table-file.ts";
import { resealWithoutKind } from "./resealed-table.ts";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-table-"));
});
afterAll(() => rm(scratch, { recursive: true }));

let made = 0;

/** A database with one table that holds these entries; the table's path. */
async function tableOf(entries: Iterable<readonly [key: string, value: Buffer]>): Promise<string> {
  const folder = join(scratch, String(made++));
  const kv = await openLevelKv(folder, true);
  await kv.write([...entries].map(([key, value]) => [Buffer.from(key), value]));
  await kv.flush();
  await kv.close();
  const tables = (await readdir(folder)).filter((name) => name.endsWith(".ldb"));
  expect(tables).toHaveLength(1);
  return join(folder, tables[0] as string);
}

function* generated(count: number, bytes: number, text: boolean): Generator<[string, Buffer]> {
  let state = 1;
  for (let i = 0; i < count; i++) {
    const value = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      value[at] = text ? 0x61 + ((state >>> 16) % 3) : state >>> 16;
    }
    yield [`key/${String(i).padStart(9, "0")}`, value];
  }
}

describe("a sound table passes", () => {
  test.each([
    ["one small entry", () => generated(1, 10, true)],
    ["one entry of several megabytes", () => generated(1, 5_000_000, false)],
    ["many blocks of text, its index compressed", () => generated(30_000, 60, true)],
    ["many blocks of noise", () => generated(3_000, 900, false)],
  ])("with %s", async (_, make) => {
    let paced = 0;
    const path = await tableOf(make());
    expect(await checkTable(path, undefined, true)).toBeUndefined();
    const fault = await checkTable(path, async (bytes) => {
      paced += bytes;
    });
    expect(fault).toBeUndefined();
    const { length } = await readFile(path);
    expect(paced).toBeGreaterThan(length * 0.3);
    expect(paced).toBeLessThanOrEqual(length);
  });
});

describe("a small table", () => {
  let path: string;
  let sound: Buffer;
  beforeAll(async () => {
    path = await tableOf([
      ...generated(12, 40, true),
      ...[...generated(5, 200, false)].map(renamed),
    ]);
    sound = await readFile(path);
  });

  function renamed([key, value]: [string, Buffer]): [string, Buffer] {
    return [`other/${key}`, value];
  }

  async function check(bytes: Uint8Array): Promise<string | undefined> {
    await writeFile(path, bytes);
    return checkTable(path);
  }

  test("is refused with any one of its bits flipped", async () => {
    for (let byte = 0; byte < sound.length; byte++) {
      const bits = byte < sound.length - 300 ? [byte % 8] : [0, 1, 2, 3, 4, 5, 6, 7];
      for (const bit of bits) {
        const corrupted = Buffer.from(sound);
        corrupted[byte] = (corrupted[byte] as number) ^ (1 << bit);
        expect(await check(corrupted), `bit ${bit} of byte ${byte}`).toBeTypeOf("string");
      }
    }
  });

  test("is refused cut to any length, and with bytes added", async () => {
    for (let length = 0; length < sound.length; length++) {
      expect(await check(sound.subarray(0, length)), `${length} bytes`).toBeTypeOf("string");
    }
    expect(await check(Buffer.concat([sound, sound]))).toBeTypeOf("string");
    expect(await check(Buffer.concat([Buffer.alloc(7), sound]))).toBeTypeOf("string");
  });

  test("is refused filled with zeros or with noise", async () => {
    expect(await check(Buffer.alloc(sound.length))).toBeTypeOf("string");
    const [, [, noise] = ["", sound]] = [...generated(2, sound.length, false)];
    expect(await check(noise)).toBeTypeOf("string");
  });

  test("passes again once it is as it was", async () => {
    expect(await check(sound)).toBeUndefined();
  });
});

describe("a block that has its CRC, but whose entries make no sense", () => {
  test("is found by those who look into it", async () => {
    const path = await tableOf(generated(20, 900, false));
    expect(await checkTable(path, undefined, true)).toBeUndefined();
    const offset = resealWithoutKind(path, Buffer.from("key/000000000"));
    expect(await checkTable(path)).toBeUndefined();
    const fault = `the entries of the block at byte ${offset} make no sense`;
    expect(await checkTable(path, undefined, true)).toBe(fault);
  });
});
