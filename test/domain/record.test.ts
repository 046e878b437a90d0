// The record codec composed and scanned by hand, against the generated codec.
import { create, equals, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  composeFrame,
  decodeRecord,
  recordsIn,
  sameContent,
  scanPlacement,
  scanRecord,
  scanRecordedAt,
  storedEvent,
} from "../../src/domain/record.ts";
import { EventBatchSchema, RecordedEventSchema } from "../../src/gen/annals/v1/event_pb.js";
import { attempt } from "../support/attempt.ts";
import { arbitraryText } from "../support/events.ts";

interface Fields {
  id: string;
  stream: string;
  type: string;
  tags: string[];
  metadata: Record<string, string>;
  contentType: string;
  data: Uint8Array;
}

interface Place {
  version: number;
  position: number;
  recordedAt: number;
}

const anyText = fc.oneof(
  arbitraryText(10, 0),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ unit: "binary", minLength: 60, maxLength: 140 }),
  fc.constantFrom("\u0000", "\ufeffa", "a\ufeff", "é".repeat(40), "x".repeat(64), "x".repeat(65)),
);
const keys = fc.oneof(anyText, fc.constantFrom("__proto__", "constructor", "length", "1"));

/** `noNullPrototype` is not enough: fast-check must not set `__proto__` by assignment either. */
const metadata = fc
  .uniqueArray(fc.tuple(keys, anyText), { maxLength: 5, selector: ([key]) => key })
  .map((entries) => Object.fromEntries(entries));

const fields: fc.Arbitrary<Fields> = fc.record({
  id: fc.oneof(fc.uuid(), anyText),
  stream: anyText,
  type: anyText,
  tags: fc.array(anyText, { maxLength: 5 }),
  metadata,
  contentType: anyText,
  data: fc.oneof(
    { weight: 30, arbitrary: fc.uint8Array({ maxLength: 300 }) },
    { weight: 1, arbitrary: fc.nat({ max: 70_000 }).map((length) => new Uint8Array(length)) },
  ),
});

const largest = Number.MAX_SAFE_INTEGER;
const upTo = (min: number) =>
  fc.oneof(fc.integer({ min, max: 300 }), fc.integer({ min, max: largest }), fc.constant(largest));
const place: fc.Arbitrary<Place> = fc.record({
  version: upTo(0),
  position: upTo(1),
  recordedAt: fc.oneof(
    upTo(0),
    fc.integer({ min: 0, max: 9_000_000 }).map((seconds) => seconds * 1_000_000),
  ),
});

function bodyOf(init: MessageInitShape<typeof RecordedEventSchema>): Uint8Array {
  return toBinary(RecordedEventSchema, create(RecordedEventSchema, init));
}

function timestamp(micros: number): { seconds: bigint; nanos: number } {
  return {
    seconds: BigInt(micros) / 1_000_000n,
    nanos: Number(BigInt(micros) % 1_000_000n) * 1_000,
  };
}

function wholeEvent(words: Fields, { version, position, recordedAt }: Place) {
  const numbers = { version: BigInt(version), position: BigInt(position) };
  const recorded = { ...words, ...numbers, recordedAt: timestamp(recordedAt) };
  return create(RecordedEventSchema, recorded);
}

function recordOf(body: Uint8Array, at: Place): Uint8Array {
  const [record, ...more] = recordsIn(composeFrame(body, at.version, at.position, at.recordedAt));
  expect(more).toEqual([]);
  return record ?? expect.fail("no record");
}

/** A body's fields one by one, so that a client that writes them in another order can be played. */
function parts(words: Fields): Uint8Array[] {
  const empty = { ...words, tags: [], metadata: {}, id: "", stream: "", type: "" };
  const rest = { ...empty, contentType: "", data: new Uint8Array() };
  return [
    bodyOf({ ...rest, id: words.id }),
    bodyOf({ ...rest, stream: words.stream }),
    bodyOf({ ...rest, type: words.type }),
    bodyOf({ ...rest, tags: words.tags }),
    ...Object.entries(words.metadata).map((entry) =>
      bodyOf({ ...rest, metadata: Object.fromEntries([entry]) }),
    ),
    bodyOf({ ...rest, contentType: words.contentType }),
    bodyOf({ ...rest, data: words.data }),
  ];
}

describe("a composed frame", () => {
  test("is byte for byte what the generated codec makes of the whole event", () => {
    // Within the first second of 1970 the two differ in a zero that one of them leaves out.
    const clocked = place.filter(({ recordedAt }) => recordedAt >= 1_000_000);
    const property = fc.property(fields, clocked, (words, at) => {
      const batch = create(EventBatchSchema, { events: [wholeEvent(words, at)] });
      const frame = composeFrame(bodyOf({ ...words }), at.version, at.position, at.recordedAt);
      expect(Buffer.compare(frame, toBinary(EventBatchSchema, batch))).toBe(0);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("is read by the generated codec as the event it was made of", () => {
    const property = fc.property(fields, place, (words, at) => {
      const decoded = decodeRecord(recordOf(bodyOf({ ...words }), at));
      expect(equals(RecordedEventSchema, decoded, wholeEvent(words, at))).toBe(true);
    });
    fc.assert(property);
  });

  test("holds a microsecond apart and every size of number", () => {
    for (let bits = 0; bits < 54; bits++) {
      for (const value of [2 ** bits - 1, 2 ** bits, 2 ** bits + 1].filter(Number.isSafeInteger)) {
        const at = { version: value, position: Math.max(1, value), recordedAt: value };
        const record = recordOf(bodyOf({ type: "T" }), at);
        expect({ ...scanPlacement(record), recordedAt: scanRecordedAt(record) }).toEqual(at);
        expect(decodeRecord(record).recordedAt).toMatchObject(timestamp(value));
      }
    }
  });

  test("may follow others: a run of frames is a batch of the contract", () => {
    const lists = fc.array(fc.tuple(fields, place), { maxLength: 5 });
    const property = fc.property(lists, (list) => {
      const frames = list.map(([words, at]) =>
        composeFrame(bodyOf({ ...words }), at.version, at.position, at.recordedAt),
      );
      const run = Buffer.concat(frames);
      const expected = list.map(([words, at]) => wholeEvent(words, at));
      for (const events of [
        fromBinary(EventBatchSchema, run).events,
        [...recordsIn(run)].map(decodeRecord),
      ]) {
        const [found, made] = [{ events }, { events: expected }].map((batch) =>
          toBinary(EventBatchSchema, create(EventBatchSchema, batch)),
        );
        expect(Buffer.compare(found ?? run, made ?? new Uint8Array())).toBe(0);
      }
    });
    fc.assert(property);
  });
});

describe("a scanned record", () => {
  test("gives the words and the place the generated codec gives", () => {
    const property = fc.property(fields, place, (words, at) => {
      const record = toBinary(RecordedEventSchema, wholeEvent(words, at));
      const { id, stream, type, tags } = words;
      const { version, position, recordedAt } = at;
      const placed = { id, stream, type, tags, version, position };
      expect(scanRecord(record)).toEqual(placed);
      expect(scanPlacement(record)).toEqual({ version, position });
      expect(scanRecordedAt(record)).toBe(recordedAt);
      expect(storedEvent(record)).toEqual({ ...placed, recordedAt, record });
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("may have its client's fields in any order, and fields of later versions", () => {
    const shuffled = fields.chain((words) => {
      const list = parts(words);
      const later = new BinaryWriter().tag(99, 2).string("later").tag(98, 0).uint32(7).finish();
      const all = [...list, later];
      return fc.tuple(fc.constant(words), fc.shuffledSubarray(all, { minLength: all.length }));
    });
    const property = fc.property(shuffled, place, ([words, order], at) => {
      const record = recordOf(Buffer.concat(order), at);
      const { id, stream, type, version, position } = decodeRecord(record);
      const numbers = { version: Number(version), position: Number(position) };
      expect(scanRecord(record)).toEqual({ id, stream, type, tags: words.tags, ...numbers });
      expect(scanRecordedAt(record)).toBe(at.recordedAt);
      expect({ id, stream, type, ...numbers }).toMatchObject({
        id: words.id,
        version: at.version,
        position: at.position,
      });
    });
    fc.assert(property);
  });

  test("that is damaged is refused or read as the generated codec reads it, and ends", () => {
    const damage = fc.record({
      cut: fc.option(fc.nat({ max: 400 }), { nil: undefined }),
      flips: fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 })), { maxLength: 3 }),
    });
    let compared = 0;
    const property = fc.property(fields, place, damage, (words, at, { cut, flips }) => {
      const record = Buffer.from(recordOf(bodyOf({ ...words }), at)).subarray(0, cut);
      for (const [index, byte] of flips) if (index < record.length) record[index] = byte;
      const scanned = attempt(() => scanRecord(record));
      attempt(() => scanPlacement(record));
      attempt(() => scanRecordedAt(record));
      const decoded = attempt(() => decodeRecord(record));
      // The codec takes wrong wire types, too, and reads on behind the end of a map's entry.
      if (scanned === undefined || decoded === undefined) return;
      if (!record.equals(toBinary(RecordedEventSchema, decoded))) return;
      compared++;
      const { id, stream, type, tags, version, position } = decoded;
      const numbers = { version: Number(version), position: Number(position) };
      expect(scanned).toEqual({ id, stream, type, tags, ...numbers });
    });
    fc.assert(property, { numRuns: 2_000 });
    expect(compared).toBeGreaterThan(50);
  });

  test("of any bytes at all ends, in an answer or a thrown error", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      attempt(() => [...recordsIn(bytes)]);
      attempt(() => scanRecord(bytes));
      attempt(() => scanPlacement(bytes));
      attempt(() => scanRecordedAt(bytes));
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test("that is cut off anywhere but between fields is refused", () => {
    const at = { version: 300, position: 70_000, recordedAt: 1_753_000_000_123_456 };
    const words = { id: "1", stream: "é-1", type: "T", tags: ["a", "b"], contentType: "a/b" };
    const body = bodyOf({ ...words, data: new Uint8Array(9) });
    const record = recordOf(body, at);
    const boundaries = new Set([0, body.length, record.length]);
    for (const piece of prefixesOf(words)) boundaries.add(piece);
    boundaries.add(body.length + 3);
    boundaries.add(body.length + 7);
    const refused = Array.from({ length: record.length + 1 }, (_, cut) => cut).filter(
      (cut) => attempt(() => scanRecord(record.subarray(0, cut))) === undefined,
    );
    for (const cut of refused) expect(boundaries).not.toContain(cut);
    expect(refused.length).toBe(record.length + 1 - boundaries.size);
  });

  test("with text that is no UTF-8 is refused, short or long", () => {
    for (const padding of [0, 10, 80]) {
      for (const bad of [
        [0xff],
        [0xc3],
        [0xed, 0xa0, 0x80],
        [0xf4, 0x90, 0x80, 0x80],
        [0xc0, 0x80],
      ]) {
        const text = Buffer.concat([Buffer.alloc(padding, "x"), Buffer.from(bad)]);
        for (const field of [1, 2, 3, 4]) {
          const record = new BinaryWriter().tag(field, 2).bytes(text).finish();
          expect(() => scanRecord(record)).toThrow(TypeError);
        }
      }
    }
  });

  test("whose numbers are beyond 2^53 - 1 is refused", () => {
    for (const number of [9, 10]) {
      const record = new BinaryWriter()
        .tag(number, 0)
        .uint64(2n ** 53n)
        .finish();
      expect(() => scanRecord(record)).toThrow(RangeError);
      expect(() => scanPlacement(record)).toThrow(RangeError);
    }
  });

  test("in frames that are no frames is refused", () => {
    const frame = composeFrame(bodyOf({ type: "T" }), 1, 1, 1);
    expect(() => [...recordsIn(Buffer.concat([frame, Buffer.from([0x12, 0])]))]).toThrow(
      RangeError,
    );
    expect(() => [...recordsIn(frame.subarray(0, -1))]).toThrow(RangeError);
    expect(() => [...recordsIn(frame.subarray(1))]).toThrow(RangeError);
  });
});

describe("same content", () => {
  const at = { version: 3, position: 9, recordedAt: 5 };

  test("is what an event has with itself, however its client ordered the fields", () => {
    const orders = fields.chain((words) => {
      const list = parts(words);
      const order = fc.shuffledSubarray(list, { minLength: list.length });
      return fc.tuple(fc.constant(words), order, order);
    });
    const property = fc.property(orders, place, ([words, one, other], somewhere) => {
      const body = bodyOf({ ...words });
      expect(sameContent(body, recordOf(body, somewhere))).toBe(true);
      const [tags, sameTags] = [
        decodeRecord(Buffer.concat(one)),
        decodeRecord(Buffer.concat(other)),
      ];
      expect(tags.tags).toEqual(sameTags.tags);
      expect(sameContent(Buffer.concat(one), recordOf(Buffer.concat(other), somewhere))).toBe(true);
    });
    fc.assert(property);
  });

  test("is what two events have exactly where the generated codec decodes them alike", () => {
    const change = fc.record(
      {
        type: anyText,
        tags: fc.array(anyText, { maxLength: 2 }),
        metadata,
        contentType: anyText,
        data: fc.uint8Array({ maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    const property = fc.property(fields, change, place, (words, changed, somewhere) => {
      const [before, after] = [bodyOf({ ...words }), bodyOf({ ...words, ...changed })];
      const alike = JSON.stringify(contentOf(before)) === JSON.stringify(contentOf(after));
      expect(sameContent(after, recordOf(before, somewhere))).toBe(alike);
      expect(sameContent(before, recordOf(after, somewhere))).toBe(alike);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("is not what an event has with one that goes on where it ends", () => {
    const words = { id: "1", stream: "a", type: "T", tags: ["a"], contentType: "a/b" };
    const whole = [
      words,
      { ...words, data: Buffer.from("payload") },
      { ...words, tags: ["a", "b"] },
      { ...words, metadata: { k: "v" } },
      { ...words, metadata: { k: "v", l: "w" } },
    ].map(bodyOf);
    whole.forEach((body, i) => {
      whole.forEach((other, j) => expect(sameContent(body, recordOf(other, at))).toBe(i === j));
      whole.forEach((other, j) => {
        expect(sameContent(body, recordOf(other, { ...at, version: 0 }))).toBe(i === j);
      });
    });
  });

  test.each([
    ["type", { type: "U" }],
    ["content type", { contentType: "a/c" }],
    ["data", { data: Buffer.from("y") }],
    ["no data", { data: new Uint8Array() }],
    ["order of tags", { tags: ["b", "a"] }],
    ["number of tags", { tags: ["a"] }],
    ["metadata value", { metadata: { k: "w" } }],
    ["metadata key", { metadata: { l: "v" } }],
    ["metadata entries", { metadata: { k: "v", l: "" } }],
    ["no metadata", { metadata: {} }],
  ])("is not what an event of another %s has", (_, changed) => {
    const words = {
      id: "1",
      type: "T",
      tags: ["a", "b"],
      contentType: "a/b",
      metadata: { k: "v" },
    };
    const body = bodyOf({ ...words, data: Buffer.from("x") });
    const other = bodyOf({ ...words, data: Buffer.from("x"), ...changed });
    expect(sameContent(other, recordOf(body, at))).toBe(false);
    expect(sameContent(body, recordOf(other, at))).toBe(false);
  });
});

function contentOf(body: Uint8Array): unknown[] {
  const { type, tags, metadata: facts, contentType, data } = decodeRecord(body);
  const entries = Object.entries(facts).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [type, tags, entries, contentType, [...data]];
}

/** The ends of the client's fields of a body, in the order the generated codec writes them. */
function prefixesOf(words: { id: string; stream: string; type: string; tags: string[] }): number[] {
  const { id, stream, type, tags } = words;
  const ends = [{ id }, { id, stream }, { id, stream, type }].map((init) => bodyOf(init).length);
  for (let n = 1; n <= tags.length; n++) {
    ends.push(bodyOf({ ...words, contentType: "", tags: tags.slice(0, n) }).length);
  }
  ends.push(bodyOf({ ...words }).length);
  return ends;
}
