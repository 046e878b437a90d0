// Where a commit is cut into chunks, and how two chunks are known that may be of one commit.
import { describe, expect, test } from "vitest";
import {
  composeChunk,
  cutIntoChunks,
  firstHash,
  mayShareCommit,
  type Chunk,
} from "../../../../src/storage/leveldb/format/chunk.ts";
import { postingRecordsBytesMax } from "../../../../src/storage/leveldb/format/posting.ts";
import { newEvents, placeEvents } from "../../../support/events.ts";

const recordedAt = 1_700_000_000_000_000;

/** The chunks of a commit of events with payloads of these sizes. */
function chunksOf(sizes: readonly number[]): Chunk[] {
  const fresh = newEvents(sizes.length, (i) => {
    return { stream: "a", data: new Uint8Array(sizes[i] as number) };
  });
  const events = placeEvents(fresh, { position: 0, recordedAt }, new Map(), recordedAt);
  return cutIntoChunks({ events, recordedAt }).map((group) =>
    composeChunk(group.events, recordedAt, firstHash),
  );
}

const short = Array.from({ length: 100 }, () => 300);

describe("a commit is cut", () => {
  test("near 16 KiB between short events, so that a stream's records still go beside it", () => {
    const chunks = chunksOf(short);
    expect(chunks.map(({ count }) => count).reduce((sum, count) => sum + count)).toBe(100);
    for (const { records } of chunks.slice(0, -1)) {
      expect(records.length).toBeGreaterThan(15 * 1024);
      expect(records.length).toBeLessThanOrEqual(postingRecordsBytesMax);
    }
  });

  test("near 8 KiB before a longer event", () => {
    expect(chunksOf([4_500, 4_500]).map(({ count }) => count)).toEqual([1, 1]);
    expect(chunksOf([...short.slice(0, 30), 1_100]).map(({ count }) => count)).toEqual([30, 1]);
    expect(chunksOf([...short.slice(0, 10), 1_100]).map(({ count }) => count)).toEqual([11]);
  });
});

test("chunks of one commit are known as such, also where they were cut at 8 KiB", () => {
  const chunks = chunksOf([...short, ...Array.from({ length: 40 }, () => 1_500)]);
  expect(chunks.length).toBeGreaterThan(5);
  for (let i = 1; i < chunks.length; i++) {
    expect(mayShareCommit(chunks[i - 1] as Chunk, chunks[i] as Chunk)).toBe(true);
  }
  // The next commit of the same moment.
  const [little] = chunksOf([300]);
  expect(mayShareCommit(little as Chunk, little as Chunk)).toBe(false);
  // It would have fitted the chunk of several events, which has more than 8 KiB.
  const [long] = chunksOf(short.slice(0, 30));
  expect((long as Chunk).records.length).toBeGreaterThan(9 * 1024);
  expect(mayShareCommit(long as Chunk, little as Chunk)).toBe(false);
});
