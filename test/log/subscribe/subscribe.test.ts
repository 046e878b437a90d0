// Subscribe: one cursor that catches up, waits, and falls behind; words at the right moments; every
// matching event once and in order under generated interleavings; nothing left behind at the end.
import { getEventListeners } from "node:events";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { selects, type Selection } from "../../../src/domain/query.ts";
import type { SubscribeRequest, SubscribeStart } from "../../../src/log/event-log.ts";
import {
  arbitraryEvent,
  arbitrarySelection,
  commitEvents,
  newAppend,
  newEvent,
} from "../../support/events.ts";
import { deleteStream } from "../../support/lifecycles.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import {
  appendAll,
  appendOf,
  openLog,
  settled,
  Subscriber,
  subscriptionFaults,
} from "../harness.ts";

const streamA: Selection = { kind: "stream", stream: "a" };

describe("catching up and live", () => {
  test("what is there comes first, then caught-up, then each event in time", async () => {
    const { log } = openLog();
    await appendAll(log, {}, {});
    const subscriber = new Subscriber(log);
    expect(await subscriber.drain()).toEqual(["1 2", "caught-up 2"]);
    await appendAll(log, {});
    expect(await subscriber.drain()).toEqual(["3"]);
    await log.append(appendOf({}, {}));
    expect(await subscriber.drain()).toEqual(["4 5"]);
  });

  test("only events of the selection arrive, with their stream yet to be made", async () => {
    const { log } = openLog();
    const subscriber = new Subscriber(log, { selection: streamA });
    expect(await subscriber.drain()).toEqual(["caught-up 0"]);
    await appendAll(log, { stream: "b" }, { stream: "a" }, { stream: "b" });
    expect(await subscriber.drain()).toEqual(["2"]);
  });

  test("more than a batch at a time is fallen behind, until the head is reached", async () => {
    const { log } = openLog();
    const subscriber = new Subscriber(log, { batchEventsMax: 2 });
    await subscriber.drain();
    await log.append(appendOf({}, {}));
    expect(await subscriber.drain()).toEqual(["1 2"]);
    await log.append(appendOf({}, {}, {}, {}, {}));
    expect(await subscriber.drain()).toEqual(["fell-behind 2", "3 4", "5 6", "7", "caught-up 7"]);
  });

  test("what was removed while a slow consumer was told that it fell behind does not come", async () => {
    const { log, storage } = openLog({ limits: { batchBytesMax: 1 } });
    const subscriber = new Subscriber(log);
    await subscriber.drain();
    await log.append(appendOf({ stream: "a" }, { stream: "a" }, { stream: "b" }));
    await subscriber.pull();
    await deleteStream(storage, "a");
    expect(await subscriber.drain()).toEqual(["fell-behind 0", "3", "caught-up 4"]);
  });

  test("a consumer that stands still holds nothing back and misses nothing", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    const subscriber = new Subscriber(log);
    await subscriber.drain();
    await appendAll(log, {});
    await subscriber.pull();
    await appendAll(log, {}, {}, {});
    expect(await subscriber.drain()).toEqual(["1", "fell-behind 1", "2", "3", "4", "caught-up 4"]);
  });

  test("a batch without events is no second batch", async () => {
    const { log } = openLog({ storage: createModelStorage({ batchScanMax: 1 }) });
    const subscriber = new Subscriber(log, { selection: streamA });
    await subscriber.drain();
    await log.append(appendOf({ stream: "a" }, { stream: "b" }, { stream: "b" }));
    expect(await subscriber.drain()).toEqual(["1"]);
  });

  test("events that another node appended are found as well", async () => {
    const { log, storage } = openLog();
    const subscriber = new Subscriber(log, { selection: streamA });
    await subscriber.drain();
    storage.control.failNextCommit("there", "held");
    await expect(log.append(appendOf({ stream: "a" }))).rejects.toBeInstanceOf(AnnalsError);
    expect(await subscriber.drain()).toEqual([]);
    storage.control.recover();
    expect(await subscriber.drain()).toEqual(["1"]);
  });
});

describe("the start", () => {
  const from = async (start: SubscribeStart, selection: Selection = { kind: "all" }) => {
    const { log, storage } = openLog();
    for (const time of [10, 20, 30]) {
      await commitEvents(storage, [newEvent({ stream: "a" }), newEvent({ stream: "b" })], time);
    }
    const subscriber = new Subscriber(log, { start, selection });
    const messages = await subscriber.drain();
    return { log, storage, subscriber, messages };
  };

  test.each<[string, SubscribeStart, string[]]>([
    ["after 0", { kind: "after-position", position: 0 }, ["1 2 3 4 5 6", "caught-up 6"]],
    ["after a position", { kind: "after-position", position: 4 }, ["5 6", "caught-up 6"]],
    ["after the head", { kind: "after-position", position: 6 }, ["caught-up 6"]],
    ["at a time that several share", { kind: "from-time", time: 20 }, ["3 4 5 6", "caught-up 6"]],
    ["at a time between", { kind: "from-time", time: 21 }, ["5 6", "caught-up 6"]],
    ["at the end", { kind: "end" }, ["caught-up 6"]],
  ])("%s", async (_, start, expected) => {
    expect((await from(start)).messages).toEqual(expected);
  });

  test.each<[number, string[]]>([
    [0, ["1 3 5", "caught-up 6"]],
    [1, ["3 5", "caught-up 6"]],
    [3, ["caught-up 6"]],
  ])("after version %i of a stream", async (version, expected) => {
    expect((await from({ kind: "after-version", version }, streamA)).messages).toEqual(expected);
  });

  test.each<[string, SubscribeStart, Selection, object]>([
    [
      "a position",
      { kind: "after-position", position: 7 },
      { kind: "all" },
      { field: "after_position", asked: 7, head: 6 },
    ],
    [
      "a version",
      { kind: "after-version", version: 4 },
      streamA,
      { field: "after_version", asked: 4, head: 3 },
    ],
    [
      "a version of a stream without events",
      { kind: "after-version", version: 1 },
      { kind: "stream", stream: "none" },
      { field: "after_version", asked: 1, head: 0 },
    ],
  ])("after %s that does not exist is refused", async (_, start, selection, failure) => {
    const { subscriber, log } = await from(start, selection);
    expect(subscriber.error).toMatchObject({ failure: { reason: "BEYOND_HEAD", ...failure } });
    expect(log.info().subscriberCount).toBe(0);
  });

  test("the end is that of the call, not of the first pull", async () => {
    const { log } = openLog();
    await appendAll(log, {});
    const subscriber = new Subscriber(log, { start: { kind: "end" } });
    await appendAll(log, {});
    expect(await subscriber.drain()).toEqual(["2", "caught-up 2"]);
  });

  test("a time to come passes over what is recorded before it", async () => {
    const { log, storage, subscriber, messages } = await from({ kind: "from-time", time: 50 });
    expect(messages).toEqual(["caught-up 6"]);
    await commitEvents(storage, [newEvent()], 49);
    expect(await subscriber.drain()).toEqual([]);
    await commitEvents(storage, [newEvent()], 50);
    await appendAll(log, {});
    expect((await subscriber.drain()).join(" ")).toBe("8 9");
  });
});

describe("signs of life", () => {
  test("a silent subscription says where it is, and that is the head", async () => {
    const { log, timers } = openLog();
    const subscriber = new Subscriber(log, { selection: streamA, checkpointIntervalMs: 500 });
    expect(await subscriber.drain()).toEqual(["caught-up 0"]);
    await appendAll(log, { stream: "b" }, { stream: "b" });
    await timers.pass(499);
    expect(await subscriber.drain()).toEqual([]);
    await timers.pass(1);
    expect(await subscriber.drain()).toEqual(["checkpoint 2"]);
    await timers.pass(500);
    expect(await subscriber.drain()).toEqual(["checkpoint 2"]);
  });

  test("events are signs of life too", async () => {
    const { log, timers } = openLog();
    const subscriber = new Subscriber(log, { checkpointIntervalMs: 500 });
    await subscriber.drain();
    await timers.pass(400);
    await appendAll(log, {});
    expect(await subscriber.drain()).toEqual(["1"]);
    await timers.pass(400);
    expect(await subscriber.drain()).toEqual([]);
    await timers.pass(100);
    expect(await subscriber.drain()).toEqual(["checkpoint 1"]);
  });

  test("a long scan that finds nothing says how far it is", async () => {
    const { log, storage, timers } = openLog({ storage: createModelStorage({ batchScanMax: 2 }) });
    await log.append(appendOf({}, {}, {}, {}, {}, {}));
    storage.control.beforeBatch = () => timers.tick(60);
    const subscriber = new Subscriber(log, { selection: streamA, checkpointIntervalMs: 100 });
    expect(await subscriber.drain()).toEqual(["checkpoint 4", "caught-up 6"]);
  });

  test("no sign of life goes ahead of a batch that waits for the one after it", async () => {
    const { log, storage, timers } = openLog({ storage: createModelStorage({ batchScanMax: 1 }) });
    const subscriber = new Subscriber(log, { selection: streamA, checkpointIntervalMs: 100 });
    await subscriber.drain();
    storage.control.beforeBatch = () => timers.tick(60);
    await log.append(appendOf(...["a", "b", "b", "b", "a"].map((stream) => ({ stream }))));
    const messages = await subscriber.drain();
    expect(messages).toEqual(["fell-behind 0", "1", "checkpoint 3", "5", "caught-up 5"]);
  });

  test("words carry the server's time", async () => {
    const { log } = openLog({ clock: () => 77 });
    const subscriber = new Subscriber(log);
    await subscriber.drain();
    expect(subscriber.messages).toEqual([{ kind: "caught-up", position: 0, time: 77 }]);
  });
});

describe("the end of a subscription", () => {
  test("comes promptly with its signal, wherever it is", async () => {
    const { log, storage } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, {}, {}, {});
    const waiting = new Subscriber(log, { start: { kind: "end" } });
    await waiting.drain();
    void waiting.pull();
    const catchingUp = new Subscriber(log);
    await catchingUp.pull();
    const unread = new Subscriber(log);
    for (const { abort } of [waiting, catchingUp, unread]) abort.abort();
    storage.control.beforeBatch = () => Promise.reject(new Error("read on"));
    for (const subscriber of [waiting, catchingUp, unread]) {
      await subscriber.pull();
      expect([subscriber.ended, subscriber.error]).toEqual([true, undefined]);
    }
    expect(log.info().subscriberCount).toBe(0);
  });

  test("comes with STOPPING for all when the log stops, and for newcomers", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, {}, {});
    const waiting = new Subscriber(log, { start: { kind: "end" } });
    await waiting.drain();
    void waiting.pull();
    const catchingUp = new Subscriber(log);
    await catchingUp.pull();
    await log.stop();
    const newcomer = new Subscriber(log);
    for (const subscriber of [waiting, catchingUp, newcomer]) {
      await subscriber.pull();
      expect(subscriber.error).toMatchObject({ failure: { reason: "STOPPING" } });
    }
    expect(log.info().subscriberCount).toBe(0);
  });

  test("comes with what the engine throws", async () => {
    const { log, storage } = openLog();
    await appendAll(log, {});
    storage.control.beforeBatch = () => Promise.reject(new Error("unreadable"));
    const subscriber = new Subscriber(log);
    await subscriber.drain();
    expect(subscriber.error).toMatchObject({ message: "unreadable" });
    expect(log.info().subscriberCount).toBe(0);
  });

  test("of ten thousand leaves no timer, no listener and no interest", async () => {
    const { log, timers } = openLog();
    await appendAll(log, { stream: "a" });
    const selections: Selection[] = [
      { kind: "all" },
      streamA,
      { kind: "query", query: { items: [item({ streamPrefixes: ["a"] })] } },
      { kind: "query", query: { items: [item({ types: ["T"] }), item({ tags: ["t"] })] } },
    ];
    const subscribers = Array.from({ length: 10_000 }, (_, i) => {
      return new Subscriber(log, { selection: selections[i % 4] as Selection });
    });
    for (let i = 0; i < 3; i++) for (const subscriber of subscribers) void subscriber.pull();
    await waitUntil(() => timers.waitingCount === 10_000, subscribers);
    expect(log.info().subscriberCount).toBe(10_000);
    expect(await log.getStream("a")).toMatchObject({ subscriberCount: 2_500 });
    for (const { abort } of subscribers) abort.abort();
    for (const subscriber of subscribers) while (!subscriber.ended) await subscriber.pull();
    expect(log.info().subscriberCount).toBe(0);
    expect(timers.waitingCount).toBe(0);
    const left = subscribers.map(({ abort }) => getEventListeners(abort.signal, "abort").length);
    expect(left.every((count) => count === 0)).toBe(true);
    expect(await log.getStream("a")).toMatchObject({ subscriberCount: 0 });
  });

  function item(parts: object) {
    return { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [], ...parts };
  }

  /** Pulls everybody until it is so. */
  async function waitUntil(isSo: () => boolean, subscribers: Subscriber[]): Promise<void> {
    while (!isSo()) {
      for (const subscriber of subscribers) void subscriber.pull();
      await settled();
    }
  }
});

describe("generated interleavings", () => {
  const requestOf = (selections: readonly Selection[]): fc.Arbitrary<Partial<SubscribeRequest>> =>
    fc.record({
      selection: fc.constantFrom(...selections),
      batchEventsMax: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      checkpointIntervalMs: fc.constantFrom(100, 400),
      start: fc.constantFrom<SubscribeStart>(
        { kind: "after-position", position: 0 },
        { kind: "from-time", time: 0 },
      ),
    });
  /** Undefined: nothing is offered to it; else what it says to offers, over and over. */
  const arbitraryTaking = fc.option(fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }), {
    nil: undefined,
  });
  const takes = (said: readonly boolean[] | undefined) => {
    let at = 0;
    return said && (() => said[at++ % said.length] === true);
  };
  const groups = fc.array(fc.array(arbitraryEvent, { minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 6,
  });

  test("every matching event once and in order; no word goes ahead of an event", async () => {
    const requests = fc
      .array(arbitrarySelection, { minLength: 1, maxLength: 2 })
      .chain((selections) =>
        fc.array(fc.tuple(requestOf(selections), arbitraryTaking), { minLength: 1, maxLength: 5 }),
      );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), groups, requests, async (s, all, asked) => {
        const storage = createModelStorage({ batchScanMax: 2 });
        const { log, timers } = openLog({ storage, limits: { commitEventsMax: 5 } });
        storage.control.beforeCommit = () => s.schedule(Promise.resolve(), "commit");
        storage.control.beforeBatch = () => s.schedule(Promise.resolve(), "batch");
        const subscribers = asked.map(
          ([request, said]) => new Subscriber(log, request, takes(said)),
        );
        const pulls = subscribers.map(async (subscriber) => {
          while (!subscriber.ended) {
            await s.schedule(Promise.resolve(), "pull");
            await subscriber.pull();
          }
        });
        const appends = all.map(async (events) => {
          await s.schedule(Promise.resolve(), "append");
          await log.append(newAppend(events));
        });
        const ticks = [1, 2, 3].map(() =>
          s.schedule(Promise.resolve(), "tick").then(() => timers.tick(150)),
        );
        const finished = async () => {
          await Promise.all([...appends, ...ticks]);
          for (let heard = -1; heard < count(subscribers);) {
            heard = count(subscribers);
            await settled();
          }
          for (const { abort } of subscribers) abort.abort();
          await Promise.all(pulls);
        };
        await s.waitFor(finished());
        for (const [i, { messages, positions }] of subscribers.entries()) {
          const selection = asked[i]?.[0].selection as Selection;
          const matching = storage.data.events
            .filter((event) => selects(selection, event))
            .map(({ position }) => position);
          expect(subscriptionFaults(messages, matching)).toEqual([]);
          expect(positions).toEqual(matching);
        }
        expect(log.info().subscriberCount).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  function count(subscribers: readonly Subscriber[]): number {
    return subscribers.reduce((sum, { messages }) => sum + messages.length, 0);
  }
});
