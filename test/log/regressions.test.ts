// Faults that other event stores shipped, each with its number there, and why this one has not got
// it. Those of the disk have their tests with the engine.
import { describe, expect, test } from "vitest";
import type { Selection } from "../../src/domain/query.ts";
import { createModelStorage } from "../support/model-storage.ts";
import { idOf } from "../support/events.ts";
import { appendAll, appendOf, openLog, readAll, settled, Subscriber } from "./harness.ts";

const streamA: Selection = { kind: "stream", stream: "a" };

/** Holds every commit, before anything of it is visible, until `release`. */
function openHeld() {
  const opened = openLog();
  const held: (() => void)[] = [];
  opened.storage.control.afterCommit = () => new Promise<void>((resolve) => held.push(resolve));
  return { ...opened, release: () => held.shift()?.() };
}

describe("checkpoints", () => {
  test("Kurrent #4970: resuming after any word of a subscription skips no event", async () => {
    const { log, timers } = openLog({ storage: createModelStorage({ batchScanMax: 1 }) });
    const subscriber = new Subscriber(log, { selection: streamA, checkpointIntervalMs: 100 });
    for (const stream of ["b", "a", "b", "b", "a", "b"]) {
      await subscriber.drain();
      await timers.pass(100);
      await subscriber.drain();
      await appendAll(log, { stream });
    }
    await timers.pass(100);
    await subscriber.drain();
    const words = subscriber.messages.flatMap((each) => (each.kind === "batch" ? [] : [each]));
    expect(words.map(({ position }) => position)).toContain(4);
    for (const { position } of words) {
      const start = { kind: "after-position", position } as const;
      const resumed = new Subscriber(log, { selection: streamA, start });
      await resumed.drain();
      expect(resumed.positions).toEqual([2, 5].filter((each) => each > position));
    }
  });

  test("Eventuous #222, Marten #1629: no word runs ahead of a commit in flight", async () => {
    const { log, timers, release } = openHeld();
    const subscriber = new Subscriber(log, { selection: streamA, checkpointIntervalMs: 100 });
    expect(await subscriber.drain()).toEqual(["caught-up 0"]);
    const appends = [appendOf({ stream: "b" }, { stream: "a" }), appendOf({ stream: "a" })];
    const answers = Promise.all(appends.map((append) => log.append(append)));
    await timers.pass(100);
    expect(await subscriber.drain()).toEqual(["checkpoint 0"]);
    expect((await readAll(log.read({ selection: streamA, direction: "forwards" }))).end).toEqual({
      head: 0,
      after: 0,
      eventCount: 0,
      streamVersion: 0,
    });
    release();
    await answers;
    expect(await subscriber.drain()).toEqual(["2 3"]);
    await timers.pass(100);
    expect(await subscriber.drain()).toEqual(["checkpoint 3"]);
  });
});

describe("catching up", () => {
  test("commanded #327: time that passes during it does not make a subscription live", async () => {
    const limits = { batchBytesMax: 1 };
    const { log, storage, timers } = openLog({ limits });
    await appendAll(log, {}, {}, {}, {});
    storage.control.beforeBatch = () => timers.tick(10_000);
    const subscriber = new Subscriber(log, { checkpointIntervalMs: 100 });
    const messages = await subscriber.drain();
    expect(messages.filter((each) => !each.startsWith("checkpoint"))).toEqual([
      "1",
      "2",
      "3",
      "4",
      "caught-up 4",
    ]);
  });

  test("Kurrent #4115: caught-up comes on an empty store, stream and selection", async () => {
    const { log } = openLog();
    const [onNothing, onStream] = [
      new Subscriber(log),
      new Subscriber(log, { selection: streamA }),
    ];
    expect(await onNothing.drain()).toEqual(["caught-up 0"]);
    expect(await onStream.drain()).toEqual(["caught-up 0"]);
    await appendAll(log, { stream: "b" });
    const late = new Subscriber(log, { selection: streamA });
    expect(await late.drain()).toEqual(["caught-up 1"]);
    const atEnd = new Subscriber(log, { start: { kind: "end" } });
    expect(await atEnd.drain()).toEqual(["caught-up 1"]);
  });

  test("Kurrent #1732: reconnecting after any message gives nothing twice", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, {}, {}, {});
    const seen: number[] = [];
    for (let position = 0, i = 0; i < 12; i++) {
      const subscriber = new Subscriber(log, { start: { kind: "after-position", position } });
      await subscriber.pull();
      const [message] = subscriber.messages;
      seen.push(...subscriber.positions);
      if (message?.kind === "batch") position = message.batch.through;
      else if (message !== undefined) position = message.position;
      await subscriber.cancel();
      if (i % 3 === 0) await appendAll(log, {});
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe("live", () => {
  test("Kurrent #1822: an event arrives by itself, not with the next one", async () => {
    const { log } = openLog();
    const subscriber = new Subscriber(log, { selection: streamA });
    await subscriber.drain();
    for (let n = 1; n <= 3; n++) {
      void subscriber.pull();
      await appendAll(log, { stream: "a" });
      expect(await subscriber.drain()).toEqual([`${n}`]);
    }
  });

  test("etcd #17529: a slow watcher gets everything while others are quick", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    const [slow, ...quick] = Array.from({ length: 5 }, () => new Subscriber(log));
    for (let n = 1; n <= 20; n++) {
      await appendAll(log, {});
      for (const subscriber of quick) await subscriber.drain();
      if (n % 2 === 0) void slow?.pull();
      await settled();
    }
    expect(slow?.positions.length).toBeGreaterThan(5);
    await slow?.drain();
    const all = Array.from({ length: 20 }, (_, i) => i + 1);
    for (const subscriber of [slow, ...quick]) expect(subscriber?.positions).toEqual(all);
  });
});

describe("appends", () => {
  test("nats #7564: nothing is answered or delivered before it is durable", async () => {
    const { log, release } = openHeld();
    const subscriber = new Subscriber(log);
    await subscriber.drain();
    let answered = false;
    const answer = log.append(appendOf({})).then(() => (answered = true));
    expect([await subscriber.drain(), answered]).toEqual([[], false]);
    release();
    await answer;
    expect(await subscriber.drain()).toEqual(["1"]);
  });

  test("AxonFramework #4050: the same id sent at the same time is stored once", async () => {
    const { log, storage } = openLog();
    const append = () => appendOf({ id: idOf(7), stream: "a", data: "same" });
    const other = appendOf({ id: idOf(7), stream: "a", data: "other" });
    const answers = await Promise.all([append(), append(), other].map((each) => log.append(each)));
    expect(answers.map(({ outcome }) => outcome)).toMatchObject([
      { kind: "appended", firstPosition: 1, deduplicated: false },
      { kind: "appended", firstPosition: 1, deduplicated: true },
      { kind: "event-id-conflict", events: [{ position: 1, problem: "other-content" }] },
    ]);
    expect(storage.head().position).toBe(1);
  });
});
