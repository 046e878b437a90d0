// Events that a lifecycle removes while a group holds them in memory: they are handed out no more,
// count no more, and hold back neither their key nor the group's position.
import { describe, expect, test } from "vitest";
import type { PolicyChange } from "../../../src/domain/lifecycle/lifecycle.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { noChange } from "../../support/lifecycles.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, settled, type Opened } from "../harness.ts";
import { append, begin, groupOver, reasonOf, restarted, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

const cause = { actor: "ann", reason: "tidy", expected: undefined };

async function remove(log: EventLog, stream: string, permanent = true): Promise<void> {
  await log.streams.remove({ ...cause, stream, permanent });
}

async function policy(log: EventLog, stream: string, some: Partial<PolicyChange>): Promise<void> {
  const change = { ...noChange, ...some };
  await log.streams.update({ ...cause, stream, change });
}

/** Of one key, whatever their streams. */
const byTag = { ordering: { kind: "tag", prefix: "k:" } } as const;
const tagged = (log: EventLog, streams: string) =>
  appendAll(log, ...streams.split("").map((stream) => ({ stream, type: "T", tags: ["k:1"] })));

describe("events that were read ahead", () => {
  test.each([
    ["of a tombstoned stream", (log: EventLog) => remove(log, "b")],
    ["of a deleted stream", (log: EventLog) => remove(log, "b", false)],
    ["before a version", (log: EventLog) => policy(log, "b", { truncateBefore: 3 })],
    ["beyond a count", (log: EventLog) => policy(log, "b", { maxCount: 0 })],
  ])("%s are given to no member", async (_, change) => {
    const { log } = await groupOver("abbc");
    const first = await Worker.join(log, "g", 1);
    expect(await first.news()).toEqual(["1"]);
    await change(log);
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 2, position: 0 });
    const second = await Worker.join(log, "g", 10);
    expect(await second.news()).toEqual(["4"]);
    for (const worker of [first, second]) worker.ack();
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 0, position: 5 });
  });

  test("and are too old by now are given to no member", async () => {
    let now = 1_000_000_000;
    const storage = createModelStorage({ clock: () => now });
    const { log } = openLog({ storage, clock: () => now });
    await policy(log, "b", { maxAge: 50_000_000 });
    await append(log, "abbc");
    await log.groups.create("g", settings, begin);
    const first = await Worker.join(log, "g", 1);
    expect(await first.news()).toEqual(["2"]);
    now += 60_000_000;
    const second = await Worker.join(log, "g", 10);
    expect(await second.news()).toEqual(["5"]);
  });

  test("but part of their stream are given to no member, the rest is", async () => {
    const { log } = await groupOver("abbbb");
    const first = await Worker.join(log, "g", 1);
    await settled();
    await policy(log, "b", { truncateBefore: 3 });
    const second = await Worker.join(log, "g", 10);
    expect(await second.news()).toEqual(["4"]);
    second.ack();
    expect(await second.news()).toEqual(["5"]);
    first.leave();
  });

  test("and were given to a member that has not taken them are sent to none", async () => {
    const { log } = await groupOver("abc");
    const member = await log.groups.join("g", { name: "slow", permits: 10 });
    await settled();
    await remove(log, "b");
    await settled();
    expect((await log.groups.get("g")).inFlightCount).toBe(2);
    const worker = await Worker.join(log, "g", 10);
    member.leave();
    expect(await worker.news()).toEqual(["1", "3"]);
  });
});

describe("events that failed", () => {
  test("and wait for a day do not hold back the position, and WaitFor answers", async () => {
    const { log } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.nack(worker.held.slice(0, 1), 86_400_000);
    worker.ack(worker.held.slice(0, 1));
    await settled();
    worker.leave();
    const waiting = log.groups.waitFor("g", 2, 1_000);
    await settled();
    await remove(log, "a");
    expect(await waiting).toBeGreaterThanOrEqual(2);
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 0, position: 3 });
  });

  test("do not hold back their key", async () => {
    const { log } = openLog();
    await tagged(log, "ab");
    await log.groups.create("g", { ...settings, ...byTag }, begin);
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1"]);
    worker.nack(worker.held, 86_400_000);
    expect(await worker.news()).toEqual([]);
    await remove(log, "a");
    expect(await worker.news()).toEqual(["2"]);
  });

  test.each(["a count", "an age"])(
    "and are beyond %s by now are let go after a while",
    async (by) => {
      let now = 1_000_000_000;
      const storage = createModelStorage({ clock: () => now });
      const { log, timers } = openLog({ storage, clock: () => now });
      await policy(log, "a", by === "an age" ? { maxAge: 50_000_000 } : { maxCount: 1 });
      await append(log, "a");
      await log.groups.create("g", settings, begin);
      const worker = await Worker.join(log, "g", 10);
      expect(await worker.news()).toEqual(["2"]);
      worker.nack(worker.held, 86_400_000);
      await settled();
      if (by === "an age") now += 60_000_000;
      else await append(log, "a");
      await timers.pass(10_000);
      expect((await log.groups.get("g")).position).toBeGreaterThanOrEqual(2);
      expect(await worker.news()).toEqual(by === "an age" ? [] : ["3"]);
    },
  );

  test("were parked, and are replayed, are forgotten", async () => {
    const { log } = await groupOver("ab", { attemptsMax: 1 });
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.nack(worker.held);
    await settled();
    worker.leave();
    expect(await log.groups.replayParked("g", [])).toBe(2);
    await remove(log, "a");
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 1 });
    const later = await Worker.join(log, "g", 10);
    expect(await later.news()).toEqual(["2"]);
  });
});

describe("events of a key that is far behind", () => {
  async function stuck(): Promise<Opened> {
    const opened = await groupOver(`${"a".repeat(200)}${"b".repeat(200)}c`);
    const worker = await Worker.join(opened.log, "g", 10);
    expect(await worker.news()).toEqual(["1", "201", "401"]);
    worker.nack(worker.held.slice(0, 2), 86_400_000);
    worker.ack();
    await settled();
    worker.leave();
    await settled();
    expect(await opened.log.groups.get("g")).toMatchObject({ lagEvents: 400, position: 0 });
    return opened;
  }

  test("do not count, nor hold back the position, without any member", async () => {
    const { log } = await stuck();
    await remove(log, "a");
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 200, position: 200 });
    await policy(log, "b", { truncateBefore: 151 });
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 50, position: 350 });
  });

  test("behind one that is left do not count", async () => {
    const { log } = openLog();
    await tagged(log, `a${"b".repeat(150)}${"a".repeat(10)}`);
    await log.groups.create("g", { ...settings, ...byTag }, begin);
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.nack(worker.held, 86_400_000);
    await settled();
    expect((await log.groups.get("g")).lagEvents).toBe(161);
    await remove(log, "b");
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 11, position: 0 });
  });

  test("do not count after a restart either, nor hold back the position", async () => {
    const opened = await stuck();
    await remove(opened.log, "a");
    const { log } = restarted(opened);
    expect(await reasonOf(log.groups.waitFor("g", 200, 1_000))).toBeUndefined();
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 200, position: 200 });
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual([]);
  });
});

test("events that were counted and not read yet do not count", async () => {
  const { log } = await groupOver(`a${"b".repeat(20)}`);
  expect((await log.groups.get("g")).lagEvents).toBe(21);
  await remove(log, "b");
  expect((await log.groups.get("g")).lagEvents).toBe(1);
  await append(log, "c");
  expect((await log.groups.get("g")).lagEvents).toBe(2);
});
