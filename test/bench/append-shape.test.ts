// What an append costs in operations on LevelDB. The bounds are tight on purpose: a change that
// needs one more operation per event must raise them here.
import { expect, test } from "vitest";
import { appendRequests, countedLog, reopened } from "./shape.ts";

const one = { verb: "append", events: 1, streams: 100 } as const;
const hundred = { verb: "append", events: 100, streams: 100 } as const;
/** A stored event of the benchmark: 256 bytes of payload, names, id, place and time. */
const storedEventBytes = 460;

/** An engine that knows the terms of what is appended next. */
async function knowing() {
  const counted = await countedLog();
  await appendRequests(counted, one, 1_000);
  return counted;
}

test("appends that arrive together become one batch", async () => {
  const counted = await knowing();
  const { batches } = await counted.during(() => appendRequests(counted, one, 64));
  expect(batches).toBe(1);
});

test("appends that arrive during a commit wait for one batch, not for one each", async () => {
  const counted = await knowing();
  const { batches } = await counted.during(async () => {
    const first = appendRequests(counted, one, 1);
    await new Promise((turn) => setImmediate(turn));
    await Promise.all([first, appendRequests(counted, one, 64)]);
  });
  expect(batches).toBeLessThanOrEqual(2);
});

test("an append to a known stream reads nothing, writes a chunk and a posting a term", async () => {
  const counted = await knowing();
  const counts = await counted.during(() => appendRequests(counted, one, 1));
  expect(counts).toMatchObject({ batches: 1, gets: 0, pages: 0, deletes: 0 });
  // Chunk, stream, category, type, tag.
  expect(counts.puts).toBeLessThanOrEqual(5);
});

test("appends that share a commit share chunks and postings", async () => {
  const counted = await knowing();
  const counts = await counted.during(() => appendRequests(counted, one, 64));
  expect(counts).toMatchObject({ gets: 0, pages: 0 });
  expect(counts.puts / 64).toBeLessThanOrEqual(3);
  // Once in the log and once in stream order.
  expect(counts.putBytes / 64).toBeLessThanOrEqual(2.2 * storedEventBytes);
});

test("an append of a hundred events costs no more than two entries an event", async () => {
  const counted = await knowing();
  const counts = await counted.during(() => appendRequests(counted, hundred, 1));
  expect(counts).toMatchObject({ batches: 1, gets: 0, pages: 0 });
  expect(counts.puts / 100).toBeLessThanOrEqual(2);
  expect(counts.putBytes / 100).toBeLessThanOrEqual(2.2 * storedEventBytes);
});

test("new ids of clients cost one entry each, and no look-up", async () => {
  const counted = await knowing();
  const plain = await counted.during(() => appendRequests(counted, one, 64));
  const withIds = await counted.during(() => appendRequests(counted, { ...one, ids: true }, 64));
  expect(withIds).toMatchObject({ batches: 1, pages: 0 });
  // The filter of known keys takes one in a hundred for known.
  expect(withIds.gets).toBeLessThanOrEqual(6);
  expect(withIds.puts - plain.puts).toBeLessThanOrEqual(64);
});

test("an expected version of a known stream is checked without reading", async () => {
  const counted = await knowing();
  const call = { verb: "append-expecting-version", group: 1 } as const;
  await appendRequests(counted, call, 64);
  const again = await counted.during(() =>
    appendRequests(counted, { verb: "append", events: 1, streams: 100 }, 64),
  );
  expect(again).toMatchObject({ gets: 0, pages: 0 });
});

test("a stream not written to since the start costs a look-up and a seek a term", async () => {
  const counted = await reopened(10_000);
  const counts = await counted.during(() =>
    appendRequests(counted, { verb: "append", events: 1, streams: 1_000 }, 64),
  );
  expect(counts.batches).toBe(1);
  // Stream and tag of each event; category and type are shared.
  expect(counts.gets).toBeLessThanOrEqual(2 * 64 + 16);
  expect(counts.pages).toBeLessThanOrEqual(2 * 64 + 16);
  expect(counts.entries).toBeLessThanOrEqual(2 * 64 + 16);
});
