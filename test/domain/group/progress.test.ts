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
  type FirstUnsettled,
  type Progress,
  type ProgressDelta,
  type Retry,
} from "../../../src/domain/group/progress.ts";

const position = fc.oneof(fc.nat({ max: 500 }), fc.maxSafeNat());
const retry: fc.Arbitrary<Retry> = fc
  .record({ attempts: fc.nat({ max: 1_000 }), retryAtMs: fc.maxSafeNat() })
  .map(({ attempts, retryAtMs }) => ({ attempts, retryAtMs: attempts === 0 ? 0 : retryAtMs }));
const first: fc.Arbitrary<FirstUnsettled> = fc
  .tuple(position, retry)
  .map(([where, one]) => ({ position: where, ...one }));
const key = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("", "a-1", "漢字", "\u0000"));
const retries = fc.array(fc.tuple(position, retry)).map((all) => new Map(all));
const arbitraryFirsts = fc.array(fc.tuple(key, first)).map((all) => {
  return new Map([...new Map(all)].toSorted(([, a], [, b]) => a.position - b.position));
});

const progress: fc.Arbitrary<Progress> = fc.record({
  sequence: fc.maxSafeNat(),
  through: position,
  fromTime: fc.maxSafeNat(),
  unsettledCount: position,
  firsts: arbitraryFirsts,
  replays: retries,
});

const delta: fc.Arbitrary<ProgressDelta> = position.chain((through) => {
  const passed = first.map((one) => ({ ...one, position: Math.min(one.position, through) }));
  return fc.record({
    sequence: fc.maxSafeNat(),
    through: fc.constant(through),
    unsettledCount: position,
    dropped: fc.uniqueArray(position),
    moved: fc.uniqueArray(fc.record({ number: position, first: passed }), {
      selector: ({ number }) => number,
    }),
    added: fc
      .array(fc.record({ key, first: passed }))
      .map((all) => all.toSorted((a, b) => a.first.position - b.first.position)),
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
        expect([...read.firsts.keys()]).toEqual([...one.firsts.keys()]);
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
    const base = encodeProgress({ ...progressFrom(7), firsts: new Map([["a", at(3)]]) });
    for (let end = 0; end < base.length; end++) {
      expect(() => decodeProgress(base.subarray(0, end))).toThrow(RangeError);
    }
    expect(() => decodeProgress(Buffer.concat([base, Buffer.from([0])]))).toThrow(RangeError);
    expect(() => decodeDelta(base)).toThrow(RangeError);
    expect(() => decodeProgress(encodeDelta(emptyDelta(1)))).toThrow(RangeError);
  });
});

function at(where: number, attempts = 0): FirstUnsettled {
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
    firsts: new Map([
      ["a", at(2)],
      ["b", at(2)],
      ["c", at(5)],
    ]),
  };

  test("drop, move and add keys by number, in order", () => {
    const drop = { ...emptyDelta(5), dropped: [1], moved: [{ number: 2, first: at(4, 2) }] };
    const second = { ...emptyDelta(6), added: [{ key: "a", first: at(8) }] };
    const third = { ...emptyDelta(7), moved: [{ number: 4, first: at(9) }], dropped: [3] };
    const { firsts, through, sequence } = advanceProgress(base, [drop, second, third]);
    expect([...firsts]).toEqual([
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
    expect(() => advanceProgress(base, [{ ...emptyDelta(5), dropped: [9] }])).toThrow("no key");
  });
});

test("the bytes of format version 1 are these", () => {
  const whole: Progress = {
    sequence: 3,
    through: 300,
    fromTime: 0,
    unsettledCount: 2,
    firsts: new Map([
      ["a", at(200)],
      ["é", { position: 290, attempts: 2, retryAtMs: 1_000 }],
    ]),
    replays: new Map([[7, { attempts: 1, retryAtMs: 5 }]]),
  };
  expect(Buffer.from(encodeProgress(whole)).toString("hex")).toBe(
    ["0103ac02000202c8010001615a02e80702c3a9", "01070105", "000000"].join(""),
  );
  const change: ProgressDelta = {
    sequence: 4,
    through: 310,
    unsettledCount: 1,
    dropped: [1],
    moved: [{ number: 2, first: at(305) }],
    added: [{ key: "b", first: at(306, 1) }],
    replays: [
      { position: 7, retry: undefined },
      { position: 9, retry: { attempts: 0, retryAtMs: 0 } },
    ],
  };
  expect(Buffer.from(encodeDelta(change)).toString("hex")).toBe(
    ["0204b602010101", "01020500", "01b20201000162", "020700020100"].join(""),
  );
});

test("the bytes of a group whose query was changed under 0.1 are read, without the changes", () => {
  const bytes = Buffer.from(
    [
      "0103ac02000202c8010001615a02e80702c3a9",
      "01070105",
      // Settled beyond the position; failures, the first one of the key `a`; an earlier query.
      "01ad02",
      "02c801030666010d",
      "01050a030a017303026b3a900301de020178",
    ].join(""),
    "hex",
  );
  const { firsts, replays, through } = decodeProgress(bytes);
  expect([...firsts]).toEqual([
    ["a", { position: 200, attempts: 3, retryAtMs: 6 }],
    ["é", { position: 290, attempts: 2, retryAtMs: 1_000 }],
  ]);
  expect([through, replays.size]).toEqual([300, 1]);
});
