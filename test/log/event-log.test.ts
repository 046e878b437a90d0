// The whole event log: generated histories of appends, reads, subscriptions and restarts against a
// list, on the model engine and on LevelDB's in memory; and the small verbs.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/domain/limits.ts";
import { createEventLog, type EventLog } from "../../src/log/event-log.ts";
import { openMemoryStorage } from "../../src/storage/leveldb/open.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { createModelStorage } from "../support/model-storage.ts";
import { appendAll, ManualTimers, openLog, Subscriber } from "./harness.ts";
import { histories, Model, type Real } from "./log-commands.ts";

describe("generated histories", () => {
  test.each<[string, (clock: () => number) => Promise<Storage>, number]>([
    ["the model engine", async (clock) => createModelStorage({ batchScanMax: 3, clock }), 150],
    ["LevelDB's engine, in memory", (clock) => openMemoryStorage({ clock }), 60],
  ])(
    "on %s are what a list says",
    async (_, openStorage, numRuns) => {
      await fc.assert(
        fc.asyncProperty(histories, async (commands) => {
          const hands = { now: 1_000 };
          const storage = await openStorage(() => hands.now);
          const real = realOver(storage, hands);
          await fc.asyncModelRun(() => ({ model: new Model(), real }), commands);
          await real.restart();
          for (const { subscriber } of real.follows) await subscriber.cancel();
          expect(real.log().info().subscriberCount).toBe(0);
          await storage.close();
        }),
        { numRuns },
      );
    },
    60_000,
  );

  function realOver(storage: Storage, hands: { now: number }): Real {
    const open = (): { log: EventLog; timers: ManualTimers } => {
      const timers = new ManualTimers();
      const limits = { ...defaultLimits, batchBytesMax: 300 };
      return {
        log: createEventLog({ storage, limits, clock: () => hands.now, timers, idChance: () => 0 }),
        timers,
      };
    };
    let opened = open();
    return {
      log: () => opened.log,
      timers: () => opened.timers,
      setClock: (micros) => {
        hands.now = micros;
      },
      restart: async () => {
        await opened.log.stop();
        opened = open();
      },
      follows: [],
    };
  }
});

describe("what there is", () => {
  test("a stream is described with its subscriptions; an unknown one is not found", async () => {
    const { log } = openLog();
    await appendAll(log, { stream: "a" }, { stream: "b" }, { stream: "a" });
    const selection = { kind: "stream", stream: "a" } as const;
    const subscriber = new Subscriber(log, { selection });
    await subscriber.drain();
    expect(await log.getStream("a")).toMatchObject({
      stream: "a",
      version: 2,
      firstPosition: 1,
      lastPosition: 3,
      subscriberCount: 1,
    });
    expect(await log.listStreams({ prefix: "", after: "", limit: 9 })).toMatchObject([
      { stream: "a", subscriberCount: 1 },
      { stream: "b", subscriberCount: 0 },
    ]);
    const failure = { reason: "STREAM_NOT_FOUND", stream: "none" };
    await expect(log.getStream("none")).rejects.toMatchObject({ failure });
    await subscriber.cancel();
    expect(await log.getStream("a")).toMatchObject({ subscriberCount: 0 });
  });

  test("event types are counted; info says head and state", async () => {
    const { log, storage } = openLog();
    await appendAll(log, { type: "A" }, { type: "B" }, { type: "A" });
    const types = await log.listEventTypes({ prefix: "", after: "", limit: 9 });
    expect(types.map(({ type, recordedCount }) => [type, recordedCount])).toEqual([
      ["A", 2],
      ["B", 1],
    ]);
    storage.control.setWriteState("disk-full");
    expect(log.info()).toEqual({
      identity: storage.identity,
      head: 3,
      writeState: "disk-full",
      subscriberCount: 0,
    });
  });
});
