// Small histories for tests of how far a read has seen: several events in a commit, few streams, and
// streams of which events are removed.
import fc from "fast-check";
import { expect } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import type { QueryItem, Selection } from "../../../src/domain/query.ts";
import { createEventLog, type Bound, type EventLog } from "../../../src/log/event-log.ts";
import { openMemoryStorage } from "../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent, type EventSketch } from "../../support/events.ts";
import { deleteStream, setPolicy } from "../../support/lifecycles.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { visibilityOf } from "../../support/model-lifecycles.ts";
import { ManualTimers } from "../harness.ts";

export type Step =
  | { readonly kind: "commit"; readonly sketches: readonly EventSketch[] }
  | { readonly kind: "truncate" | "keep"; readonly stream: string; readonly count: number }
  | { readonly kind: "delete"; readonly stream: string };

const streams = ["a", "b", "a-1"] as const;

const arbitrarySketch: fc.Arbitrary<EventSketch> = fc.record({
  stream: fc.constantFrom("a", "a", "a", "b", "a-1", ""),
  type: fc.constantFrom("T", "U"),
  tags: fc.subarray(["k:1", "k:2"]),
  contentType: fc.constantFrom("application/json", "application/octet-stream"),
  data: fc.constantFrom('{"n":1}', '{"m":2}', "x".repeat(3_000)),
});

const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      sketches: fc.array(arbitrarySketch, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("truncate" as const, "keep" as const),
      stream: fc.constantFrom(...streams),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      stream: fc.constantFrom(...streams),
    }),
  },
);

export const arbitraryHistory = fc.array(arbitraryStep, { minLength: 1, maxLength: 8 });

export const queryItem: QueryItem = {
  streams: [],
  streamPrefixes: [],
  types: [],
  tags: [],
  tagsAny: [],
};

const queryOf = (parts: Partial<QueryItem>): Selection => {
  return { kind: "query", query: { items: [{ ...queryItem, ...parts }] } };
};

export const arbitrarySelection: fc.Arbitrary<Selection> = fc.constantFrom<Selection[]>(
  { kind: "all" },
  { kind: "stream", stream: "a" },
  { kind: "stream", stream: "a" },
  { kind: "stream", stream: "nobody" },
  queryOf({ streams: ["a"] }),
  queryOf({ types: ["T"] }),
  queryOf({ tags: ["k:1"] }),
  queryOf({ streamPrefixes: ["a"], types: ["U"] }),
  queryOf({ types: ["None"] }),
);

export const arbitraryBound = (versions: boolean): fc.Arbitrary<Bound> =>
  fc.oneof(
    fc.integer({ min: 1, max: 30 }).map((position) => ({ kind: "position" as const, position })),
    fc.integer({ min: 0, max: 24 }).map((time) => ({ kind: "time" as const, time })),
    ...(versions
      ? [fc.integer({ min: 1, max: 9 }).map((version) => ({ kind: "version" as const, version }))]
      : []),
  );

export const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

/** A log over an engine, and the plain model of what is in it. */
export interface Opened {
  readonly log: EventLog;
  readonly storage: Storage;
  readonly events: ModelStorage["data"]["events"];
  readonly timers: ManualTimers;
  /** Takes a step in both. */
  readonly take: (step: Step) => Promise<void>;
}

export type ModelEvent = Opened["events"][number];

export const engines = ["the plain model", "LevelDB"] as const;

export async function open(
  engine: (typeof engines)[number],
  steps: readonly Step[],
  batchBytesMax = defaultLimits.batchBytesMax,
): Promise<Opened> {
  const clock = () => now;
  const model = createModelStorage({ clock, batchScanMax: 3 });
  const storage = engine === "LevelDB" ? await openMemoryStorage({ clock }) : model;
  model.control.afterCommit = async (commit) => {
    if (storage !== model) expect(await storage.commit(commit)).toBe("committed");
  };
  const limits = { ...defaultLimits, batchBytesMax };
  const timers = new ManualTimers();
  const log = createEventLog({ storage, limits, clock, timers, onWarning: () => {} });
  const { events } = model.data;
  for (const step of steps) await takeStep(model, step);
  return { log, storage, events, timers, take: (step) => takeStep(model, step) };
}

const now = 1_000;

/** Which events are left by the end of a history. */
export function isLeftIn(events: readonly ModelEvent[]): (event: ModelEvent) => boolean {
  return visibilityOf(events, now);
}

async function takeStep(storage: Storage, step: Step): Promise<void> {
  switch (step.kind) {
    case "commit":
      return void (await commitEvents(storage, step.sketches.map(newEvent)));
    case "delete":
      return void (await deleteStream(storage, step.stream));
    case "keep":
      return void (await setPolicy(storage, step.stream, { maxCount: step.count }));
    case "truncate": {
      const { stream, count } = step;
      const asked = { streams: [stream], ids: [], conditions: [] };
      const version = (await storage.facts(asked)).versions.get(stream) ?? 0;
      const truncateBefore = Math.min(count, version + 1);
      return void (await setPolicy(storage, stream, { truncateBefore }));
    }
  }
}
