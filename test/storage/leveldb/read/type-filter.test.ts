// Walks through the log for types that many events have: what is passed over by its bytes is what
// the query does not select.
import fc from "fast-check";
import { expect, test } from "vitest";
import { composeFrame, scanPlacement, scanRecord } from "../../../../src/domain/record.ts";
import { prefixPosting } from "../../../../src/storage/leveldb/format/keys.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { TypeFilter } from "../../../../src/storage/leveldb/read/type-filter.ts";
import { queryOf, selectQuery } from "../../contract/checks.ts";
import {
  arbitraryText,
  commitEvents,
  nastyNames,
  newEvent,
  newEvents,
  recordsOf,
} from "../../../support/events.ts";

const type = fc.oneof(fc.constantFrom(...nastyNames, "Posted-1", "Posted-2"), arbitraryText(200));

test("a record passes exactly where its type is one of the query's", () => {
  const event = fc.record({
    stream: fc.constantFrom("", "s-1"),
    type,
    tags: fc.array(fc.constantFrom("k:1", "Posted-1"), { maxLength: 2 }),
    metadata: fc.constantFrom({}, { type: "Posted-1" }),
    data: fc.constantFrom("", "Posted-1", "x".repeat(300)),
    idFromClient: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 1 }),
      fc.array(type, { maxLength: 3 }),
      (all, more) => {
        const types = [...more, (all[0] as (typeof all)[number]).type];
        const filter = TypeFilter.of(selectQuery({ types }));
        const frames = all.map((each) => composeFrame(newEvent(each).body, 1, 7, 1));
        const records = Buffer.concat(frames);
        let start = 0;
        for (const [i, frame] of frames.entries()) {
          const isWanted = types.includes((all[i] as (typeof all)[number]).type);
          expect(filter?.mayPass(records, start, start + frame.length)).toBe(isWanted);
          start += frame.length;
        }
      },
    ),
  );
});

test("a query that other events may match has no filter", () => {
  const both = queryOf({ types: ["a"] }, { tags: ["b"] });
  expect(TypeFilter.of({ kind: "query", query: both })).toBe(undefined);
  expect(TypeFilter.of({ kind: "query", query: { items: [] } })).toBe(undefined);
  expect(TypeFilter.of({ kind: "all" })).toBe(undefined);
  const many = Array.from({ length: 9 }, (_, i) => `t-${i}`);
  expect(TypeFilter.of(selectQuery({ types: many }))).toBe(undefined);
});

test("types that one event in ten has are read from the log, in both directions", async () => {
  let postings = 0;
  const storage = await openStorageOver({
    openKv: async () => {
      const kv = openMemoryKv();
      return {
        ...kv,
        page: (range) => {
          if (range.first[0] === prefixPosting) postings++;
          return kv.page(range);
        },
      };
    },
  });
  for (let i = 0; i < 30; i++) {
    await commitEvents(
      storage,
      newEvents(50, (n) => ({ stream: `s-${n % 7}`, type: `t-${n % 10}`, tags: [`k:${n % 5}`] })),
    );
  }
  const all = (await recordsOf(storage)).map(scanRecord);
  for (const direction of ["forwards", "backwards"] as const) {
    for (const item of [{ types: ["t-3"] }, { types: ["t-3", "t-4"], tags: ["k:3"] }]) {
      const wanted = all.filter(
        (each) =>
          item.types.includes(each.type) &&
          (item.tags ?? []).every((tag) => each.tags.includes(tag)),
      );
      const found = await recordsOf(storage, { selection: selectQuery(item), direction });
      const positions = wanted.map(({ position }) => position);
      expect(found.map((each) => scanPlacement(each).position)).toEqual(
        direction === "forwards" ? positions : positions.toReversed(),
      );
    }
  }
  expect(postings).toBe(0);
  await storage.close();
});
