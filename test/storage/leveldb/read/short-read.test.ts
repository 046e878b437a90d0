// Short reads are made at once, without a trip, and find what the longer way finds, wherever they
// are given up.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import type { Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { readBytes, selectQuery, selectStream } from "../../contract/checks.ts";
import { commitEvents, newEvent, newEvents, readRequest } from "../../../support/events.ts";

const commitCount = 12;

let memory: Kv;
let trips: number;
/** What was looked up at once. */
let bytes = 0;
/** Lookups that are answered at once; the ones after them are put off. */
let quick: number;
/** The same store, read at once, and read the longer way. */
let store: { short: Storage; long: Storage };

beforeEach(async () => {
  memory = openMemoryKv();
  const kv: Kv = {
    ...memory,
    close: async () => {},
    getNow: (key) => {
      if (quick-- <= 0) return "later";
      const value = memory.getNow?.(key);
      bytes += value?.length ?? 0;
      return value;
    },
    getMany: (keys) => {
      trips++;
      return memory.getMany(keys);
    },
    page: (range) => {
      trips++;
      return memory.page(range);
    },
  };
  quick = Infinity;
  const short = await openStorageOver({ openKv: async () => kv, hotBytesMax: 0 });
  await fill(short);
  const { getNow: _, ...without } = { ...memory, close: async () => {} };
  const long = await openStorageOver({ openKv: async () => without, hotBytesMax: 0 });
  store = { short, long };
});
afterEach(async () => {
  await store.short.close();
  await store.long.close();
});

async function fill(storage: Storage): Promise<void> {
  for (let i = 0; i < commitCount; i++) {
    const mixed = newEvents(16, (n) => ({
      stream: n < 14 ? `s-${n % 9}` : "",
      tags: [`k:${n % 6}`, `pair:${n % 2}`],
      type: n === 5 ? `Rare-${i % 2}` : "Common",
      data: "x".repeat(30 * n),
      idFromClient: n % 3 === 0,
    }));
    await commitEvents(storage, mixed);
  }
  await commitEvents(storage, [newEvent({ stream: "s-8", type: "$sys" })]);
  await commitEvents(
    storage,
    newEvents(40, () => ({ stream: "large", tags: ["large"], data: "y".repeat(3_000) })),
  );
  // Beyond what is kept of recent chunks.
  for (let i = 0; i < 9; i++) {
    await commitEvents(storage, [newEvent({ type: "Other", data: Buffer.alloc(1024 * 1024) })]);
  }
}

const short = [
  selectStream("s-3"),
  selectStream("s-2"),
  selectQuery({ tags: ["k:3"] }),
  selectQuery({ types: ["Rare-1"] }),
  selectQuery({ tags: ["pair:1", "k:1"], types: ["Common", "Rare-0"] }),
  selectQuery({ tags: ["k:5"], streams: ["s-2", "s-5"] }),
  selectQuery({ types: ["Rare-0"] }, { tags: ["k:5"], streamPrefixes: ["s-"] }),
  selectStream("never"),
  selectQuery({ tags: ["never"] }),
];
const others = [
  selectStream("s-8"),
  selectStream("large"),
  selectQuery({ tags: ["large"] }),
  selectQuery({ tags: ["pair:0"] }),
  selectQuery({ tagsAny: ["k:1", "k:2"] }),
  selectQuery({ types: ["Other"], tags: ["k:1"] }, { tags: ["k:1"] }),
];

const both = async (parts: Partial<StorageRead>) => {
  const request = readRequest(store.short, parts);
  const expected = await readBytes(store.long, request);
  trips = 0;
  return { found: await readBytes(store.short, request), expected };
};

describe("a short read", () => {
  test.each(short.map((selection) => [JSON.stringify(selection), selection] as const))(
    "makes no trip: %s",
    async (name, selection) => {
      const { found, expected } = await both({ selection });
      expect(found).toEqual(expected);
      expect(found.length > 0).toBe(!name.includes("never"));
      // The names that were never there are not in memory.
      if (!name.includes("never")) expect(trips).toBe(0);
    },
  );

  test("goes the longer way from any look-up on", async () => {
    for (const selection of [...short, ...others]) {
      for (let n = 0; n < 40; n += 3) {
        quick = n;
        const { found, expected } = await both({ selection });
        expect(found, `${JSON.stringify(selection)} after ${n}`).toEqual(expected);
      }
    }
  });

  test("finds what the longer way finds, in any part", async () => {
    const head = store.short.head().position;
    const bound = fc.oneof(fc.nat({ max: 260 }), fc.constantFrom(1, head));
    const range = fc.record({ first: bound, last: bound });
    const parts = fc.record(
      {
        selection: fc.constantFrom(...short, ...others),
        positions: range,
        versions: range,
        batchBytes: fc.constantFrom(1, 500, 4_000, 1_000_000),
        batchEvents: fc.integer({ min: 1, max: 30 }),
        asOf: fc.constant(head),
      },
      { requiredKeys: ["selection"] },
    );
    await fc.assert(
      fc.asyncProperty(parts, fc.constantFrom(0, 3, 9, Infinity), async (given, looks) => {
        quick = looks;
        const { versions, ...rest } = given;
        const isOfStream = rest.selection.kind === "stream" && versions !== undefined;
        const { found, expected } = await both({ ...rest, ...(isOfStream && { versions }) });
        expect(found).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });
});

test("a short read is of the head at which it began", async () => {
  const request = readRequest(store.short, { selection: selectStream("s-3") });
  const expected = await readBytes(store.long, request);
  await commitEvents(store.short, [newEvent({ stream: "s-3" })]);
  expect(await readBytes(store.short, request)).toEqual(expected);
  const later = await readBytes(store.short, readRequest(store.short, request));
  expect(later.length).toBe(expected.length);
  const all = readRequest(store.short, { selection: selectStream("s-3") });
  expect((await readBytes(store.short, all)).length).toBeGreaterThan(expected.length);
});

test("events of any size are looked up, but no megabytes of them at once", async () => {
  const sizes = { huge: 200_000, tiny: 2_000 };
  for (const [tag, size] of Object.entries(sizes)) {
    for (let i = 0; i < 20; i++) {
      const event = { type: "T", tags: [tag], data: Buffer.alloc(size) };
      await commitEvents(store.short, [newEvent(event)]);
    }
  }
  for (let i = 0; i < 9; i++) {
    const filler = { type: "Other", data: Buffer.alloc(1024 * 1024) };
    await commitEvents(store.short, [newEvent(filler)]);
  }
  for (const tag of Object.keys(sizes)) {
    const selection = selectQuery({ tags: [tag], types: ["U", "V"] });
    bytes = 0;
    const { found, expected } = await both({ selection });
    expect(found).toEqual(expected);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(1_000_000);
  }
});
