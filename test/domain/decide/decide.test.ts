// The decision core: each rule by example, then batches of generated appends against a naive model
// that decides one append at a time by looking at every event there is.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append, Outcome } from "../../../src/domain/append.ts";
import { decideBatch } from "../../../src/domain/decide/decide.ts";
import type { CommitEvent, NewEvent } from "../../../src/domain/event.ts";
import type { Query, QueryItem } from "../../../src/domain/query.ts";
import { sameContent, scanRecord } from "../../../src/domain/record.ts";
import { contendedAppend, NaiveLog } from "../naive-log.ts";
import { idOf, newAppend, newEvent } from "../../support/events.ts";
import { inStream, Log, recordOf } from "./decided-log.ts";

const anyItem: QueryItem = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };
const byTag = (tag: string): Query => ({ items: [{ ...anyItem, tags: [tag] }] });

describe("an accepted append", () => {
  test("gets the positions after the head and the versions after its streams'", () => {
    const log = new Log();
    log.append(inStream("a"), inStream("b"));
    const events = ["b", "a", "", "b", "c"].map((stream) => newEvent({ stream }));
    const { outcomes, events: stored } = log.decide([newAppend(events)]);
    expect(outcomes).toEqual([
      {
        kind: "appended",
        firstPosition: 3,
        lastPosition: 7,
        streams: [
          { stream: "b", firstVersion: 2, lastVersion: 3 },
          { stream: "a", firstVersion: 2, lastVersion: 2 },
          { stream: "c", firstVersion: 1, lastVersion: 1 },
        ],
        recordedAt: 1_000,
        deduplicated: false,
      },
    ]);
    expect(stored.map((event) => [event.position, event.version])).toEqual([
      [3, 2],
      [4, 2],
      [5, 0],
      [6, 3],
      [7, 1],
    ]);
  });

  test("becomes records that say what was sent and where it is", () => {
    const event = newEvent({ stream: "a", type: "T", tags: ["x"], data: "payload" });
    const [stored] = new Log().decide([newAppend([event])]).events;
    const record = recordOf(stored as CommitEvent);
    expect(sameContent(event.body, record)).toBe(true);
    const { id, stream, type, tags } = event;
    expect(scanRecord(record)).toEqual({ id, stream, type, tags, version: 1, position: 1 });
  });

  test("keeps time from going back when the clock does", () => {
    const log = new Log();
    log.store(log.decide([inStream("a")], 5_000).events);
    const { recordedAt, outcomes } = log.decide([inStream("a")], 4_000);
    expect(recordedAt).toBe(5_000);
    expect(outcomes[0]).toMatchObject({ recordedAt: 5_000 });
  });
});

describe("expectations", () => {
  test.each([
    ["version 0 of a stream without events", "new", { kind: "version", version: 0 }],
    ["the exact version", "old", { kind: "version", version: 1 }],
    ["that a stream exists", "old", { kind: "exists" }],
    ["that a stream is absent", "new", { kind: "absent" }],
  ] as const)("hold: %s", (_, stream, expected) => {
    const log = new Log();
    log.append(inStream("old"));
    const append = newAppend([newEvent()], { expectations: [{ stream, expected }] });
    expect(log.append(append)).toMatchObject([{ kind: "appended" }]);
  });

  test.each([
    ["version 0 of a stream with events", "old", { kind: "version", version: 0 }, 1],
    ["a version it has not reached", "old", { kind: "version", version: 2 }, 1],
    ["that a missing stream exists", "new", { kind: "exists" }, 0],
    ["that an existing stream is absent", "old", { kind: "absent" }, 1],
  ] as const)("do not hold: %s", (_, stream, expected, actualVersion) => {
    const log = new Log();
    log.append(inStream("old"));
    const append = newAppend([newEvent()], { expectations: [{ stream, expected }] });
    const { outcomes, events } = log.decide([append]);
    const streams = [{ stream, expected, actualVersion }];
    expect(outcomes).toEqual([{ kind: "conflict", streams, conditions: [] }]);
    expect(events).toEqual([]);
  });

  test("all violations are listed, those of conditions too", () => {
    const log = new Log();
    log.append(inStream("a", { tags: ["t"] }), inStream("b"));
    const expectations = [
      { stream: "a", expected: { kind: "absent" } },
      { stream: "b", expected: { kind: "exists" } },
      { stream: "c", expected: { kind: "exists" } },
    ] as const;
    const conditions = [{ query: byTag("t"), after: 0 }];
    expect(log.append(newAppend([newEvent()], { expectations, conditions }))).toEqual([
      {
        kind: "conflict",
        streams: [
          { ...expectations[0], actualVersion: 1 },
          { ...expectations[2], actualVersion: 0 },
        ],
        conditions: [{ index: 0, position: 1, after: 0 }],
      },
    ]);
  });

  test("of several appends of one batch with the same expectation the first wins", () => {
    const log = new Log();
    const expectations = [{ stream: "a", expected: { kind: "version", version: 0 } }] as const;
    const racers = [1, 2, 3].map(() => newAppend([newEvent({ stream: "a" })], { expectations }));
    const outcomes = log.append(...racers);
    expect(outcomes.map(({ kind }) => kind)).toEqual(["appended", "conflict", "conflict"]);
    expect(outcomes[2]).toMatchObject({ streams: [{ actualVersion: 1 }] });
  });
});

describe("a condition", () => {
  test("looks only after its position", () => {
    const log = new Log();
    log.append(inStream("a", { tags: ["t"] }));
    const append = (after: number) =>
      newAppend([newEvent()], { conditions: [{ query: byTag("t"), after }] });
    expect(log.decide([append(1)]).outcomes).toMatchObject([{ kind: "appended" }]);
    expect(log.decide([append(0)]).outcomes).toMatchObject([{ conditions: [{ position: 1 }] }]);
  });

  test("sees what the batch accepted before, and not what comes after or was refused", () => {
    const log = new Log();
    const guarded = (tags: string[], watched: string) =>
      newAppend([newEvent({ tags })], { conditions: [{ query: byTag(watched), after: 0 }] });
    const outcomes = log.append(
      guarded([], "x"),
      guarded(["x"], "y"),
      guarded(["y"], "x"),
      guarded(["z"], "y"),
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual([
      "appended",
      "appended",
      "conflict",
      "appended",
    ]);
    expect(outcomes[2]).toMatchObject({ conditions: [{ position: 2, after: 0 }] });
  });

  test("after a position beyond the head is no condition on this store", () => {
    const log = new Log();
    log.append(inStream("a"));
    const expectations = [{ stream: "a", expected: { kind: "absent" } }] as const;
    const conditions = [{ query: byTag("t"), after: 2 }];
    const refused = newAppend([newEvent()], { expectations, conditions });
    // The append before it in the batch would make position 2, but nobody can have read it.
    expect(log.append(inStream("b"), refused)[1]).toEqual({
      kind: "beyond-head",
      field: "conditions[0].after",
      asked: 2,
      head: 1,
    });
  });
});

describe("an append whose ids are there", () => {
  const twice = () => {
    const events = [1, 2, 3].map((n) => newEvent({ id: idOf(n), stream: "s", data: `${n}` }));
    const log = new Log();
    const [first] = log.append(newAppend(events));
    return { log, events, first };
  };

  test("is answered with the original positions, whatever it expects now", () => {
    const { log, events, first } = twice();
    log.append(inStream("s"));
    const expectations = [{ stream: "s", expected: { kind: "version", version: 0 } }] as const;
    const conditions = [{ query: { items: [] }, after: 99 }];
    const { outcomes, events: stored } = log.decide(
      [newAppend(events, { expectations, conditions })],
      9_000,
    );
    expect(outcomes).toEqual([{ ...first, deduplicated: true }]);
    expect(stored).toEqual([]);
  });

  test("is a retry also within one batch", () => {
    const append = inStream("s", { id: idOf(1) });
    const [first, second] = new Log().append(append, append);
    expect(first).toMatchObject({ kind: "appended", deduplicated: false });
    expect(second).toEqual({ ...first, deduplicated: true });
  });

  test("is a retry also where it was recorded in several appends", () => {
    const log = new Log();
    const events = ["s", "t", "s"].map((stream, i) => newEvent({ id: idOf(i), stream }));
    const [one, two, three] = events.map((event) => newAppend([event]));
    log.append(one as Append);
    log.append(inStream("s"));
    log.append(two as Append, three as Append);
    expect(log.append(newAppend(events))).toMatchObject([
      {
        firstPosition: 1,
        lastPosition: 4,
        streams: [
          { stream: "s", firstVersion: 1, lastVersion: 3 },
          { stream: "t", firstVersion: 1, lastVersion: 1 },
        ],
        deduplicated: true,
      },
    ]);
  });

  test("with the metadata in another order is the same content", () => {
    const log = new Log();
    const sketch = { id: idOf(1), stream: "s" };
    log.append(inStream("s", { ...sketch, metadata: { a: "1", b: "2" } }));
    const retry = inStream("s", { ...sketch, metadata: { b: "2", a: "1" } });
    expect(log.append(retry)).toMatchObject([{ deduplicated: true }]);
  });

  test("with other content, in another stream, in part or in another order is refused", () => {
    const { log, events } = twice();
    const problems = (changed: NewEvent[]) => {
      const [outcome] = log.decide([newAppend(changed)]).outcomes;
      if (outcome?.kind !== "event-id-conflict") return outcome;
      return outcome.events.map(({ id, position, problem }) => [
        events.findIndex((event) => event.id === id),
        position,
        problem,
      ]);
    };
    const [a, b, c] = events as [NewEvent, NewEvent, NewEvent];
    const other = newEvent({ id: b.id, stream: "s", data: "other" });
    const moved = newEvent({ id: b.id, stream: "t", data: "2" });
    const made = newEvent({ idFromClient: false, stream: "s" });
    const [partly, order] = ["partly-recorded", "other-order"];
    expect(problems([other])).toEqual([[1, 2, "other-content"]]);
    expect(problems([moved])).toEqual([[1, 2, "other-stream"]]);
    expect(problems([a, other])).toEqual([
      [0, 1, partly],
      [1, 2, "other-content"],
    ]);
    expect(problems([a, b, newEvent()])).toEqual([
      [0, 1, partly],
      [1, 2, partly],
    ]);
    expect(problems([made, c])).toEqual([[2, 3, partly]]);
    expect(problems([a, c, b])).toEqual([
      [0, 1, order],
      [2, 3, order],
      [1, 2, order],
    ]);
  });

  test("where the server made the id is a new one: nobody can retry it", () => {
    const append = inStream("s", { id: idOf(1), idFromClient: false });
    const log = new Log();
    expect(log.append(append, append)).toMatchObject([
      { firstPosition: 1, deduplicated: false },
      { firstPosition: 2, deduplicated: false },
    ]);
  });
});

test("facts that leave out a stream are a fault, never an empty stream", () => {
  const head = { position: 0, recordedAt: 0 };
  const nothing = { versions: new Map(), lifecycles: new Map(), events: new Map(), matches: [] };
  const batch = { facts: { head, ...nothing }, appends: [inStream("a")], now: 1, idChance: 0 };
  expect(() => decideBatch(batch)).toThrow("invariant");
});

describe("a commit batch is decided as its appends would be, one at a time", () => {
  test("generated commit batches of generated appends", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(contendedAppend, { maxLength: 6 }), { maxLength: 5 }),
        (batches) => {
          const log = new Log();
          const model = new NaiveLog();
          for (const [i, appends] of batches.entries()) {
            const { outcomes, events } = log.decide(appends, i * 10);
            const durable = model.events.length;
            const expected = appends.map((each) => model.append(each, durable, i * 10));
            expect(outcomes.map(unsaid)).toEqual(expected.map(unsaid));
            expect(outcomes.filter((outcome, j) => model.lies(appends[j], outcome))).toEqual([]);
            log.store(events);
            expect(log.events.map(({ id, position }) => [id, position])).toEqual(
              model.events.map(({ id, position }) => [id, position]),
            );
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  /** An outcome without the position that may be any. */
  function unsaid(outcome: Outcome): unknown {
    if (outcome.kind !== "conflict") return outcome;
    return { ...outcome, conditions: outcome.conditions.map(({ index, after }) => [index, after]) };
  }
});
