// Commands of generated histories: what clients do to an event log, each compared with a naive
// model that keeps a list. They run one after the other on any engine; appends of one command at
// once.
import { deepStrictEqual, ok } from "node:assert/strict";
import fc from "fast-check";
import type { Append, Outcome } from "../../src/domain/append.ts";
import { selects, type Selection } from "../../src/domain/query.ts";
import type { Bound, EventLog, ReadRequest } from "../../src/log/event-log.ts";
import { contendedAppend, NaiveLog } from "../domain/naive-log.ts";
import { arbitrarySelection } from "../support/events.ts";
import { readAll, Subscriber, subscriptionFaults, type ManualTimers } from "./harness.ts";

/** What should be there. */
export class Model {
  readonly naive = new NaiveLog();
  now = 1_000;

  positionsOf(selection: Selection): number[] {
    const { events } = this.naive;
    return events.filter((each) => selects(selection, each)).map(({ position }) => position);
  }

  get head(): number {
    return this.naive.events.length;
  }
}

/** What is there. */
export interface Real {
  readonly log: () => EventLog;
  readonly timers: () => ManualTimers;
  setClock(now: number): void;
  /** Stops the log and opens another one over what is stored. */
  restart(): Promise<void>;
  readonly follows: Follow[];
}

/** A subscription as its client sees it, over all of its reconnects. */
interface Follow {
  readonly selection: Selection;
  readonly start: number;
  seenThrough: number;
  readonly positions: number[];
  subscriber: Subscriber;
}

type Command = fc.AsyncCommand<Model, Real>;

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name };
}

/** Conditions look at most as far as the head: appends at once may or may not share a group. */
function within(head: number, append: Append): Append {
  const conditions = append.conditions.map((condition) => {
    return condition.mayBeAhead ? condition : { ...condition, after: condition.after % (head + 1) };
  });
  return { ...append, conditions };
}

function withoutWitness(outcome: Outcome): unknown {
  if (outcome.kind !== "conflict") return outcome;
  return { ...outcome, conditions: outcome.conditions.map(({ index, after }) => [index, after]) };
}

const append = fc.array(contendedAppend, { minLength: 1, maxLength: 4 }).map((proposed) =>
  command(`append ${fc.stringify(proposed)}`, async ({ naive, now }, real) => {
    const durable = naive.events.length;
    const appends = proposed.map((each) => within(durable, each));
    const answers = await Promise.all(appends.map((each) => real.log().append(each)));
    const expected = appends.map((each) => naive.append(each, durable, now));
    const outcomes = answers.map(({ outcome }) => outcome);
    deepStrictEqual(outcomes.map(withoutWitness), expected.map(withoutWitness));
    deepStrictEqual(
      outcomes.filter((outcome, i) => naive.lies(appends[i], outcome)),
      [],
    );
    for (const { outcome, head } of answers) {
      ok(outcome.kind !== "appended" || head >= outcome.lastPosition);
    }
  }),
);

const passTime = fc.integer({ min: -50, max: 100 }).map((micros) =>
  command(`clock ${micros}`, async (model, real) => {
    model.now += micros;
    real.setClock(model.now);
  }),
);

const arbitraryBound: fc.Arbitrary<Bound> = fc.oneof(
  fc.integer({ min: 1, max: 30 }).map((position) => ({ kind: "position" as const, position })),
  fc.integer({ min: 900, max: 1_300 }).map((time) => ({ kind: "time" as const, time })),
);

const read = fc
  .record<ReadRequest>({
    selection: arbitrarySelection,
    direction: fc.constantFrom("forwards", "backwards"),
    from: fc.option(arbitraryBound, { nil: undefined }),
    to: fc.option(arbitraryBound, { nil: undefined }),
    limit: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  })
  .map((request) =>
    command(`read ${fc.stringify(request)}`, async ({ naive, head }, real) => {
      const [low, high] =
        request.direction === "forwards" ? [request.from, request.to] : [request.to, request.from];
      const matching = naive.events
        .filter((event) => selects(request.selection, event))
        .filter((event) => low === undefined || placeIn(event, low) >= 0)
        .filter((event) => high === undefined || placeIn(event, high) <= 0)
        .map(({ position }) => position);
      if (request.direction === "backwards") matching.reverse();
      const { positions, end } = await readAll(real.log().read(request));
      deepStrictEqual(positions, matching.slice(0, request.limit));
      deepStrictEqual([end?.head, end?.eventCount], [head, positions.length]);
    }),
  );

function placeIn(event: { position: number; recordedAt: number }, bound: Bound): number {
  if (bound.kind === "version") throw new Error("not generated here");
  if (bound.kind === "time") return event.recordedAt - bound.time;
  return event.position - bound.position;
}

const follow = fc
  .record({
    selection: arbitrarySelection,
    fromStart: fc.boolean(),
    batchEventsMax: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  })
  .map(({ selection, fromStart, batchEventsMax }) =>
    command(`follow ${fc.stringify(selection)}`, async ({ head }, real) => {
      const start = fromStart ? 0 : head;
      const subscriber = subscribe(real, selection, start, batchEventsMax);
      real.follows.push({ selection, start, seenThrough: start, positions: [], subscriber });
    }),
  );

const pull = fc.nat({ max: 5 }).map((index) =>
  command(`pull ${index}`, async (_model, real) => {
    // It may wait for an event to come.
    void real.follows[index % real.follows.length]?.subscriber.pull();
  }),
);

const drain = fc.nat({ max: 5 }).map((index) =>
  command(`drain ${index}`, async (model, real) => {
    const one = real.follows[index % real.follows.length];
    if (one === undefined) return;
    await one.subscriber.drain();
    check(model, one);
    const heard = [...one.positions, ...one.subscriber.positions];
    deepStrictEqual(heard, expectedOf(model, one));
  }),
);

const heartbeat = fc.constant(
  command("heartbeat", async (_model, real) => real.timers().pass(1_000)),
);

const reconnect = fc.nat({ max: 5 }).map((index) =>
  command(`reconnect ${index}`, async (model, real) => {
    const one = real.follows[index % real.follows.length];
    if (one !== undefined) await resume(model, real, one);
  }),
);

const restart = fc.constant(
  command("restart", async (model, real) => {
    await real.restart();
    for (const one of real.follows) await resume(model, real, one);
  }),
);

/** Ends the connection and goes on after the last position it told, as a client would. */
async function resume(model: Model, real: Real, one: Follow): Promise<void> {
  await one.subscriber.cancel();
  check(model, one);
  const last = one.subscriber.messages.at(-1);
  if (last !== undefined) {
    one.seenThrough = last.kind === "batch" ? last.batch.through : last.position;
  }
  one.positions.push(...one.subscriber.positions);
  one.subscriber = subscribe(real, one.selection, one.seenThrough, undefined);
}

function subscribe(real: Real, selection: Selection, position: number, max: number | undefined) {
  const start = { kind: "after-position", position } as const;
  return new Subscriber(real.log(), { selection, start, batchEventsMax: max });
}

function check(model: Model, one: Follow): void {
  const rest = model.positionsOf(one.selection).filter((position) => position > one.seenThrough);
  deepStrictEqual(subscriptionFaults(one.subscriber.messages, rest), []);
}

function expectedOf(model: Model, { selection, start }: Follow): number[] {
  return model.positionsOf(selection).filter((position) => position > start);
}

export const histories = fc.commands(
  [
    append,
    append,
    append,
    passTime,
    read,
    read,
    follow,
    pull,
    drain,
    heartbeat,
    reconnect,
    restart,
  ],
  { maxCommands: 40, size: "max" },
);
