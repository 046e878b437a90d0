// What reads cost: operations on LevelDB, frames passed on undecoded, bytes allocated an event.
import { expect, test } from "vitest";
import type { QueryItem, Selection } from "../../src/domain/query.ts";
import type { Batch, Storage } from "../../src/storage/storage.ts";
import { allocatedDuring } from "./allocation.ts";
import { appendRequests, countedLog, reopened } from "./shape.ts";

const events = 10_000;
const batchBytes = 128 * 1024;
/** About 50 are taken; a decoded event would take more than 1,000. */
const allocatedPerScannedEventMax = 250;

function query(parts: Partial<QueryItem>): Selection {
  const item = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [], ...parts };
  return { kind: "query", query: { items: [item] } };
}

async function batches(storage: Storage, selection: Selection): Promise<Batch[]> {
  const positions = { first: 1, last: storage.head().position };
  const read = storage.read({ selection, direction: "forwards", positions, batchBytes });
  const all: Batch[] = [];
  for await (const batch of read) all.push(batch);
  return all;
}

function total(of: readonly Batch[], what: (batch: Batch) => number): number {
  return of.reduce((sum, batch) => sum + what(batch), 0);
}

test("reading everything reads each chunk once and decodes no event", async () => {
  const { storage, during } = await reopened(events);
  let found: Batch[] = [];
  const counts = await during(async () => {
    found = await batches(storage, { kind: "all" });
  });
  expect(total(found, ({ count }) => count)).toBe(events);
  const bytes = total(found, (batch) => batch.bytes);
  // Chunks of about 8 KiB, none twice but at the seams of pages.
  expect(counts.entries).toBeLessThanOrEqual(Math.ceil(bytes / 7_500) + counts.pages);
  expect(counts).toMatchObject({ gets: 0, puts: 0 });
  // Events that stand together go out together: several in a frame.
  expect(events / total(found, ({ frames }) => frames.length)).toBeGreaterThanOrEqual(5);
  // Batches are full: few messages for many events.
  expect(events / found.length).toBeGreaterThanOrEqual(200);
});

test("reading everything allocates little for each event", async () => {
  const { storage } = await reopened(events);
  await batches(storage, { kind: "all" });
  const runs: number[] = [];
  for (let i = 0; i < 3; i++) {
    runs.push(await allocatedDuring(() => batches(storage, { kind: "all" })));
  }
  // The least: the compiler allocates now and then, too.
  const bytes = Math.min(...runs);
  // Payloads live outside V8's heap; this is what the collector has to look at.
  expect(bytes / events).toBeLessThanOrEqual(allocatedPerScannedEventMax);
});

test("a stream of ten events costs two seeks and the stream's own entries", async () => {
  const { storage, during } = await reopened(events);
  let found: Batch[] = [];
  const counts = await during(async () => {
    found = await batches(storage, { kind: "stream", stream: "account-00000007" });
  });
  expect(total(found, ({ count }) => count)).toBe(10);
  expect(counts.getCalls).toBeLessThanOrEqual(2);
  expect(counts.gets).toBeLessThanOrEqual(2);
  expect(counts.pages).toBeLessThanOrEqual(2);
  expect(counts.entries).toBeLessThanOrEqual(12);
});

test("a tag with ten hits costs its postings and one look-up of each chunk", async () => {
  const { storage, during } = await reopened(events);
  let found: Batch[] = [];
  const counts = await during(async () => {
    found = await batches(storage, query({ tags: ["card-00000007"] }));
  });
  expect(total(found, ({ count }) => count)).toBe(10);
  expect(counts.getCalls).toBeLessThanOrEqual(3);
  expect(counts.gets).toBeLessThanOrEqual(12);
  expect(counts.pages).toBeLessThanOrEqual(2);
  expect(counts.entries).toBeLessThanOrEqual(12);
});

test("a rare type does not read the log", async () => {
  const { storage, during } = await reopened(events);
  const counts = await during(() => batches(storage, query({ types: ["Posted-r"] })));
  expect(counts.gets + counts.entries).toBeLessThanOrEqual(12);
});

test("live subscribers share one frame and read nothing", async () => {
  const subscribers = 20;
  const counted = await countedLog();
  const ending = new AbortController();
  const request = {
    selection: { kind: "all" },
    start: { kind: "end" },
    checkpointIntervalMs: 3_600_000,
  } as const;
  const flows = Array.from({ length: subscribers }, () =>
    counted.log.subscribe(request, ending.signal)[Symbol.asyncIterator](),
  );
  for (const flow of flows) expect((await flow.next()).value.kind).toBe("caught-up");
  const pulled = flows.map((flow) => flow.next());
  let received: Uint8Array[] = [];
  const counts = await counted.during(async () => {
    await appendRequests(counted, { verb: "append", events: 10, streams: 100 }, 1);
    received = (await Promise.all(pulled)).flatMap(({ value }) =>
      value.kind === "batch" ? [...value.batch.frames] : [],
    );
  });
  expect(counts.pages).toBe(0);
  expect(new Set(received.map((frame) => frame.buffer)).size).toBeLessThanOrEqual(
    received.length / subscribers,
  );
  ending.abort();
});
