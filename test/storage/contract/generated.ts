// Generated histories: the same commits, reads, facts, listings, side values and restarts on the
// engine and on the plain model must give the same answers, byte for byte.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { AppendCondition } from "../../../src/domain/append.ts";
import { matches } from "../../../src/domain/query.ts";
import { contentOf } from "../../../src/domain/content.ts";
import { scanRecord, storedEvent } from "../../../src/domain/record.ts";
import { writeVarint } from "../../../src/domain/wire.ts";
import type { Commit, SideValueChange, Storage } from "../../../src/storage/storage.ts";
import {
  arbitraryCondition,
  arbitraryName,
  arbitrarySketch,
  arbitraryType,
  composeCommit,
  composeTimed,
  idOf,
  newEvent,
  recordsOf,
  type EventSketch,
} from "../../support/events.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { compareReads, arbitraryReads, everything, type ReadPlan } from "./generated-reads.ts";
import { expectBytes, type OpenedEngine, type OpenEngine } from "./checks.ts";
import { arbitraryLifecycleStep, eventsOf, type LifecycleStep } from "./lifecycle-steps.ts";
import { verifyServerOver } from "../../support/verified-server.ts";
import { change, sideValueSpaces, sideValuesIn } from "./side-values.ts";

type Step =
  | {
      readonly kind: "commit";
      readonly sketches: readonly EventSketch[];
      /** How many times over: large commits meet the engine's cuts. */
      readonly copies: number;
      readonly micros: number;
      /** Between every second event and the next one: events that were recorded elsewhere. */
      readonly spread: number;
      readonly sideValues: readonly SideValueChange[];
      /** Read while the commit runs. */
      readonly reads: readonly ReadPlan[];
    }
  | { readonly kind: "stale"; readonly sketch: EventSketch }
  | { readonly kind: "read"; readonly reads: readonly ReadPlan[] }
  | {
      readonly kind: "facts";
      readonly streams: readonly string[];
      readonly idsAt: readonly number[];
      readonly conditions: readonly AppendCondition[];
    }
  | { readonly kind: "position-at"; readonly time: number }
  | {
      readonly kind: "list";
      readonly prefix: string;
      readonly after: string;
      readonly limit: number;
    }
  | { readonly kind: "side-values"; readonly sideValues: readonly SideValueChange[] }
  | LifecycleStep
  | { readonly kind: "clock"; readonly now: number }
  | { readonly kind: "restart" }
  | { readonly kind: "reclaim"; readonly reads: readonly ReadPlan[] };

interface Pair {
  readonly opened: OpenedEngine;
  engine: Storage;
  model: ModelStorage;
  /** The head after each commit. */
  readonly heads: number[];
  /** By which ages are measured, in microseconds. */
  readonly hands: { now: number };
  /** Whether space was reclaimed: then older views may be refused, and what was removed is bare. */
  reclaimed: boolean;
}

export function generatedContract(open: OpenEngine, runs: number): void {
  test(
    "any history answers as the plain model does",
    { timeout: 60_000 + runs * 60_000 },
    async () => {
      const history = fc.array(arbitraryStep, { minLength: 1, maxLength: 60, size: "max" });
      const property = fc.asyncProperty(history, async (steps) => {
        const hands = { now: 0 };
        const clock = () => hands.now;
        const opened = await open(clock);
        const model = createModelStorage({ clock });
        const pair: Pair = {
          opened,
          engine: opened.storage,
          model,
          heads: [0],
          hands,
          reclaimed: false,
        };
        try {
          for (const step of steps) await takeStep(pair, step);
          await compareSideValues(pair);
          await compareReads(pair, [everything("forwards"), everything("backwards")]);
          expect((await opened.findings?.()) ?? []).toEqual([]);
          expect((await verifyServerOver(pair.engine)).findings).toEqual([]);
        } finally {
          await opened.close();
        }
      });
      await fc.assert(property, { numRuns: runs });
    },
  );
}

async function takeStep(pair: Pair, step: Step): Promise<void> {
  const { engine, model } = pair;
  switch (step.kind) {
    case "commit":
      return commitBoth(pair, step);
    case "stale": {
      const late = await composeCommit(engine, [newEvent(step.sketch)]);
      await commitBoth(pair, {
        sketches: [step.sketch],
        copies: 1,
        micros: 1,
        spread: 0,
        sideValues: [],
        reads: [],
      });
      expect(await engine.commit(late)).toBe("stale");
      expect(engine.head()).toEqual(model.head());
      return;
    }
    case "read":
      return compareReads(pair, step.reads);
    case "facts":
      return compareFacts(pair, step);
    case "position-at":
      expect(await engine.positionAt(step.time)).toBe(await model.positionAt(step.time));
      return;
    case "list":
      expect(await engine.listStreams(step)).toEqual(await model.listStreams(step));
      expect(await engine.listEventTypes(step)).toEqual(await model.listEventTypes(step));
      expect(await engine.stream(step.after)).toEqual(await model.stream(step.after));
      return;
    case "side-values": {
      const commit = { ...(await composeCommit(engine, [])), sideValues: step.sideValues };
      expect(await engine.commit(commit)).toBe("committed");
      expect(await model.commit(commit)).toBe("committed");
      expect(engine.head()).toEqual(model.head());
      return compareSideValues(pair);
    }
    case "lifecycle": {
      // As the domain has it: never before the clock, nor before what is recorded.
      const recordedAt = Math.max(model.now(), model.head().recordedAt + step.micros);
      const events = await eventsOf(model, step, recordedAt);
      return commitEventsToBoth(pair, await composeCommit(engine, events, recordedAt), []);
    }
    case "clock":
      pair.hands.now = step.now;
      expect(engine.now()).toBe(model.now());
      return;
    case "reclaim":
      return reclaimBeside(pair, step.reads);
    case "restart": {
      const { reopen } = pair.opened;
      if (reopen === undefined) return;
      pair.engine = await reopen();
      pair.model = createModelStorage({ data: model.data, clock: () => pair.hands.now });
      expect(pair.engine.now()).toBe(pair.model.now());
      expect(pair.engine.head()).toEqual(model.head());
    }
  }
}

async function commitBoth(
  pair: Pair,
  step: Omit<Extract<Step, { kind: "commit" }>, "kind">,
): Promise<void> {
  const sketches = Array.from({ length: step.copies }, () => step.sketches).flat();
  const events = sketches.map((sketch) => newEvent(sketch));
  const recordedAt = pair.model.head().recordedAt + step.micros;
  const { sideValues, reads, spread } = step;
  const times = events.map((_, i) => recordedAt + Math.floor(i / 2) * spread);
  const composed =
    spread === 0
      ? await composeCommit(pair.engine, events, recordedAt)
      : await composeTimed(pair.engine, events, times);
  return commitEventsToBoth(pair, { ...composed, sideValues }, reads);
}

async function commitEventsToBoth(
  pair: Pair,
  commit: Commit,
  reads: readonly ReadPlan[],
): Promise<void> {
  const { engine, model, heads } = pair;
  expect(commit.after).toEqual(model.head());
  const running = engine.commit(commit);
  const during = compareReads(
    pair,
    reads.map((read) => ({ ...read, commitsAgo: read.commitsAgo ?? 0 })),
  );
  await Promise.all([running, during]);
  expect(await running).toBe("committed");
  // The model refuses versions that are not dense: what the engine said of its streams is checked.
  expect(await model.commit(commit)).toBe("committed");
  expect(engine.head()).toEqual(model.head());
  heads.push(model.head().position);
}

/** The engine records what it reclaims: the model gets these events as another node's. */
async function reclaimBeside(pair: Pair, reads: readonly ReadPlan[]): Promise<void> {
  const { engine, model, opened, heads } = pair;
  if (opened.reclaim === undefined) return;
  pair.reclaimed = true;
  const ended = await Promise.allSettled([opened.reclaim(), compareReads(pair, reads)]);
  for (const end of ended) {
    // A reader that meets a store that is being reopened is told so.
    if (end.status === "fulfilled") continue;
    expect((end.reason as { reason?: unknown }).reason, String(end.reason)).toBe("RECOVERING");
  }
  const positions = { first: model.head().position + 1, last: engine.head().position };
  const selection = { kind: "stream", stream: "$removals" } as const;
  for (const record of await recordsOf(engine, { selection, positions })) {
    const { recordedAt, record: _, ...words } = storedEvent(record);
    expect(words.type).toBe("$EventsRemoved");
    const event = { ...words, idFromClient: false, frame: frameOf(record) };
    const commit = { after: model.head(), recordedAt, events: [event] };
    expect(await model.commit(commit)).toBe("committed");
  }
  expect(engine.head()).toEqual(model.head());
  heads.push(model.head().position);
}

function frameOf(record: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(record.length + 11);
  frame[0] = 0x0a;
  const start = writeVarint(frame, 1, record.length);
  frame.set(record, start);
  return frame.subarray(0, start + record.length);
}

async function compareSideValues({ engine, model }: Pair): Promise<void> {
  for (const space of sideValueSpaces) {
    expect(await sideValuesIn(engine, space)).toEqual(await sideValuesIn(model, space));
  }
}

async function compareFacts(
  { engine, model }: Pair,
  { streams, idsAt, conditions }: Omit<Extract<Step, { kind: "facts" }>, "kind">,
): Promise<void> {
  const events = model.data.events;
  // An id that no client chose need not be found; one that is nowhere must not be.
  const ids = idsAt.flatMap((at) => {
    const event = events[at % (events.length + 1)];
    if (event === undefined) return [idOf(2 ** 40 + at)];
    return event.idFromClient ? [event.id] : [];
  });
  // Where `after` cuts is where mistakes hide: right before and at the newest match of each.
  const newest = await model.facts({ streams, ids, conditions });
  const atBounds = conditions.flatMap(({ query }, i) => {
    const match = newest.matches[i] ?? 0;
    return match === 0 ? [] : [match - 1, match].map((after) => ({ query, after }));
  });
  const asked = [...conditions, ...atBounds];
  const request = { streams, ids, conditions: asked };
  const [found, expected] = await Promise.all([engine.facts(request), model.facts(request)]);
  expect(found.head).toEqual(expected.head);
  expect(new Map(found.versions)).toEqual(expected.versions);
  expect(new Map(found.lifecycles)).toEqual(expected.lifecycles);
  expect(await engine.areRemoved(events)).toEqual(await model.areRemoved(events));
  expect([...found.events.keys()].toSorted()).toEqual([...expected.events.keys()].toSorted());
  for (const [id, { record, ...event }] of expected.events) {
    const { record: same = new Uint8Array(), didHold, ...words } = found.events.get(id) ?? {};
    expect(words).toEqual(event);
    expect(words).toMatchObject(scanRecord(record));
    if (didHold === undefined) expectBytes(same, record, id);
    else {
      expect(didHold(contentOf(record)), id).toBe(true);
      expect(didHold(contentOf(newEvent({ data: "other" }).body)), id).toBe(false);
    }
  }
  asked.forEach(({ query, after }, i) => {
    const match = found.matches[i] ?? -1;
    if (expected.matches[i] === 0) return expect(match, JSON.stringify(query)).toBe(0);
    expect(match).toBeGreaterThan(after);
    const event = events[match - 1];
    expect(event !== undefined && matches(query, event), JSON.stringify(query)).toBe(true);
  });
}

/** Mostly small events; now and then one that needs room of its own. */
const arbitrarySizedSketch = fc
  .tuple(
    arbitrarySketch,
    fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat({ max: 30_000 })),
  )
  .map(([sketch, bytes]) => (bytes === 0 ? sketch : { ...sketch, data: "x".repeat(bytes) }));

const arbitrarySideValues: fc.Arbitrary<SideValueChange[]> = fc.uniqueArray(
  fc
    .tuple(
      fc.constantFrom(...sideValueSpaces),
      fc.constantFrom("a", "a-", "a/1", "a\u0001k", "a\u0001\u00017", "😀", "\uffee"),
      fc.option(fc.string({ maxLength: 3 }), { nil: undefined }),
    )
    .map(([space, name, text]) => change(space, name, text)),
  { maxLength: 5, selector: ({ space, name }) => `${space} ${name}` },
);

const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("commit"),
      sketches: fc.array(arbitrarySizedSketch, { minLength: 1, maxLength: 6 }),
      copies: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 40 })),
      micros: fc.nat({ max: 3 }),
      spread: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 })),
      sideValues: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, arbitrarySideValues),
      reads: arbitraryReads,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("stale"), sketch: arbitrarySketch }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("read"), reads: arbitraryReads }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("facts"),
      streams: fc.array(arbitraryName, { maxLength: 5 }),
      idsAt: fc.array(fc.nat({ max: 400 }), { maxLength: 5 }),
      conditions: fc.array(arbitraryCondition(120), { maxLength: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("position-at"), time: fc.nat({ max: 20 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("list"),
      prefix: fc.constantFrom("", "", "a", "a-", "😀", "$", "O"),
      after: fc.oneof(fc.constant(""), arbitraryName, arbitraryType),
      limit: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("side-values"),
      sideValues: arbitrarySideValues.filter(({ length }) => length > 0),
    }),
  },
  { weight: 4, arbitrary: arbitraryLifecycleStep },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("clock"), now: fc.nat({ max: 60 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("restart") }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("reclaim"), reads: arbitraryReads }),
  },
);
