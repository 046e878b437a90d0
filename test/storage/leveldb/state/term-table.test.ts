// What the table of terms answers is what was set last, or nothing, whatever came and went.
import { expect, test } from "vitest";
import { keyedHash, randomKey } from "../../../../src/storage/leveldb/state/known-keys.ts";
import { TermKind } from "../../../../src/storage/leveldb/format/keys.ts";
import { shardCount, TermTable } from "../../../../src/storage/leveldb/state/term-table.ts";
import type { TermHead } from "../../../../src/storage/leveldb/state/term-table.ts";
import { seededRandom } from "../../../support/seeded.ts";

const kinds = Object.values(TermKind);
const scripts = ["account", "konto-ä", "口座", "\u{1f4b0}", "x".repeat(300)];

function headOf(number: number): TermHead {
  return { number, count: number * 2, lastChunk: 2 ** 52 + number, last: 2 ** 52 + number - 1 };
}

test.each([
  [1, Infinity],
  [64, Infinity],
  [1_000, Infinity],
  [3_000, Infinity],
  [100_000, Infinity],
  [100_000, 4_000],
  [100_000, 40_000],
  [1_000, 400_000],
])("beside a map, room for %i terms and %i bytes of names", (room, namesBytes) => {
  const table = new TermTable(room, namesBytes);
  const model = new Map<string, TermHead>();
  const random = seededRandom(room);
  const below = (end: number) => Math.floor(random() * end);
  let remembered = 0;
  for (let step = 1; step <= 20_000; step++) {
    const kind = kinds[below(kinds.length)] as TermKind;
    const name = `${scripts[below(scripts.length)]}-${below(400)}`;
    const key = `${kind}${name}`;
    if (random() < 0.5) {
      table.set(kind, name, headOf(step));
      model.set(key, headOf(step));
      expect(table.get(kind, name)).toEqual(headOf(step));
    } else {
      const found = table.get(kind, name);
      if (found) expect(found).toEqual(model.get(key));
      if (room === 100_000 && namesBytes === Infinity) expect(found).toEqual(model.get(key));
      if (found) remembered++;
    }
  }
  expect(remembered).toBeGreaterThan(0);
});

test("a term in use outlives those that are not", () => {
  const table = new TermTable(6_400, Infinity);
  table.set(TermKind.stream, "in use", headOf(1));
  for (let i = 0; i < 100_000; i++) {
    table.set(TermKind.tag, `passing-${i}`, headOf(i));
    if (i % 30 === 0) expect(table.get(TermKind.stream, "in use")).toEqual(headOf(1));
  }
  expect(table.get(TermKind.tag, "passing-0")).toBeUndefined();
  table.clear();
  expect(table.get(TermKind.stream, "in use")).toBeUndefined();
});

test("long names take no more memory than they may", () => {
  const bytesMax = 1024 * 1024;
  const table = new TermTable(1_000_000, bytesMax);
  const nameOf = (i: number) => `${i}-`.padEnd(256, "n");
  for (let i = 0; i < 20_000; i++) table.set(TermKind.tag, nameOf(i), headOf(i + 1));
  let kept = 0;
  for (let i = 0; i < 20_000; i++) kept += table.get(TermKind.tag, nameOf(i)) ? 1 : 0;
  expect(kept * 256).toBeLessThanOrEqual(bytesMax);
  expect(kept * 256).toBeGreaterThan(bytesMax / 2);
  expect(table.get(TermKind.tag, nameOf(19_999))).toEqual(headOf(20_000));
  let packed = 0;
  for (let part = 0; part < shardCount; part++) packed += table.pack(part).byteLength;
  expect(packed).toBeLessThan(bytesMax * 1.5);
});

test("a name beyond 256 KiB is not remembered", () => {
  const table = new TermTable(10, Infinity);
  const name = "x".repeat(0x4_0000);
  table.set(TermKind.stream, name, headOf(1));
  expect(table.get(TermKind.stream, name)).toBeUndefined();
});

test("the hash depends on every bit and on the key", () => {
  const key = randomKey();
  const words = new Int32Array(20).map((_, i) => i * 0x0101_0101);
  for (let length = 0; length <= words.length; length++) {
    const seen = new Set([keyedHash(key, words, length)]);
    for (let bit = 0; bit < length * 32; bit++) {
      const corrupted = Int32Array.from(words);
      corrupted[bit >> 5] = (corrupted[bit >> 5] as number) ^ (1 << (bit & 31));
      seen.add(keyedHash(key, corrupted, length));
    }
    // Of 641 at most, two are alike once in 20,000 keys.
    expect(seen.size).toBeGreaterThanOrEqual(length * 32);
  }
  const spread = new Set<number>();
  for (let i = 0; i < 64; i++) spread.add(keyedHash([i, 7], words, 20) >>> 26);
  expect(spread.size).toBeGreaterThan(20);
});
