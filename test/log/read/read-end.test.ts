// How far a read has seen: every field of its end, against a list and a filter. Load and GetState
// likewise, and the positions that a subscription tells.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  lifecycleRecordOf,
  lifecycleStream,
} from "../../../src/domain/lifecycle/lifecycle-event.ts";
import { selects, type Selection } from "../../../src/domain/query.ts";
import { decodeRecord, recordsIn } from "../../../src/domain/record.ts";
import type {
  Bound,
  EventLog,
  LoadRequest,
  ReadRequest,
  SubscribeMessage,
  SubscribeStart,
} from "../../../src/log/event-log.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { positionsIn, readAll, Subscriber } from "../harness.ts";
import {
  arbitraryBound,
  arbitraryHistory,
  arbitrarySelection,
  engines,
  isLeftIn,
  open,
  optional,
  queryItem,
  type ModelEvent,
} from "./histories.ts";

const arbitraryRequest: fc.Arbitrary<ReadRequest> = arbitrarySelection.chain((selection) =>
  fc.record({
    selection: fc.constant(selection),
    direction: fc.constantFrom("forwards", "backwards"),
    from: optional(arbitraryBound(selection.kind === "stream")),
    to: optional(arbitraryBound(selection.kind === "stream")),
    limit: optional(fc.integer({ min: 1, max: 6 })),
    withRemoved: fc.boolean(),
  }),
);

/** Negative: the event lies before the bound; positive: behind it. */
function distance(event: ModelEvent, bound: Bound | undefined): number {
  if (bound === undefined) return 0;
  if (bound.kind === "version") return event.version - bound.version;
  return bound.kind === "time" ? event.recordedAt - bound.time : event.position - bound.position;
}

/** What a read is to answer. */
function expectedOf(events: readonly ModelEvent[], asked: ReadRequest) {
  const { selection, direction, limit = Infinity } = asked;
  const forwards = direction === "forwards";
  const [low, high] = forwards ? [asked.from, asked.to] : [asked.to, asked.from];
  const isLeft = isLeftIn(events);
  const own = events.filter((event) => selects(selection, event));
  const matching = own
    .filter((event) => distance(event, low) >= 0 && distance(event, high) <= 0)
    .filter((event) => isLeft(event) || asked.withRemoved === true);
  const returned = (forwards ? matching : matching.toReversed()).slice(0, limit);
  const positions = returned.map(({ position }) => position);
  const head = events.length;
  const streamVersion = selection.kind === "stream" ? (own.at(-1)?.version ?? 0) : undefined;
  const within = (some: readonly ModelEvent[]) =>
    some.findLast((event) => distance(event, high) <= 0)?.position ?? 0;
  let after = head;
  if (forwards && returned.length === limit) after = positions.at(-1) ?? 0;
  else if (high?.kind === "version") {
    if (high.version < (streamVersion ?? 0)) after = within(own);
  } else if (high !== undefined) after = within(events);
  return { positions, end: { head, after, eventCount: returned.length, streamVersion }, low };
}

describe.each(engines)("over %s", (engine) => {
  test("a read says exactly how far it has seen", { timeout: 60_000 }, async () => {
    const requests = fc.array(arbitraryRequest, { minLength: 5, maxLength: 20 });
    const property = fc.asyncProperty(
      arbitraryHistory,
      requests,
      fc.constantFrom(1, 200, 5_000, 100_000),
      async (steps, all, batchBytes) => {
        const { log, storage, events } = await open(engine, steps, batchBytes);
        for (const asked of all) {
          const { positions, end } = await readAll(log.read(asked));
          const { low, ...expected } = expectedOf(events, asked);
          expect({ positions, end }, JSON.stringify(asked)).toEqual(expected);
          await expectNothingMissed(storage, events, asked, { positions, low, ...expected.end });
        }
        await log.stop();
        await storage.close();
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  test("a load says exactly what its state is of", { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(
      arbitraryHistory,
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }),
      fc.array(arbitraryLoad, { minLength: 3, maxLength: 8 }),
      async (steps, snapshotVersions, loads) => {
        const { log, storage, events } = await open(engine, steps, 200);
        for (const version of snapshotVersions) {
          const own = events.filter(({ stream }) => stream === "a");
          if (version <= own.length)
            await log.saveSnapshot({ ...snapshot, version }).catch(() => {});
        }
        for (const asked of loads) await expectLoad(log, events, asked);
        await log.stop();
        await storage.close();
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  test("a state says exactly what it is of", { timeout: 60_000 }, async () => {
    const at = fc.array(optional(arbitraryMoment), { minLength: 3, maxLength: 8 });
    const property = fc.asyncProperty(arbitraryHistory, at, async (steps, moments) => {
      const { log, storage, events } = await open(engine, steps, 200);
      const isLeft = isLeftIn(events);
      const left = events.filter((event) => event.stream === "a" && isLeft(event));
      for (const moment of moments) {
        const own = left.filter((event) => distance(event, moment) <= 0);
        const records = own.flatMap(({ frame }) => [...recordsIn(frame)].map(decodeRecord));
        const json = records.filter(
          ({ contentType, data }) => contentType.endsWith("json") && data[0] === 0x7b,
        );
        const patches = json.map(
          ({ data }) => JSON.parse(new TextDecoder().decode(data)) as object,
        );
        const state: object | null = patches.length === 0 ? null : Object.assign({}, ...patches);
        expect(await log.getState({ stream: "a", at: moment })).toEqual({
          state,
          stateJson: JSON.stringify(state),
          version: own.at(-1)?.version ?? 0,
          position: own.at(-1)?.position ?? 0,
          recordedAt: own.at(-1)?.recordedAt ?? 0,
          appliedCount: json.length,
          skippedCount: own.length - json.length,
          missingThrough: missingThroughOf(events, "a", (event) => distance(event, moment) <= 0),
        });
      }
      await log.stop();
      await storage.close();
    });
    await fc.assert(property, { numRuns: 60 });
  });

  test(
    "a subscription tells no position beyond what it delivered",
    { timeout: 60_000 },
    async () => {
      const property = fc.asyncProperty(
        arbitraryHistory,
        arbitraryHistory,
        fc.array(arbitraryFollow, { minLength: 1, maxLength: 5 }),
        async (before, later, follows) => {
          const { log, storage, events, timers, take } = await open(engine, before, 200);
          const begun = follows.map(({ start: { kind, number }, ...follow }) => {
            const start = startOf(kind, number, events, follow.selection);
            return { start, ...follow, subscriber: new Subscriber(log, { ...follow, start }) };
          });
          for (const step of [undefined, ...later]) {
            if (step !== undefined) await take(step);
            for (const { subscriber, isSlow } of begun) {
              if (isSlow) void subscriber.pull();
              else await subscriber.drain();
            }
            await timers.pass(1_000);
          }
          for (const { start, selection, subscriber } of begun) {
            await subscriber.drain();
            const own = events.filter((event) => selects(selection, event));
            expectFollowed(own, isLeftIn(events), start, subscriber.messages);
            await subscriber.cancel();
          }
          await log.stop();
          await storage.close();
        },
      );
      await fc.assert(property, { numRuns: 40 });
    },
  );
});

const snapshot = {
  stream: "a",
  kind: "",
  contentType: "application/json",
  data: new Uint8Array([0x31]),
  metadata: {},
};

const arbitraryLoad: fc.Arbitrary<LoadRequest> = fc.record({
  stream: fc.constant("a"),
  snapshotKind: fc.constant(""),
  maxVersion: optional(fc.integer({ min: 1, max: 9 })),
  withoutSnapshot: fc.boolean(),
});

const arbitraryMoment = fc.oneof(
  fc.integer({ min: 1, max: 9 }).map((version) => ({ kind: "version" as const, version })),
  fc.integer({ min: 0, max: 24 }).map((time) => ({ kind: "time" as const, time })),
);

async function expectLoad(
  log: EventLog,
  events: readonly ModelEvent[],
  asked: LoadRequest,
): Promise<void> {
  const own = events.filter(({ stream }) => stream === asked.stream);
  const version = Math.min(own.length, asked.maxVersion ?? Infinity);
  let begin = 0;
  const positions: number[] = [];
  for await (const message of log.load(asked)) {
    if (message.kind === "snapshot") begin = message.snapshot.version;
    if (message.kind === "batch") positions.push(...positionsIn(message.batch));
    if (message.kind !== "end") continue;
    const after = version === own.length ? events.length : (own[version - 1]?.position ?? 0);
    // A snapshot makes up for everything before it.
    const missingThrough =
      begin > 0 ? 0 : missingThroughOf(events, "a", (event) => event.version <= version);
    const counts = { eventCount: positions.length, missingThrough };
    const end = { version, head: events.length, after, ...counts };
    expect(message.end, JSON.stringify(asked)).toEqual(end);
  }
  // Nothing is left of the stream, between the snapshot and `after`, that was not sent.
  const isLeft = isLeftIn(events);
  const sent = own.filter((event) => event.version > begin && event.version <= version);
  expect(positions).toEqual(sent.filter(isLeft).map(({ position }) => position));
}

/** The last event of a stream, up to some point, that a policy has removed since it began anew. */
function missingThroughOf(
  events: readonly ModelEvent[],
  stream: string,
  isAsked: (event: ModelEvent) => boolean,
): number {
  const isLeft = isLeftIn(events);
  const own = events.filter((event) => event.stream === stream);
  const asked = own.filter(isAsked);
  const lost = asked.findLast((event) => !isLeft(event))?.version ?? 0;
  const kept = events.findLast((event) => event.stream === lifecycleStream(stream));
  const [record] = kept === undefined ? [] : [...recordsIn(kept.frame)];
  const through = record && lifecycleRecordOf(record).lifecycle.deletion?.through;
  // Of what was before the deletion, nothing is left to tell the state by.
  const isPast = asked.length < own.length && asked.length <= (through ?? 0);
  return isPast || lost > (through ?? 0) ? lost : 0;
}

const arbitraryFollow = fc.record({
  selection: arbitrarySelection,
  start: fc.record({
    kind: fc.constantFrom("after-position", "after-version", "from-time", "end"),
    number: fc.nat({ max: 30 }),
  }),
  batchEventsMax: optional(fc.integer({ min: 1, max: 3 })),
  /** Takes one message where others take all there are. */
  isSlow: fc.boolean(),
});

/** A start that the log at this moment does not refuse. */
function startOf(
  kind: SubscribeStart["kind"],
  number: number,
  events: readonly ModelEvent[],
  selection: Selection,
): SubscribeStart {
  if (kind === "from-time") return { kind, time: number };
  if (kind === "after-version" && selection.kind === "stream") {
    const version = events.filter(({ stream }) => stream === selection.stream).length;
    return { kind, version: number % (version + 1) };
  }
  return {
    kind: "after-position",
    position: kind === "end" ? events.length : number % (events.length + 1),
  };
}

/** Every event that is left up to a position that was told was delivered before it was told. */
function expectFollowed(
  own: readonly ModelEvent[],
  isLeft: (event: ModelEvent) => boolean,
  start: SubscribeStart,
  messages: readonly SubscribeMessage[],
): void {
  const isBefore = (event: ModelEvent): boolean => {
    if (start.kind === "after-position") return event.position <= start.position;
    if (start.kind === "after-version") return event.version <= start.version;
    return start.kind === "from-time" && event.recordedAt < start.time;
  };
  const wanted = own.filter((event) => !isBefore(event));
  let told = 0;
  let delivered = 0;
  const due = wanted.filter(isLeft).map(({ position }) => position);
  const all = new Set(wanted.map(({ position }) => position));
  for (const message of messages) {
    const positions = message.kind === "batch" ? positionsIn(message.batch) : [];
    for (const position of positions) {
      expect(all.has(position) && position > Math.max(told, delivered), String(position)).toBe(
        true,
      );
      while (due[0] !== undefined && due[0] < position) expect.fail(`${due[0]} was passed over`);
      if (due[0] === position) due.shift();
      delivered = position;
    }
    const through = message.kind === "batch" ? message.batch.through : message.position;
    expect(through).toBeGreaterThanOrEqual(told);
    told = through;
    if (due[0] !== undefined) expect(due[0]).toBeGreaterThan(through);
  }
}

/**
 * The end as what it is for: a condition over the same selection is violated where an event is left
 * that is newer than what was read, and no event at or before `after` was missed, but for the older
 * ones that the request left out.
 */
async function expectNothingMissed(
  storage: Storage,
  events: readonly ModelEvent[],
  { selection, direction }: ReadRequest,
  read: {
    readonly positions: readonly number[];
    readonly after: number;
    readonly low: Bound | undefined;
  },
): Promise<void> {
  const { positions, after, low } = read;
  const isLeft = isLeftIn(events);
  const left = events.filter((event) => selects(selection, event) && isLeft(event));
  const oldest = direction === "backwards" ? (positions.at(-1) ?? Infinity) : 0;
  const missed = left.filter(({ position }) => position <= after && !positions.includes(position));
  for (const event of missed) {
    expect(distance(event, low) < 0 || event.position < oldest, String(event.position)).toBe(true);
  }
  expect(Math.max(0, ...positions)).toBeLessThanOrEqual(after);
  if (selection.kind === "all") return;
  const query =
    selection.kind === "query"
      ? selection.query
      : { items: [{ ...queryItem, streams: [selection.stream] }] };
  const { matches } = await storage.facts({
    streams: [],
    ids: [],
    conditions: [{ query, after }],
  });
  expect((matches[0] ?? 0) > 0).toBe(left.some(({ position }) => position > after));
}
