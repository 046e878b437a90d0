// What matches a query, against the contract's words (query.proto) restated the long way round.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  matches,
  possibleStreams,
  selectAll,
  selects,
  type Query,
  type QueryItem,
} from "../../src/domain/query.ts";
import type { EventHeader } from "../../src/domain/event.ts";
import { categoryOf, isSystemName } from "../../src/domain/event.ts";
import {
  arbitraryEvent,
  arbitraryName,
  arbitraryQuery,
  arbitraryQueryItem,
} from "../support/events.ts";

const anything: QueryItem = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };

function event(words: Partial<EventHeader>): EventHeader {
  return { id: "", stream: "", type: "T", tags: [], ...words };
}

/** Every way to satisfy the parts of an item is tried: a stream, a prefix and a type at a time. */
function naivelyMatches(query: Query, { stream, type, tags }: EventHeader): boolean {
  const system = type.startsWith("$");
  const alternatives = query.items.length === 0 ? [anything] : query.items;
  const ways = alternatives.flatMap((item) => {
    const streams = item.streams.length === 0 ? [undefined] : item.streams;
    const prefixes = item.streamPrefixes.length === 0 ? [undefined] : item.streamPrefixes;
    const types = item.types.length === 0 ? [undefined] : item.types;
    return streams.flatMap((oneStream) =>
      prefixes.flatMap((onePrefix) =>
        types.map((oneType) => ({ item, oneStream, onePrefix, oneType })),
      ),
    );
  });
  return ways.some(({ item, oneStream, onePrefix, oneType }) => {
    if (oneStream !== undefined && oneStream !== stream) return false;
    if (onePrefix !== undefined && stream.indexOf(onePrefix) !== 0) return false;
    if (oneType !== undefined && oneType !== type) return false;
    if (new Set([...item.tags, ...tags]).size !== new Set(tags).size) return false;
    const others = item.tagsAny.filter((tag) => !tags.includes(tag));
    if (item.tagsAny.length > 0 && others.length === item.tagsAny.length) return false;
    const named = oneType !== undefined || oneStream?.startsWith("$") === true;
    return !system || named;
  });
}

describe("a query", () => {
  test("matches exactly what its words say", () => {
    const property = fc.property(arbitraryQuery, arbitraryEvent, (query, one) => {
      expect(matches(query, one)).toBe(naivelyMatches(query, one));
      expect(selects({ kind: "query", query }, one)).toBe(naivelyMatches(query, one));
    });
    fc.assert(property, { numRuns: 5_000 });
  });

  test("matches an event by all of its own words", () => {
    const property = fc.property(arbitraryEvent, (one) => {
      const item = {
        streams: one.stream === "" ? [] : [one.stream],
        streamPrefixes: one.stream === "" ? [] : [one.stream],
        types: [one.type],
        tags: one.tags,
        tagsAny: one.tags,
      };
      expect(matches({ items: [item] }, one)).toBe(true);
      expect(matches({ items: [{ ...item, tags: [...one.tags, "other"] }] }, one)).toBe(false);
      expect(matches({ items: [{ ...item, types: [`${one.type}x`] }] }, one)).toBe(false);
      expect(matches({ items: [{ ...item, streams: [`${one.stream}x`] }] }, one)).toBe(false);
    });
    fc.assert(property);
  });

  test("with more items matches more, with more parts less", () => {
    const property = fc.property(
      arbitraryQuery,
      arbitraryQueryItem,
      arbitraryEvent,
      (query, item, one) => {
        const { items } = query;
        if (items.length > 0 && matches(query, one)) {
          expect(matches({ items: [...items, item] }, one)).toBe(true);
        }
        if (!isSystemName(one.type) && matches({ items: [item] }, one)) {
          expect(matches({ items: [{ ...item, tags: item.tags.slice(1) }] }, one)).toBe(true);
          expect(matches({ items: [{ ...item, types: [] }] }, one)).toBe(true);
        }
      },
    );
    fc.assert(property);
  });

  test.each([
    ["no items", [], true],
    ["an empty item", [{}], true],
    ["its stream among others", [{ streams: ["b", "a-1"] }], true],
    ["the beginning of its stream as a stream", [{ streams: ["a"] }], false],
    ["the beginning of its stream as a prefix", [{ streamPrefixes: ["a"] }], true],
    ["its whole stream as a prefix", [{ streamPrefixes: ["a-1"] }], true],
    ["more than its stream as a prefix", [{ streamPrefixes: ["a-10"] }], false],
    ["the beginning of its type", [{ types: ["Open"] }], false],
    ["some of its tags", [{ tags: ["y"] }], true],
    ["one of its tags among others", [{ tagsAny: ["z", "y"] }], true],
    ["tags of which it has none", [{ tagsAny: ["z", "w"] }], false],
    ["a tag it has, and others of which it has none", [{ tags: ["x"], tagsAny: ["z"] }], false],
    ["a tag it has not", [{ tags: ["x", "z"] }], false],
    ["an item that holds after one that does not", [{ types: ["No"] }, { tags: ["x"] }], true],
    ["parts that hold apart but not in one item", [{ types: ["No"], tags: ["x"] }], false],
  ] as [string, Partial<QueryItem>[], boolean][])("of %s", (_, parts, expected) => {
    const items = parts.map((part) => ({ ...anything, ...part }));
    const one = event({ stream: "a-1", type: "Opened", tags: ["x", "y"] });
    expect(matches({ items }, one)).toBe(expected);
  });
});

describe("system events", () => {
  const inStream = event({ stream: "a", type: "$deleted", tags: ["k"] });
  const inSystem = event({ stream: "$settings", type: "$set", tags: ["k"] });

  test.each([
    ["no items", [], false, false],
    ["an empty item", [{}], false, false],
    ["their tag", [{ tags: ["k"] }], false, false],
    ["an ordinary stream", [{ streams: ["a"] }], false, false],
    ["a system stream", [{ streams: ["$settings"] }], false, true],
    ["both streams", [{ streams: ["a", "$settings"] }], false, true],
    ["a prefix", [{ streamPrefixes: ["$", "a"] }], false, false],
    ["their types", [{ types: ["$deleted", "$set"] }], true, true],
    ["another type", [{ types: ["$other"], streams: ["$settings"] }], false, false],
  ] as [string, Partial<QueryItem>[], boolean, boolean][])(
    "match %s only where it names them",
    (_, parts, ordinary, system) => {
      const items = parts.map((part) => ({ ...anything, ...part }));
      expect(matches({ items }, inStream)).toBe(ordinary);
      expect(matches({ items }, inSystem)).toBe(system);
    },
  );

  test("are in no selection but that of a system stream", () => {
    expect(selects(selectAll, inStream)).toBe(false);
    expect(selects({ kind: "stream", stream: "a" }, inStream)).toBe(false);
    expect(selects({ kind: "stream", stream: "$settings" }, inSystem)).toBe(true);
  });

  test("do not hide what is ordinary in a system stream", () => {
    const ordinary = event({ stream: "$settings" });
    expect(selects(selectAll, ordinary)).toBe(true);
    expect(matches({ items: [{ ...anything, streamPrefixes: ["$"] }] }, ordinary)).toBe(true);
  });
});

describe("a selection", () => {
  test("of everything is every event that is not the system's", () => {
    const property = fc.property(arbitraryEvent, (one) => {
      expect(selects(selectAll, one)).toBe(!one.type.startsWith("$"));
    });
    fc.assert(property);
  });

  test("of a stream is its events by exact name", () => {
    const property = fc.property(arbitraryName, arbitraryEvent, (stream, one) => {
      const expected = one.stream === stream && !one.type.startsWith("$");
      expect(selects({ kind: "stream", stream }, one)).toBe(expected);
      const own = { ...one, type: "T" };
      expect(selects({ kind: "stream", stream: one.stream }, own)).toBe(true);
    });
    fc.assert(property);
  });
});

describe("narrowing", () => {
  test("an item's possible streams miss no event that matches", () => {
    const property = fc.property(arbitraryQueryItem, arbitraryEvent, (item, one) => {
      const possible = possibleStreams(item);
      expect(item.streams).toEqual(expect.arrayContaining([...possible]));
      if (item.streams.length > 0 && matches({ items: [item] }, one)) {
        expect(possible).toContain(one.stream);
      }
      if (item.streamPrefixes.length > 0) {
        const begun = (stream: string) => item.streamPrefixes.some((p) => stream.indexOf(p) === 0);
        expect(possible.every(begun)).toBe(true);
      }
    });
    fc.assert(property, { numRuns: 1_000 });
  });

  test("a category is the name up to the first dash, and begins its streams", () => {
    expect(["user-1", "user", "user-1-2", "-1", "-", "", "é-1", "😀-x"].map(categoryOf)).toEqual([
      "user",
      "user",
      "user",
      "",
      "",
      "",
      "é",
      "😀",
    ]);
    const property = fc.property(arbitraryName, (stream) => {
      const category = categoryOf(stream);
      expect(stream.startsWith(category)).toBe(true);
      expect(category).not.toContain("-");
      expect([category, `${category}-`].some((begin) => stream.startsWith(begin))).toBe(true);
    });
    fc.assert(property);
  });
});
