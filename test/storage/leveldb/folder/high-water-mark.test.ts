// The high-water mark: the newest sound slot counts, a torn one leaves the other, and a mark that
// cannot be written stops nobody.
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  createHighWaterMark,
  HighWaterMark,
  openHighWaterMark,
  readHighWaterMark,
  readStoreTime,
} from "../../../../src/storage/leveldb/folder/high-water-mark.ts";

let scratch: string;
let path: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-mark-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  path = join(scratch, `MARK-${made++}`);
});

const silent = (): void => {};

function state(position: number): { position: number; sequence: number; hash: Buffer } {
  return { position, sequence: position * 10, hash: Buffer.alloc(32, position) };
}

/** A mark that was advanced to each of these positions, and closed. */
function marked(...positions: readonly number[]): Buffer {
  const [highWaterMark] = openHighWaterMark(path, silent);
  for (const position of positions) highWaterMark.advance(state(position));
  highWaterMark.close();
  return readFileSync(path);
}

test("says what was acknowledged last, in whichever slot that stands", () => {
  for (const positions of [[1], [1, 2], [1, 2, 3], [7, 2 ** 45]]) {
    marked(...positions);
    expect(readHighWaterMark(path)).toMatchObject(state(positions.at(-1) as number));
  }
});

test("goes on after it was opened again", () => {
  marked(1, 2, 3);
  marked(4);
  expect(readHighWaterMark(path)).toMatchObject(state(4));
  marked(5, 6);
  expect(openedState()).toMatchObject(state(6));
});

test("says nothing where it is missing or empty, and does not make it by reading", () => {
  expect(readHighWaterMark(path)).toBeUndefined();
  expect(() => readFileSync(path)).toThrow("ENOENT");
  writeFileSync(path, "");
  expect(readHighWaterMark(path)).toBeUndefined();
});

test("a torn newest slot leaves the one before, wherever it is torn", () => {
  const whole = marked(1, 2, 3);
  const newestAt = 4_096;
  for (let torn = 0; torn < 68; torn++) {
    const bytes = Buffer.from(whole);
    bytes[newestAt + torn] = (bytes[newestAt + torn] as number) ^ 0xff;
    writeFileSync(path, bytes);
    expect(readHighWaterMark(path), `byte ${torn}`).toMatchObject(state(2));
  }
});

test("two torn slots say nothing", () => {
  const bytes = marked(1, 2, 3);
  bytes[10] = 0xff;
  bytes[4_100] = 0xff;
  writeFileSync(path, bytes);
  expect(readHighWaterMark(path)).toBeUndefined();
});

test("a torn slot is the next to be written: the sound one is never touched first", () => {
  const bytes = marked(1, 2, 3);
  bytes[4_100] = 0xff;
  writeFileSync(path, bytes);
  const [highWaterMark] = openHighWaterMark(path, silent);
  const sound = readFileSync(path).subarray(0, 68);
  highWaterMark.advance(state(4));
  expect(readFileSync(path).subarray(0, 68)).toEqual(sound);
  highWaterMark.close();
  expect(readHighWaterMark(path)).toMatchObject(state(4));
});

test("a mark that cannot be written warns once and throws never", () => {
  const warnings: string[] = [];
  writeFileSync(path, "");
  const readOnly = openSync(path, "r");
  const highWaterMark = new HighWaterMark(readOnly, 0, (message) => warnings.push(message));
  highWaterMark.advance(state(1));
  highWaterMark.advance(state(2));
  expect(warnings).toEqual(["the high-water mark cannot be written"]);
  highWaterMark.close();
  expect(() => closeSync(readOnly)).toThrow("EBADF");
  expect(readHighWaterMark(path)).toBeUndefined();
});

describe("the store's time beside it", () => {
  /** A mark beside which these times were kept. */
  function timed(...times: readonly number[]): Buffer {
    const [highWaterMark] = openHighWaterMark(path, silent);
    for (const time of times) highWaterMark.keepTime(time);
    highWaterMark.close();
    return readFileSync(path);
  }

  test("is the latest that was kept, and leaves the mark alone", () => {
    marked(1, 2);
    expect(readStoreTime(path)).toBe(0);
    for (const times of [[5], [6, 7], [8, 9, 10]]) {
      timed(...times);
      expect(readStoreTime(path)).toBe(times.at(-1));
    }
    expect(readHighWaterMark(path)).toMatchObject(state(2));
    marked(3);
    expect(readStoreTime(path)).toBe(10);
  });

  test("torn is the one before, and the torn slot is the next to be written", () => {
    const whole = timed(1, 2, 3);
    for (let torn = 0; torn < 20; torn++) {
      const bytes = Buffer.from(whole);
      bytes[8_192 + torn] = (bytes[8_192 + torn] as number) ^ 0xff;
      writeFileSync(path, bytes);
      expect(readStoreTime(path), `byte ${torn}`).toBe(2);
      const sound = bytes.subarray(12_288);
      expect(timed(4).subarray(12_288)).toEqual(sound);
      expect(readStoreTime(path)).toBe(4);
    }
  });

  test("is none where the file is missing, empty, or of the first builds", () => {
    expect(readStoreTime(path)).toBe(0);
    writeFileSync(path, "");
    expect(readStoreTime(path)).toBe(0);
    createHighWaterMark(path, state(1), 77);
    expect(readStoreTime(path)).toBe(77);
    writeFileSync(path, readFileSync(path).subarray(0, 4_164));
    expect([readStoreTime(path), readHighWaterMark(path)?.position]).toEqual([0, 1]);
  });
});

function openedState(): unknown {
  const [highWaterMark, acknowledged] = openHighWaterMark(path, silent);
  highWaterMark.close();
  return acknowledged;
}
