// Interests decide which subscribers an advance wakes: all that can use the new events, and no
// others. A subscriber that is not woken costs nothing.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PlacedEvent } from "../../../src/domain/event.ts";
import { selects, type Selection } from "../../../src/domain/query.ts";
import { InterestIndex, Interests, type Interest } from "../../../src/log/subscribe/interest.ts";
import type { Advance } from "../../../src/storage/storage.ts";
import { arbitraryEvent, arbitrarySelection, newEvent, placeEvents } from "../../support/events.ts";
import { ManualTimers, settled } from "../harness.ts";

const never = new AbortController().signal;
const streamA: Selection = { kind: "stream", stream: "a" };
const arbitraryEvents = fc.array(arbitraryEvent, { minLength: 1, maxLength: 5 });

function open(position = 0): { interests: Interests; timers: ManualTimers } {
  const timers = new ManualTimers();
  return { interests: new Interests(position, timers), timers };
}

function advanceBy(interests: Interests, ...streams: string[]): void {
  interests.advanced(
    advanceOf(
      interests.headPosition,
      streams.map((stream) => newEvent({ stream })),
    ),
  );
}

function advanceOf(
  after: number,
  events: Parameters<typeof placeEvents>[0],
): Advance & {
  readonly events: PlacedEvent[];
} {
  const from = { position: after, recordedAt: after };
  const to = { position: after + events.length, recordedAt: after + 1 };
  return { from, to, events: placeEvents(events, from, new Map(), to.recordedAt) };
}

/** An interest that waits; tells whether it still does. */
function waiting(interests: Interests, selection: Selection, ms = 1e6) {
  const interest = interests.add(selection, never);
  interest.look();
  const state = { interest, awake: false };
  void interest.wait(ms).then(() => (state.awake = true));
  return state;
}

describe("the index", () => {
  test("finds every selection that selects an event, whatever was filed and removed", () => {
    const selections = fc.array(fc.tuple(arbitrarySelection, fc.boolean()), { maxLength: 12 });
    fc.assert(
      fc.property(selections, arbitraryEvents, (filed, events) => {
        const index = new InterestIndex<Selection>();
        const entries = filed.map(([selection, stays]) => ({ selection: { ...selection }, stays }));
        for (const { selection } of entries) index.add(selection, index.filingsOf(selection));
        for (const { selection, stays } of entries) {
          if (!stays) index.delete(selection, index.filingsOf(selection));
        }
        for (const event of events) {
          const found = new Set(index.candidates(event).flatMap((set) => [...set]));
          for (const { selection, stays } of entries) {
            if (stays && selects(selection, event)) expect(found).toContain(selection);
            if (!stays) expect(found).not.toContain(selection);
          }
        }
        for (const { selection } of entries) index.delete(selection, index.filingsOf(selection));
        expect(index.termCount).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test("does not look at those on other streams, prefixes, types or tags", () => {
    const index = new InterestIndex<number>();
    const item = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };
    const query = (parts: object): Selection => ({
      kind: "query",
      query: { items: [{ ...item, ...parts }] },
    });
    for (let i = 0; i < 100; i++) {
      const selections: Selection[] = [
        { kind: "stream", stream: `order-${i}` },
        query({ streams: [`order-${i}`], types: ["Placed"] }),
        query({ streamPrefixes: [`order-${i}:`] }),
        query({ tags: [`customer:${i}`], types: ["Placed"] }),
        query({ types: [`Placed${i}`] }),
      ];
      for (const selection of selections) index.add(i, index.filingsOf(selection));
    }
    const tags = ["customer:9"];
    const event = newEvent({ stream: "order-7:x", type: "Placed", tags });
    expect(index.candidates(event).map((set) => [...set])).toEqual([[7], [9]]);
  });
});

describe("an advance", () => {
  test("marks exactly those it concerns, with where their next event may be", () => {
    const selections = fc.array(arbitrarySelection, { maxLength: 10 });
    fc.assert(
      fc.property(selections, fc.array(arbitraryEvents, { maxLength: 3 }), (all, groups) => {
        const { interests } = open(7);
        const opened = all.map((selection) => interests.add(selection, never));
        for (const interest of opened) expect(interest.look()).toBe(7);
        const events: PlacedEvent[] = [];
        for (const group of groups) {
          const advance = advanceOf(interests.headPosition, group);
          interests.advanced(advance);
          events.push(...advance.events);
        }
        const head = interests.headPosition;
        expect(head).toBe(7 + events.length);
        for (const interest of opened) {
          const first = events.find((event) => selects(interest.selection, event));
          expect(interest.isMarked).toBe(first !== undefined);
          expect(interest.quietThrough).toBe(first === undefined ? head : first.position - 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("of events that are not known marks everybody", () => {
    const { interests } = open();
    const interest = interests.add(streamA, never);
    interest.look();
    interests.advanced({
      from: { position: 0, recordedAt: 0 },
      to: { position: 3, recordedAt: 1 },
    });
    expect([interest.isMarked, interest.quietThrough, interests.headPosition]).toEqual([
      true,
      0,
      3,
    ]);
    expect([interest.look(), interest.isMarked, interest.quietThrough]).toEqual([3, false, 3]);
  });

  test("that does not join the last one marks everybody from there", () => {
    const { interests } = open(2);
    const interest = interests.add(streamA, never);
    interest.look();
    interests.advanced(advanceOf(5, [newEvent({ stream: "b" })]));
    expect([interest.isMarked, interest.quietThrough]).toEqual([true, 2]);
  });

  test("while an interest reads is remembered for when it has read", async () => {
    const { interests } = open();
    const interest = interests.add(streamA, never);
    expect(interest.isMarked).toBe(true);
    expect(interest.look()).toBe(0);
    advanceBy(interests, "b", "a", "a");
    expect([interest.isMarked, interest.quietThrough]).toEqual([true, 1]);
    expect(interest.look()).toBe(3);
    advanceBy(interests, "b");
    expect([interest.isMarked, interest.quietThrough]).toEqual([false, 4]);
  });
});

describe("a wait", () => {
  test("ends for those concerned and for no others", async () => {
    const { interests } = open();
    const [a, b] = [
      waiting(interests, streamA),
      waiting(interests, { kind: "stream", stream: "b" }),
    ];
    advanceBy(interests, "a");
    await settled();
    expect([a.awake, b.awake]).toEqual([true, false]);
  });

  test("ends after its time, and leaves no timer when it ends before", async () => {
    const { interests, timers } = open();
    const [slow, fast] = [
      waiting(interests, streamA, 100),
      waiting(interests, { kind: "all" }, 100),
    ];
    advanceBy(interests, "b");
    await settled();
    expect([slow.awake, fast.awake, timers.waitingCount]).toEqual([false, true, 1]);
    await timers.pass(100);
    expect([slow.awake, timers.waitingCount]).toEqual([true, 0]);
  });

  test("ends when its signal aborts, when all stops, and when it is closed", async () => {
    const { interests, timers } = open();
    const controller = new AbortController();
    const aborted = interests.add(streamA, controller.signal);
    const woken: string[] = [];
    void aborted.wait(1e6).then(() => woken.push("aborted"));
    controller.abort();
    const closed = waiting(interests, streamA);
    closed.interest.close();
    const stopped = waiting(interests, streamA);
    interests.stop();
    await settled();
    expect([woken, closed.awake, stopped.awake]).toEqual([["aborted"], true, true]);
    aborted.close();
    stopped.interest.close();
    expect([interests.footprint, timers.waitingCount]).toEqual([0, 0]);
  });

  test("of many ends in slices, and the next time a little later, all together", async () => {
    const { interests, timers } = open();
    const all: { interest: Interest; awake: boolean }[] = [];
    for (let i = 0; i < 300; i++) all.push(waiting(interests, { kind: "all" }));
    const awakeCount = () => all.filter(({ awake }) => awake).length;
    advanceBy(interests, "a");
    await new Promise((resolve) => setImmediate(resolve));
    expect(awakeCount()).toBe(128);
    await settled();
    expect(awakeCount()).toBe(300);
    for (const state of all) {
      state.awake = false;
      state.interest.look();
      void state.interest.wait(1e6).then(() => (state.awake = true));
    }
    advanceBy(interests, "a");
    advanceBy(interests, "a");
    await settled();
    expect(awakeCount()).toBe(0);
    await timers.pass(4);
    expect(awakeCount()).toBe(300);
  });

  test("of few ends at once, however fast the appends", async () => {
    const { interests } = open();
    for (let i = 0; i < 3; i++) {
      const one = waiting(interests, streamA);
      advanceBy(interests, "a");
      await new Promise((resolve) => setImmediate(resolve));
      expect(one.awake).toBe(true);
      one.interest.close();
    }
  });
});

test("ten thousand idle interests cost an append some look-ups, not a visit each", () => {
  const { interests } = open();
  let asked = 0;
  for (let i = 0; i < 10_000; i++) {
    const selection = {
      kind: "stream",
      get stream() {
        asked++;
        return `idle-${i}`;
      },
    } as const;
    interests.add(selection, never).look();
  }
  asked = 0;
  for (let i = 0; i < 100; i++) advanceBy(interests, "busy-1", "busy-2");
  expect(asked).toBe(0);
  advanceBy(interests, "idle-7");
  expect(asked).toBe(1);
});
