// Generated histories of everything that may happen to a consumer group, watched by the oracle and
// then played to their end.
import fc from "fast-check";
import { expect } from "vitest";
import type {
  GroupChanges,
  GroupOrdering,
  GroupSettings,
} from "../../../src/domain/group/settings.ts";
import type { Query } from "../../../src/domain/query.ts";
import { defaultGroupBounds, type GroupBounds } from "../../../src/domain/group/state.ts";
import { finish, rest } from "./endings.ts";
import { lookAtRemoved, recount, removeStream } from "./removal.ts";
import { GroupWorld, type LoggedEvent } from "./world.ts";

/** So tight that everything overflows. */
export const tightBounds: GroupBounds = {
  ...defaultGroupBounds,
  queueEventsMax: 2,
  knownEventsMax: 12,
  frameBytesMax: 40,
  memberPermitsMax: 6,
  unsentMax: 3,
  keysWrittenWhole: 1,
  deltasMax: 4,
  deltaBytesMin: 30,
};

const events: fc.Arbitrary<LoggedEvent> = fc.record({
  stream: fc.constantFrom("a-1", "a-2", "b-1", "b-2", "c", ""),
  type: fc.constantFrom("T", "U", "V"),
  tags: fc.constantFrom([], ["k:1"], ["k:2"], ["x", "k:2"]),
});

const item = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };
const queries: readonly Query[] = [
  { items: [] },
  { items: [] },
  { items: [{ ...item, types: ["T"] }] },
  { items: [{ ...item, types: ["T", "U"] }] },
  {
    items: [
      { ...item, streamPrefixes: ["a-"] },
      { ...item, tags: ["k:2"] },
    ],
  },
];
const orderings: readonly GroupOrdering[] = [
  { kind: "stream" },
  { kind: "category" },
  { kind: "tag", prefix: "k:" },
  { kind: "none" },
];

const delivery = {
  leaseMs: fc.constantFrom(10, 100),
  attemptsMax: fc.integer({ min: 1, max: 4 }),
  retryDelayMs: fc.constantFrom(0, 5, 50),
  retryDelayMaxMs: fc.constantFrom(50, 200),
  inFlightMax: fc.integer({ min: 1, max: 10 }),
} as const;
const changes: fc.Arbitrary<GroupChanges> = fc.record(delivery, { requiredKeys: [] });
const settings: fc.Arbitrary<GroupSettings> = fc.record({
  query: fc.constantFrom(...queries),
  ordering: fc.constantFrom(...orderings),
  ...delivery,
});

const choice = fc.nat({ max: 20 });
const choices = fc.array(choice, { minLength: 1, maxLength: 4 });

interface Step {
  readonly name: string;
  readonly act: (world: GroupWorld) => void;
}

function step<T>(
  name: string,
  values: fc.Arbitrary<T>,
  act: (world: GroupWorld, value: T) => void,
) {
  return values.map((value): Step => {
    return { name: `${name} ${JSON.stringify(value)}`, act: (world) => act(world, value) };
  });
}

const work: fc.WeightedArbitrary<Step>[] = [
  [
    8,
    step("append", fc.array(events, { minLength: 1, maxLength: 6 }), (w, all) =>
      all.forEach((one) => w.append(one)),
    ),
  ],
  [8, step("feed", fc.integer({ min: 1, max: 8 }), (w, count) => w.feed(count))],
  [6, step("begin reading", fc.constant(0), (w) => w.beginReading())],
  [
    6,
    step("end reading", fc.tuple(choice, fc.integer({ min: 0, max: 9 })), (w, [one, luck]) =>
      w.endReading(one, luck === 0),
    ),
  ],
  [9, step("deliver", fc.constant(0), (w) => w.deliver())],
  [5, step("send", choice, (w, one) => w.send(one))],
  [
    4,
    step("join", fc.tuple(fc.integer({ min: 0, max: 4 }), fc.boolean()), (w, [permits, atOnce]) =>
      w.join(permits, atOnce),
    ),
  ],
  [
    2,
    step("permit", fc.tuple(choice, fc.integer({ min: 1, max: 3 })), (w, [one, count]) =>
      w.permit(one, count),
    ),
  ],
  [9, step("ack", choices, (w, all) => w.ack(all))],
  [2, step("ack through", fc.tuple(choice, choice), (w, [one, last]) => w.ackThrough(one, last))],
  [
    4,
    step("nack", fc.tuple(choices, fc.constantFrom(undefined, 0, 30)), (w, [all, ms]) =>
      w.nack(all, ms),
    ),
  ],
  [1, step("park", choices, (w, all) => w.park(all))],
  [1, step("release", choices, (w, all) => w.release(all))],
  [
    2,
    step("extend", fc.tuple(choices, fc.constantFrom(undefined, 1, 500)), (w, [all, ms]) =>
      w.extend(all, ms),
    ),
  ],
  [
    2,
    step("settle falsely", fc.tuple(choice, fc.nat({ max: 40 })), (w, [one, token]) =>
      w.settleFalsely(one, token),
    ),
  ],
  [7, step("begin write", fc.constant(0), (w) => w.beginWrite())],
  [6, step("written", fc.constant(0), (w) => w.endWrite("written", true))],
  [4, step("pass", fc.constantFrom(1, 7, 60), (w, ms) => w.pass(ms))],
].map(([weight, arbitrary]) => ({ weight, arbitrary }) as fc.WeightedArbitrary<Step>);

const troubles: fc.WeightedArbitrary<Step>[] = [
  [2, step("leave", fc.tuple(choice, fc.boolean()), (w, [one, stays]) => w.leave(one, stays))],
  [1, step("write fails", fc.boolean(), (w, there) => w.endWrite("failed", there))],
  [1, step("crash", fc.boolean(), (w, there) => w.crash(there))],
].map(([weight, arbitrary]) => ({ weight, arbitrary }) as fc.WeightedArbitrary<Step>);

const removals: fc.WeightedArbitrary<Step>[] = [
  [2, step("remove", fc.constantFrom("a-1", "b-1", "c"), removeStream)],
  [2, step("look", fc.constant(0), lookAtRemoved)],
  [2, step("recount", fc.integer({ min: 1, max: 20 }), recount)],
].map(([weight, arbitrary]) => ({ weight, arbitrary }) as fc.WeightedArbitrary<Step>);

const reforms: fc.WeightedArbitrary<Step>[] = [
  [2, step("configure", changes, (w, next) => w.configure(next))],
  [2, step("replace", settings, (w, next) => w.replace(next))],
  [2, step("replay", choice, (w, one) => w.replay(one))],
  [1, step("discard", choice, (w, one) => w.discard(one))],
  [1, step("reset", fc.nat({ max: 40 }), (w, to) => w.reset(to))],
].map(([weight, arbitrary]) => ({ weight, arbitrary }) as fc.WeightedArbitrary<Step>);

function play(first: GroupSettings, start: number, steps: readonly Step[]): void {
  const world = new GroupWorld(first, start, tightBounds);
  for (let i = 0; i < start; i++) world.append({ stream: "a-1", type: "T", tags: [] });
  for (const { name, act } of steps) {
    act(world);
    world.check();
    expect(world.oracle.faults, `after ${name}`).toEqual([]);
  }
  rest(world);
  finish(world);
  expect(world.oracle.faults).toEqual([]);
  expect(world.oracle.owed).toEqual([]);
  expect(world.oracle.replayed).toEqual([]);
  expect(world.group.position).toBe(world.log.length);
  expect(world.group.unsettledCount).toBe(0);
  expect(world.group.inFlightCount).toBe(0);
  expect(world.parkedOnDisk).toEqual(world.oracle.parkedPositions);
  // A restart finds nothing left to do.
  world.crash(true);
  finish(world);
  expect(world.oracle.faults).toEqual([]);
}

export const kindsOfHistory = {
  "members and time alone": work,
  "with crashes and failing writes": [...work, ...troubles],
  "with changes, replacements, resets and replays": [...work, ...reforms],
  "with events that are removed": [...work, ...removals],
  "with all of it": [...work, ...troubles, ...reforms, ...removals],
} as const;

/** Fails with the shortest history that goes wrong. */
export function assertHistories(kind: keyof typeof kindsOfHistory, runs: number): void {
  const steps = fc.oneof(...kindsOfHistory[kind]);
  const history = fc.array(steps, { minLength: 1, maxLength: 120, size: "max" });
  const property = fc.property(settings, fc.nat({ max: 3 }), history, play);
  fc.assert(property, { numRuns: runs });
}
