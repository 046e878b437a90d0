// Short reads along the index: what they ask the database for, in lists of either format, and that
// what leads them is never trusted.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { scanPlacement } from "../../../../src/domain/record.ts";
import { prefixChunk, prefixPosting } from "../../../../src/storage/leveldb/format/keys.ts";
import {
  composePosting,
  framesIn,
  openPosting,
} from "../../../../src/storage/leveldb/format/posting.ts";
import type { Entry, Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStoreOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { queryOf, selectQuery, selectStream } from "../../contract/checks.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";
import { setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";

const streamCount = 7;
const commitCount = 10;

let kv: Kv;
let asked: { chunks: number; postings: number; walks: number };
let storage: Storage;

function counted(inner: Kv): Kv {
  return {
    ...inner,
    close: async () => {},
    getMany: (keys) => {
      asked.chunks += keys.filter(([prefix]) => prefix === prefixChunk).length;
      asked.postings += keys.filter(([prefix]) => prefix === prefixPosting).length;
      return inner.getMany(keys);
    },
    getNow: (key) => {
      if (key[0] === prefixChunk) asked.chunks++;
      if (key[0] === prefixPosting) asked.postings++;
      return inner.getNow?.(key);
    },
    page: (range) => {
      asked.walks++;
      return inner.page(range);
    },
  };
}

async function open() {
  const opened = await openStoreOver({
    openKv: async () => kv,
    reclaim: whenAsked,
    hotBytesMax: 0,
  });
  storage = opened.storage;
  return opened.reclaimer;
}

/** Chunks of some kilobytes: in each commit an event of every stream and some others. */
async function fill(data = "x".repeat(400)): Promise<void> {
  for (let i = 0; i < commitCount; i++) {
    const events = newEvents(12, (n) => ({
      stream: n < streamCount ? `s-${n}` : "",
      tags: n < streamCount ? [`of:${n}`] : ["loose"],
      type: n === 3 ? "Rare" : "Common",
      data,
    }));
    await commitEvents(storage, events);
  }
  // Enough besides, so that nothing is in memory and the index is worth following.
  for (let i = 0; i < 5; i++) {
    await commitEvents(
      storage,
      newEvents(1_000, () => ({ type: "Other", data: "y".repeat(3_000) })),
    );
  }
}

beforeEach(async () => {
  kv = counted(openMemoryKv());
  asked = { chunks: 0, postings: 0, walks: 0 };
  await open();
});
afterEach(() => storage.close());

async function positionsOf(read: Partial<StorageRead>): Promise<number[]> {
  asked = { chunks: 0, postings: 0, walks: 0 };
  return (await recordsOf(storage, read)).map((each) => scanPlacement(each).position);
}

const expected = (n: number): number[] =>
  Array.from({ length: commitCount }, (_, i) => i * 12 + n + 1);

const selections = [
  selectStream("s-3"),
  selectQuery({ tags: ["of:3"] }),
  selectQuery({ types: ["Rare"] }),
];

describe("a term whose end is known in memory", () => {
  test.each(["forwards", "backwards"] as const)("is read %s by keys alone", async (direction) => {
    await fill();
    const positions = direction === "forwards" ? expected(3) : expected(3).toReversed();
    for (const selection of selections) {
      expect(await positionsOf({ selection, direction })).toEqual(positions);
      const beside = selection.kind === "stream" ? 0 : commitCount;
      expect(asked).toEqual({ chunks: 0, postings: commitCount + beside, walks: 0 });
    }
  });

  test("is read from a version and up to one", async () => {
    await fill();
    const selection = selectStream("s-3");
    const read = (first: number, last: number) =>
      positionsOf({ selection, versions: { first, last } });
    expect(await read(9, 20)).toEqual(expected(3).slice(8));
    expect(asked.walks).toBe(0);
    expect(await read(2, 4)).toEqual(expected(3).slice(1, 4));
    expect(await read(11, 20)).toEqual([]);
  });

  test("costs a condition one look", async () => {
    await fill();
    const conditions = [{ query: queryOf({ tags: ["of:3"] }), after: 50, mayBeAhead: false }];
    asked = { chunks: 0, postings: 0, walks: 0 };
    const { matches } = await storage.facts({ streams: [], ids: [], conditions });
    expect(matches).toEqual([expected(3).at(-1)]);
    expect(asked.walks).toBe(0);
  });

  test("is walked through where it is long", async () => {
    for (let i = 0; i < 150; i++) {
      await commitEvents(
        storage,
        newEvents(2, (n) => ({ stream: `long-${n}`, tags: [`l:${n}`] })),
      );
    }
    const all = Array.from({ length: 150 }, (_, i) => i * 2 + 1);
    for (const selection of [selectStream("long-0"), selectQuery({ tags: ["l:0"] })]) {
      expect(await positionsOf({ selection })).toEqual(all);
      expect(await positionsOf({ selection, direction: "backwards" })).toEqual(all.toReversed());
    }
    const selection = selectStream("long-0");
    expect(await positionsOf({ selection, versions: { first: 148, last: 150 } })).toEqual(
      all.slice(147),
    );
    expect(asked.walks).toBe(0);
  });
});

describe("hits whose records are not beside their streams", () => {
  test("are read from their chunks: events without a stream, long ones, removed ones", async () => {
    await fill();
    const loose = await positionsOf({ selection: selectQuery({ tags: ["loose"] }) });
    expect(loose).toHaveLength(commitCount * 5);
    await storage.close();
    const reclaimer = await open();
    await setPolicy(storage, "s-3", { truncateBefore: 6 });
    await reclaimAll(reclaimer);
    for (const selection of selections) {
      expect(await positionsOf({ selection })).toEqual(expected(3).slice(5));
    }
    expect((await positionsOf({ selection: selectQuery({ tags: ["of:4"] }) })).length).toBe(10);
    expect(await findings()).toEqual([]);
  });

  test("several tags of one event are one hit", async () => {
    await commitEvents(
      storage,
      newEvents(20, (n) => ({
        stream: `t-${n}`,
        tags: [`a:${n % 9}`, `b:${n}`],
        data: "z".repeat(300),
      })),
    );
    await fill();
    const query = {
      items: [...queryOf({ tags: ["a:1"] }).items, ...queryOf({ tags: ["b:1"] }).items],
    };
    expect(await positionsOf({ selection: { kind: "query", query } })).toEqual([2, 11, 20]);
  });
});

async function postings(): Promise<Entry[]> {
  const range = { first: Buffer.of(prefixPosting), last: Buffer.of(prefixPosting + 1) };
  return kv.page({ ...range, limit: 100_000, bytesMax: 1e9 });
}

/** Writes all postings anew, with other parts. */
async function rewrite(
  parts: (
    posting: ReturnType<typeof openPosting>,
    i: number,
  ) => { previous?: number; streams?: readonly number[] },
): Promise<void> {
  const entries = await postings();
  await kv.write(
    entries.map(([key, value], i) => {
      const posting = openPosting(key, value);
      const { before, ordinals, removedRecords, records, chunkFirst, chunkLast } = posting;
      const given = { before, ordinals, removedRecords, ...parts(posting, i) };
      const chunk = { first: chunkFirst, count: chunkLast - chunkFirst + 1 };
      return [key, composePosting(key, chunk, given, framesIn(records))];
    }),
  );
}

async function findings(): Promise<string[]> {
  const found: string[] = [];
  const { position: head } = storage.head();
  await verifyStore(kv, { head, found: (finding) => void found.push(finding) });
  return found;
}

describe("postings of format version 1", () => {
  test.each<[string, (i: number) => boolean]>([
    ["all", () => true],
    ["the older ones", (i) => i % 10 < 6],
    ["some", (i) => i % 3 === 0],
  ])("are read as ever: %s", async (_, isOld) => {
    await fill();
    await rewrite((posting, i) => (isOld(i) ? {} : posting));
    expect(await findings()).toEqual([]);
    for (const selection of selections) {
      expect(await positionsOf({ selection })).toEqual(expected(3));
      const backwards = await positionsOf({ selection, direction: "backwards" });
      expect(backwards).toEqual(expected(3).toReversed());
      const some = { selection, positions: { first: 20, last: 90 } };
      const within = expected(3).filter((each) => each >= 20 && each <= 90);
      expect(await positionsOf(some)).toEqual(within);
    }
    const versions = { first: 4, last: 5 };
    expect(await positionsOf({ selection: selectStream("s-3"), versions })).toEqual(
      expected(3).slice(3, 5),
    );
  });
});

describe("a posting that leads elsewhere", () => {
  test("to another place is found out by the check, and by a read", async () => {
    await fill();
    await rewrite((posting) => {
      const { previous, chunkFirst } = posting;
      return previous > 12 && chunkFirst < 100 ? { ...posting, previous: previous - 12 } : posting;
    });
    expect(await findings()).toContainEqual(expect.stringContaining("leads to"));
    const selection = selectStream("s-3");
    await expect(positionsOf({ selection })).rejects.toMatchObject({ reason: "CORRUPTION" });
  });

  test("to another stream is found out by the check, and a read takes the chunk", async () => {
    await fill();
    const all = (await postings()).map((entry) => openPosting(...entry));
    const other = all.find(({ streams }) => streams.length > 0)?.streams[0] ?? 0;
    await rewrite((posting) =>
      posting.streams.length > 0
        ? { ...posting, streams: posting.streams.map(() => other) }
        : posting,
    );
    expect(await findings()).toContainEqual(expect.stringContaining("names wrong streams"));
    const selection = selectQuery({ tags: ["of:3"] });
    expect(await positionsOf({ selection })).toEqual(expected(3));
  });
});
