// Records of streams in memory: what is found is what the stream has, up to its newest event,
// whatever was overwritten, dropped or read from disk meanwhile.
import fc from "fast-check";
import { expect, test } from "vitest";
import { HotRecords, type StreamRun } from "../../../../src/storage/leveldb/state/hot-records.ts";

interface Kept {
  readonly position: number;
  readonly frame: Uint8Array;
}

function runOf(before: number, kept: readonly Kept[]): StreamRun {
  const ends: number[] = [];
  let end = 0;
  for (const { frame } of kept) ends.push((end += frame.length));
  const positions = kept.map(({ position }) => position);
  return { before, positions, ends, frames: Buffer.concat(kept.map(({ frame }) => frame)) };
}

/** Streams as the store has them, and the records in memory beside them. */
class Beside {
  readonly hot: HotRecords;
  readonly streams = new Map<number, Kept[]>();
  private head = 0;

  constructor(bytesMax: number) {
    this.hot = new HotRecords(bytesMax);
  }

  eventsOf(stream: number): Kept[] {
    let events = this.streams.get(stream);
    if (events === undefined) this.streams.set(stream, (events = []));
    return events;
  }

  commit(stream: number, sizes: readonly number[], isKept = true): void {
    const events = this.eventsOf(stream);
    const before = events.length;
    for (const size of sizes) {
      const position = ++this.head;
      events.push({ position, frame: Buffer.alloc(size, position) });
    }
    this.hot.add(stream, isKept ? runOf(before, events.slice(before)) : undefined);
  }
}

/** The frame at each position of the stream is its event's, or is not known. */
function expectFrames({ hot, streams }: Beside, stream: number): number {
  let found = 0;
  for (const { position, frame } of streams.get(stream) ?? []) {
    const known = hot.frameAt(stream, position);
    if (known === undefined) continue;
    found++;
    expect(Buffer.compare(known, frame)).toBe(0);
  }
  return found;
}

/** What is found is what the stream has, and begins early enough. */
function expectSound(
  { hot, streams }: Beside,
  stream: number,
  fromVersion: number,
  fromPosition: number,
): StreamRun | undefined {
  const run = hot.get(stream, fromVersion, fromPosition);
  if (run === undefined) return undefined;
  const expected = runOf(run.before, (streams.get(stream) ?? []).slice(run.before));
  expect([...(run.positions as Float64Array)]).toEqual(expected.positions);
  expect([...(run.ends as Float64Array)]).toEqual(expected.ends);
  expect(Buffer.compare(run.frames, expected.frames)).toBe(0);
  const isFromVersion = run.before < fromVersion;
  expect(isFromVersion || (run.positions[0] as number) <= fromPosition).toBe(true);
  return run;
}

const small = 16 * 1024;

test("a stream is found as soon as it was written, and what is added to it", () => {
  const beside = new Beside(small);
  beside.commit(128, [100]);
  beside.commit(256, [30, 40]);
  beside.commit(128, [200, 1]);
  expect(expectSound(beside, 128, 1, 0)?.positions).toHaveLength(3);
  expect(expectSound(beside, 256, 1, 0)?.positions).toHaveLength(2);
  expect(expectSound(beside, 384, 1, 0)).toBeUndefined();
  expect(expectSound(beside, 128, 3, 0)?.before).toBe(1);
});

test("without memory nothing is found", () => {
  const beside = new Beside(0);
  beside.commit(128, [100]);
  expect(beside.hot.found(128, beside.hot.moment(), runOf(0, beside.eventsOf(128)), 1)).toBe(false);
  expect(expectSound(beside, 128, 1, 0)).toBeUndefined();
});

// Twenty caches, because each spreads the streams over its places in a way of its own.
test.each(Array.from({ length: 20 }, (_, i) => i))(
  "what is used stays while others pass; what is not goes: %i",
  () => {
    const beside = new Beside(small);
    beside.commit(128, [300, 300]);
    beside.commit(256, [300, 300]);
    for (let i = 0; i < 500; i++) {
      beside.commit(1_024 + i * 128, [300]);
      expect(expectSound(beside, 128, 1, 0)?.positions).toHaveLength(2);
    }
    expect(expectSound(beside, 256, 1, 0)).toBeUndefined();
  },
);

test("what a read has found joins what was added since it began", () => {
  const beside = new Beside(small);
  const events = beside.eventsOf(128);
  events.push({ position: 0.5, frame: Buffer.from("on disk") });
  const moment = beside.hot.moment();
  const found = runOf(0, events);
  beside.commit(128, [50]);
  expect(expectSound(beside, 128, 1, 0)).toBeUndefined();
  expect(beside.hot.found(128, moment, found, 1)).toBe(false);
  expect(expectSound(beside, 128, 1, 0)?.positions).toHaveLength(2);
});

test.each(["drop", "clear"] as const)("a read that began before a %s adds nothing", (forget) => {
  const beside = new Beside(small);
  beside.commit(128, [50]);
  const moment = beside.hot.moment();
  beside.hot[forget](128);
  expect(beside.hot.found(128, moment, runOf(0, beside.eventsOf(128)), 1)).toBe(false);
  expect(expectSound(beside, 128, 1, 0)).toBeUndefined();
  const later = beside.hot.moment();
  expect(beside.hot.found(128, later, runOf(0, beside.eventsOf(128)), 1)).toBe(true);
  expect(expectSound(beside, 128, 1, 0)?.positions).toHaveLength(1);
});

const arbitraryStep = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      stream: fc.nat(12),
      sizes: fc.array(fc.oneof(fc.nat(200), fc.nat(1_500)), { minLength: 1, maxLength: 4 }),
      isKept: fc.nat(9).map((n) => n > 0),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("get" as const),
      stream: fc.nat(12),
      fromVersion: fc.integer({ min: 1, max: 12 }),
      fromPosition: fc.oneof(fc.constant(0), fc.nat(60)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("begin" as const),
      stream: fc.nat(12),
      from: fc.nat(5),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      read: fc.nat(5),
      isLong: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("drop" as const, "clear"), stream: fc.nat(12) }),
  },
);

test("whatever happens, what is found is what the stream has", () => {
  const property = fc.property(fc.array(arbitraryStep, { maxLength: 200 }), (steps) => {
    const beside = new Beside(small);
    const reads: { stream: number; moment: number; run: StreamRun; count: number }[] = [];
    for (const step of steps) {
      const stream = "stream" in step ? (step.stream + 1) * 128 : 0;
      if (step.kind === "commit") beside.commit(stream, step.sizes, step.isKept);
      else if (step.kind === "get")
        expectSound(beside, stream, step.fromVersion, step.fromPosition);
      else if (step.kind === "drop") beside.hot.drop(stream);
      else if (step.kind === "clear") beside.hot.clear();
      else if (step.kind === "begin") {
        const events = beside.eventsOf(stream);
        const from = Math.min(step.from, events.length - 1);
        if (from < 0) continue;
        const run = runOf(from, events.slice(from));
        reads.push({ stream, moment: beside.hot.moment(), run, count: events.length });
      } else if (step.kind === "end") {
        const [read] = reads.splice(step.read % Math.max(1, reads.length), 1);
        if (read === undefined) continue;
        const run = step.isLong ? undefined : read.run;
        const isPresent = beside.hot.found(read.stream, read.moment, run, read.count);
        if (isPresent) expect(beside.eventsOf(read.stream)).toHaveLength(read.count);
      }
    }
    for (const stream of beside.streams.keys()) {
      expectFrames(beside, stream);
      expectSound(beside, stream, 1, 0);
    }
  });
  fc.assert(property, { numRuns: 500 });
});

test("one event of a stream is found by its position", () => {
  const beside = new Beside(small);
  beside.commit(128, [100, 1]);
  beside.commit(256, [30]);
  beside.commit(128, [200]);
  expect(expectFrames(beside, 128)).toBe(3);
  expect(expectFrames(beside, 256)).toBe(1);
  expect(beside.hot.frameAt(128, 3)).toBe(undefined);
  expect(beside.hot.frameAt(128, 9)).toBe(undefined);
  expect(beside.hot.frameAt(384, 1)).toBe(undefined);
  beside.hot.drop(128);
  expect(expectFrames(beside, 128)).toBe(0);
});
