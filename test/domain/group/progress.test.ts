// A group's progress as bytes: what is written is read back, deltas join their base, and the bytes
// of format version 1 stay what they are.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeDelta,
  decodeProgress,
  encodeDelta,
  encodeProgress,
  loadProgress,
} from "../../../src/domain/group/progress-codec.ts";
import {
  advanceProgress,
  progressFrom,
  settledBefore,
  type Front,
  type Progress,
  type ProgressDelta,
  type Retry,
} from "../../../src/domain/group/progress.ts";
import type { GroupOrdering } from "../../../src/domain/group/settings.ts";
import { arbitraryQuery } from "../../support/events.ts";

const position = fc.oneof(fc.nat({ max: 500 }), fc.maxSafeNat());
const retry: fc.Arbitrary<Retry> = fc
  .record({ attempts: fc.nat({ max: 1_000 }), retryAtMs: fc.maxSafeNat() })
  .map(({ attempts, retryAtMs }) => ({ attempts, retryAtMs: attempts === 0 ? 0 : retryAtMs }));
const front: fc.Arbitrary<Front> = fc
  .tuple(position, retry)
  .map(([where, one]) => ({ position: where, ...one }));
const key = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("", "a-1", "漢字", "\u0000"));
const retries = fc.array(fc.tuple(position, retry)).map((all) => new Map(all));
const ordering: fc.Arbitrary<GroupOrdering> = fc.oneof(
  fc.constantFrom<GroupOrdering>({ kind: "stream" }, { kind: "category" }, { kind: "none" }),
  key.map((prefix) => ({ kind: "tag" as const, prefix })),
);
const arbitraryFronts = fc.array(fc.tuple(key, front)).map((all) => {
  return new Map([...new Map(all)].toSorted(([, a], [, b]) => a.position - b.position));
});

const progress: fc.Arbitrary<Progress> = fc.record({
  sequence: fc.maxSafeNat(),
  through: position,
  fromTime: fc.maxSafeNat(),
  unsettledCount: position,
  fronts: arbitraryFronts,
  replays: retries,
  ahead: fc.array(position).map((all) => new Set(all)),
  carried: retries,
  eras: fc.array(
    fc.record({
      query: arbitraryQuery,
      ordering,
      through: position,
      fronts: fc.array(fc.tuple(key, position)).map((all) => new Map(all)),
    }),
    { maxLength: 3 },
  ),
});

const delta: fc.Arbitrary<ProgressDelta> = position.chain((through) => {
  const passed = front.map((one) => ({ ...one, position: Math.min(one.position, through) }));
  return fc.record({
    sequence: fc.maxSafeNat(),
    through: fc.constant(through),
    unsettledCount: position,
    dropped: fc.uniqueArray(position),
    moved: fc.uniqueArray(fc.record({ number: position, front: passed }), {
      selector: ({ number }) => number,
    }),
    added: fc
      .array(fc.record({ key, front: passed }))
      .map((all) => all.toSorted((a, b) => a.front.position - b.front.position)),
    replays: fc.uniqueArray(fc.record({ position, retry: fc.option(retry, { nil: undefined }) }), {
      selector: (one) => one.position,
    }),
  });
});

/** Ascending, as it is read back. */
function sorted<T>(list: readonly T[], by: (one: T) => number): T[] {
  return list.toSorted((a, b) => by(a) - by(b));
}

describe("what is written is read back", () => {
  test("a whole progress", () => {
    fc.assert(
      fc.property(progress, (one) => {
        const read = decodeProgress(encodeProgress(one));
        expect(read).toEqual(one);
        expect([...read.fronts.keys()]).toEqual([...one.fronts.keys()]);
      }),
      { numRuns: 300 },
    );
  });

  test("a delta", () => {
    fc.assert(
      fc.property(delta, (one) => {
        expect(decodeDelta(encodeDelta(one))).toEqual({
          ...one,
          dropped: sorted(one.dropped, (number) => number),
          moved: sorted(one.moved, ({ number }) => number),
          replays: sorted(one.replays, (replay) => replay.position),
        });
      }),
      { numRuns: 300 },
    );
  });

  test("bytes that are cut off, or too long, or something else are refused", () => {
    const base = encodeProgress({ ...progressFrom(7), fronts: new Map([["a", at(3)]]) });
    for (let end = 0; end < base.length; end++) {
      expect(() => decodeProgress(base.subarray(0, end))).toThrow(RangeError);
    }
    expect(() => decodeProgress(Buffer.concat([base, Buffer.from([0])]))).toThrow(RangeError);
    expect(() => decodeDelta(base)).toThrow(RangeError);
    expect(() => decodeProgress(encodeDelta(emptyDelta(1)))).toThrow(RangeError);
  });
});

function at(where: number, attempts = 0): Front {
  return { position: where, attempts, retryAtMs: 0 };
}

function emptyDelta(sequence: number): ProgressDelta {
  const nothing = { dropped: [], moved: [], added: [], replays: [] };
  return { sequence, through: 9, unsettledCount: 1, ...nothing };
}

describe("deltas", () => {
  const base: Progress = {
    ...progressFrom(5),
    sequence: 4,
    fronts: new Map([
      ["a", at(2)],
      ["b", at(2)],
      ["c", at(5)],
    ]),
  };

  test("drop, move and add fronts by number, in order", () => {
    const first = { ...emptyDelta(5), dropped: [1], moved: [{ number: 2, front: at(4, 2) }] };
    const second = { ...emptyDelta(6), added: [{ key: "a", front: at(8) }] };
    const third = { ...emptyDelta(7), moved: [{ number: 4, front: at(9) }], dropped: [3] };
    const { fronts, through, sequence } = advanceProgress(base, [first, second, third]);
    expect([...fronts]).toEqual([
      ["b", at(4, 2)],
      ["a", at(9)],
    ]);
    expect([through, sequence]).toEqual([9, 7]);
  });

  test("older than their base are passed over; one that is missing is noticed", () => {
    const bytes = encodeProgress(base);
    const deltas = [3, 4, 5].map((sequence) => encodeDelta(emptyDelta(sequence)));
    const loaded = loadProgress(bytes, deltas);
    expect(loaded.progress.sequence).toBe(5);
    expect(loaded.baseSequence).toBe(4);
    expect(() => loadProgress(bytes, [encodeDelta(emptyDelta(6))])).toThrow("missing");
    expect(() => advanceProgress(base, [{ ...emptyDelta(5), dropped: [9] }])).toThrow("no front");
  });
});

describe("an era", () => {
  const item = { streams: [], streamPrefixes: [], types: [], tags: [] };
  const era = {
    query: { items: [{ ...item, types: ["T"] }] },
    ordering: { kind: "stream" },
    through: 10,
    fronts: new Map([["a", 5]]),
  } as const;
  const event = (stream: string, where: number, type = "T") => {
    return { id: "", stream, type, tags: [], position: where };
  };

  test.each([
    [event("a", 4), true],
    [event("a", 5), false],
    [event("a", 9), false],
    [event("b", 9), true],
    [event("b", 11), false],
    [event("b", 9, "U"), false],
  ])("of %o says %s", (one, settled) => {
    expect(settledBefore([era], one)).toBe(settled);
  });
});

test("the bytes of format version 1 are these", () => {
  const whole: Progress = {
    sequence: 3,
    through: 300,
    fromTime: 0,
    unsettledCount: 2,
    fronts: new Map([
      ["a", at(200)],
      ["é", { position: 290, attempts: 2, retryAtMs: 1_000 }],
    ]),
    replays: new Map([[7, { attempts: 1, retryAtMs: 5 }]]),
    ahead: new Set([301]),
    carried: new Map([[302, { attempts: 1, retryAtMs: 6 }]]),
    eras: [
      {
        query: { items: [{ streams: ["s"], streamPrefixes: [], types: [], tags: [] }] },
        ordering: { kind: "tag", prefix: "k:" },
        through: 400,
        fronts: new Map([["x", 350]]),
      },
    ],
  };
  expect(Buffer.from(encodeProgress(whole)).toString("hex")).toBe(
    [
      "0103ac02000202c8010001615a02e80702c3a9",
      "01070105",
      "01ad02",
      "01ae020106",
      "01050a030a017303026b3a900301de020178",
    ].join(""),
  );
  const change: ProgressDelta = {
    sequence: 4,
    through: 310,
    unsettledCount: 1,
    dropped: [1],
    moved: [{ number: 2, front: at(305) }],
    added: [{ key: "b", front: at(306, 1) }],
    replays: [
      { position: 7, retry: undefined },
      { position: 9, retry: { attempts: 0, retryAtMs: 0 } },
    ],
  };
  expect(Buffer.from(encodeDelta(change)).toString("hex")).toBe(
    ["0204b602010101", "01020500", "01b20201000162", "020700020100"].join(""),
  );
});
