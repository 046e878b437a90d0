// Records are selected by their bytes exactly where the domain selects the events that they are.
import fc from "fast-check";
import { expect, test } from "vitest";
import { composeFrame, scanRecord } from "../../../../src/domain/record.ts";
import { selects } from "../../../../src/domain/query.ts";
import { recordOf } from "../../../../src/storage/leveldb/format/chunk.ts";
import { RecordQuery } from "../../../../src/storage/leveldb/read/record-query.ts";
import { selectQuery } from "../../contract/checks.ts";
import { arbitraryEvent, arbitraryQueryItem, newEvent } from "../../../support/events.ts";

const nameless = { streams: [], streamPrefixes: [], tagsAny: [] };
const item = arbitraryQueryItem.map((each) => ({ ...each, ...nameless }));
const items = fc.array(item, { minLength: 1, maxLength: 4 });

test("a record is selected exactly where the query selects its event", () => {
  let count = 0;
  fc.assert(
    fc.property(arbitraryEvent, items, fc.integer({ min: 1 }), (event, asked, position) => {
      const selection = selectQuery(...asked);
      const query = RecordQuery.of(selection);
      const frame = composeFrame(event.body, 3, position, 1_000_001);
      const isSelected = selects(selection, scanRecord(recordOf(frame)));
      if (isSelected) count++;
      expect(query?.selects(frame)).toBe(isSelected);
      expect(query?.position).toBe(position);
    }),
    { numRuns: 2_000 },
  );
  expect(count).toBeGreaterThan(100);
});

test("what one record has is forgotten before the next", () => {
  const query = RecordQuery.of(selectQuery({ tags: ["a", "b"] }));
  const frames = [["a"], ["b"], ["b", "a"], ["a", "c"]].map((tags) =>
    composeFrame(newEvent({ tags }).body, 1, 7, 1),
  );
  expect(frames.map((frame) => query?.selects(frame))).toEqual([false, false, true, false]);
});

test("other selections are left to the domain", () => {
  const many = Array.from({ length: 17 }, (_, i) => `t-${i}`);
  const others = [
    selectQuery(),
    selectQuery({ tags: ["a"] }, { streams: ["s"] }),
    selectQuery({ streamPrefixes: ["s"] }),
    selectQuery({ tagsAny: ["a"] }),
    selectQuery({ types: many }),
    { kind: "all" } as const,
    { kind: "stream", stream: "s" } as const,
  ];
  for (const selection of others) expect(RecordQuery.of(selection)).toBe(undefined);
});

test("bytes that are cut off are refused", () => {
  const query = RecordQuery.of(selectQuery({ tags: ["a"] }));
  const frame = composeFrame(newEvent({ tags: ["a"] }).body, 1, 7, 1);
  expect(() => query?.selects(frame.subarray(0, frame.length - 1))).toThrow(RangeError);
});
