// Live delivery by one loop: who waits at the head is given what is new, once and without asking.
import { describe, expect, test } from "vitest";
import type { SubscribeRequest } from "../../../src/log/event-log.ts";
import { Scheduler } from "../../../src/log/scheduling/scheduler.ts";
import { deleteStream } from "../../support/lifecycles.ts";
import type { createModelStorage } from "../../support/model-storage.ts";
import { appendAll, appendOf, openLog, settled, Subscriber, type OpenOptions } from "../harness.ts";

const yes = (): boolean => true;

/** Subscribers that have had one event, and wait for the next message. */
async function live(
  count: number,
  options: OpenOptions & { takes?: () => boolean; request?: Partial<SubscribeRequest> } = {},
) {
  const opened = openLog(options);
  const { takes = yes, request } = options;
  const subscribers = Array.from(
    { length: count },
    () => new Subscriber(opened.log, request, takes),
  );
  for (const subscriber of subscribers) await subscriber.drain();
  // The first one waited alone.
  await appendAll(opened.log, { stream: "a" });
  for (const subscriber of subscribers) await subscriber.drain();
  return { ...opened, subscribers };
}

/** Subscribers each of whom takes so long to take a batch. */
async function slow(count: number, ms: number) {
  let take = (): void => {};
  const takes = (): boolean => {
    take();
    return true;
  };
  const opened = await live(count, { takes });
  await opened.timers.pass(10);
  take = () => opened.timers.tick(ms);
  return opened;
}

function reads({ storage }: { storage: ReturnType<typeof createModelStorage> }) {
  const seen = { count: 0 };
  storage.control.beforeBatch = () => {
    seen.count++;
  };
  return seen;
}

describe("what is new", () => {
  test("is read once and given to all, who need not ask again", async () => {
    const { log, storage, timers, subscribers } = await live(100);
    const seen = reads({ storage });
    for (let i = 1; i <= 3; i++) {
      await log.append(appendOf({}, {}));
      await settled();
      await timers.pass(10);
      expect(seen.count).toBe(i);
    }
    const batches = new Set(subscribers.map(({ messages }) => JSON.stringify(messages.slice(2))));
    expect(batches.size).toBe(1);
    for (const { positions } of subscribers) expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("comes as a message to one that takes nothing, who waits with the others again", async () => {
    let takes = false;
    const { log, subscribers } = await live(3, { takes: () => takes });
    await appendAll(log, {});
    for (const subscriber of subscribers) expect(await subscriber.drain()).toEqual(["2"]);
    takes = true;
    await appendAll(log, {});
    await settled();
    for (const { positions } of subscribers) expect(positions).toEqual([1, 2, 3]);
  });

  test("is given to the subscriptions of one connection, one behind the other", async () => {
    const { log } = openLog();
    const gates = [new Scheduler().gateOf({}), new Scheduler().gateOf({})];
    const order: number[] = [];
    const request = {
      selection: { kind: "all" },
      start: { kind: "after-position", position: 0 },
      checkpointIntervalMs: 1_000,
    } as const;
    for (let i = 0; i < 20; i++) {
      const offer = (): boolean => order.push(i % 2) > 0;
      const { signal } = new AbortController();
      const messages = log.subscribe(request, signal, gates[i % 2], offer);
      void (async () => {
        for await (const _ of messages);
      })();
    }
    for (let i = 0; i < 3; i++) {
      order.length = 0;
      await appendAll(log, {});
      await settled();
    }
    expect(order.length).toBe(20);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test("is several batches where it is more than one", async () => {
    const { log, timers, subscribers } = await live(40, { limits: { batchBytesMax: 1 } });
    await log.append(appendOf({}, {}, {}));
    await timers.pass(10);
    for (const { messages, positions } of subscribers) {
      expect(positions).toEqual([1, 2, 3, 4]);
      expect(messages.slice(-3).map(({ kind }) => kind)).toEqual(["batch", "batch", "batch"]);
    }
  });

  test("is asked for by one that takes the first of several batches alone", async () => {
    let left = 0;
    const takes = (): boolean => left-- > 0;
    const { log, subscribers } = await live(2, { limits: { batchBytesMax: 1 }, takes });
    left = 3;
    await log.append(appendOf({}, {}, {}));
    const [one, other] = await Promise.all(subscribers.map((subscriber) => subscriber.drain()));
    expect(one).toEqual(["2", "3", "4"]);
    expect(other).toEqual(["2", "fell-behind 2", "3", "4", "caught-up 4"]);
    for (const { positions } of subscribers) expect(positions).toEqual([1, 2, 3, 4]);
  });

  test("is not what was removed while others were given it", async () => {
    const { log, storage, timers, subscribers } = await live(1_000);
    let taken = 0;
    for (const subscriber of subscribers) {
      const { push } = subscriber.messages;
      subscriber.messages.push = (...messages) => {
        if (++taken === 10) void deleteStream(storage, "a");
        return push.apply(subscriber.messages, messages);
      };
    }
    await log.append(appendOf({ stream: "a" }, { stream: "b" }));
    await timers.pass(10);
    const counts = subscribers.map(({ positions }) => positions.join(" "));
    expect(new Set(counts)).toEqual(new Set(["1 2 3", "1 3"]));
    expect(counts.filter((positions) => positions === "1 2 3").length).toBeLessThan(1_000);
  });
});

describe("where giving takes time", () => {
  test("what comes meanwhile, and for as long again, is one batch", async () => {
    const { log, timers, subscribers } = await slow(40, 0.125);
    const given = (): Set<number> => new Set(subscribers.map(({ messages }) => messages.length));
    const [before = 0] = given();
    await log.append(appendOf({}));
    await settled();
    expect(given()).toEqual(new Set([before + 1]));
    // It took 5 ms, and rests for 5 ms.
    for (let i = 0; i < 3; i++) {
      await log.append(appendOf({}, {}));
      await settled();
      await timers.pass(1);
    }
    expect(given()).toEqual(new Set([before + 1]));
    await timers.pass(3);
    expect(given()).toEqual(new Set([before + 2]));
    for (const { positions } of subscribers) expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(timers.waitingCount).toBeGreaterThan(0);
  });

  test("a stop during the rest ends all of them", async () => {
    const { log, subscribers } = await slow(40, 1);
    await log.append(appendOf({}));
    await settled();
    await log.stop();
    for (const subscriber of subscribers) {
      await subscriber.pull();
      expect(subscriber.error).toMatchObject({ failure: { reason: "STOPPING" } });
    }
  });
});

describe("beside the loop", () => {
  test("signs of life come after a silence, which a delivery ends", async () => {
    const request = { checkpointIntervalMs: 500 };
    const { log, timers, subscribers } = await live(2, { request });
    await timers.pass(400);
    await appendAll(log, {});
    await settled();
    await timers.pass(400);
    for (const { messages } of subscribers) expect(messages.length).toBe(3);
    await timers.pass(100);
    for (const subscriber of subscribers) {
      expect(await subscriber.drain()).toEqual(["2", "checkpoint 2"]);
    }
    await appendAll(log, {});
    await settled();
    for (const { positions } of subscribers) expect(positions).toEqual([1, 2, 3]);
  });

  test("subscriptions are counted once, and leave nothing", async () => {
    const stream = { kind: "stream", stream: "a" } as const;
    const { log, timers, subscribers } = await live(20, { request: { selection: stream } });
    await appendAll(log, { stream: "a" });
    await settled();
    expect(log.info().subscriberCount).toBe(20);
    expect(await log.getStream("a")).toMatchObject({ subscriberCount: 20 });
    for (const subscriber of subscribers) await subscriber.cancel();
    await settled();
    expect(log.info().subscriberCount).toBe(0);
    expect(await log.getStream("a")).toMatchObject({ subscriberCount: 0 });
    expect(timers.waitingCount).toBe(0);
  });

  test("a stop ends all of them with STOPPING", async () => {
    const { log, subscribers } = await live(3);
    await log.stop();
    for (const subscriber of subscribers) {
      await subscriber.pull();
      expect(subscriber.error).toMatchObject({ failure: { reason: "STOPPING" } });
    }
  });

  test("what cannot be read ends each of them with the reason", async () => {
    const { log, storage, subscribers } = await live(3);
    storage.control.beforeBatch = () => Promise.reject(new Error("unreadable"));
    await appendAll(log, {});
    for (const subscriber of subscribers) {
      await subscriber.drain();
      expect(subscriber.error).toMatchObject({ message: "unreadable" });
    }
    expect(log.info().subscriberCount).toBe(0);
  });
});
