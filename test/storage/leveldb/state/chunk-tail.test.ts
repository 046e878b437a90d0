// The newest chunks in memory: what is removed from them does not stay there.
import { expect, test } from "vitest";
import type { Chunk } from "../../../../src/storage/leveldb/format/chunk.ts";
import { ChunkTail } from "../../../../src/storage/leveldb/state/open-store.ts";

const MiB = 1024 * 1024;
const large = Buffer.alloc(MiB);
const small = Buffer.alloc(100);

function chunkOf(position: number, value: Buffer): Chunk {
  return { first: position, last: position, value } as Partial<Chunk> as Chunk;
}

test("large chunks stay in memory within the bound, also those that are removed soon", () => {
  const tail = new ChunkTail();
  for (let i = 1; i <= 1_000; i++) {
    tail.push(chunkOf(i, large));
    expect(tail.count).toBeLessThanOrEqual(20);
  }
  expect(tail.holding(1_000)?.value).toBe(large);
  expect(tail.holding(995)).toBeDefined();
  expect(tail.holding(900)).toBeUndefined();
});

test("the newest small chunks are found, whatever came before", () => {
  const tail = new ChunkTail();
  for (let i = 1; i <= 20_000; i++) {
    tail.push(chunkOf(i, i % 100 === 0 ? large : small));
    expect(tail.holding(i)?.last).toBe(i);
    if (i > 100) expect(tail.page(i - 50, i, 100).map(({ last }) => last)[0]).toBe(i - 50);
  }
  expect(tail.count).toBeLessThan(10_000);
});
