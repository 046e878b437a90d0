// Parked events of groups over the log, and what a group tells of itself.
import { describe, expect, test } from "vitest";
import { openLog, settled } from "../harness.ts";
import { append, begin, groupOver, ofTypes, reasonOf, restarted, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

const bytesMax = 1_000_000;

describe("parked events", () => {
  test("keep their reason, attempts and time, and block nobody", async () => {
    const { log } = await groupOver("aab", { retryDelayMs: 0, attemptsMax: 2 });
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1", "3"]);
    worker.nack(worker.held.slice(0, 1), 0, "cannot parse");
    expect(await worker.news()).toEqual(["1 #2"]);
    worker.nack(worker.held.slice(1), 0, "still not");
    expect(await worker.news()).toEqual(["2"]);
    worker.ack();
    await settled();
    const [parked] = await log.groups.listParked({ group: "g", after: 0, limit: 10, bytesMax });
    expect(parked).toMatchObject({ position: 1, attempts: 2, reason: "still not" });
    expect(parked?.record).toBeInstanceOf(Uint8Array);
    expect(parked?.parkedAt).toBeGreaterThan(1_000_000);
    expect(await log.groups.get("g")).toMatchObject({ position: 3, parkedCount: 1, lagEvents: 0 });
  });

  test("are replayed, some or all, with attempts from 1, also after a restart", async () => {
    const opened = await groupOver("abcd", { attemptsMax: 1 });
    const worker = await Worker.join(opened.log, "g", 10);
    await settled();
    worker.nack(worker.held);
    await settled();
    const { groups } = opened.log;
    expect(await groups.replayParked("g", [2, 2, 9])).toBe(1);
    expect(await worker.news()).toEqual(["1", "2", "3", "4", "2"]);
    worker.ack();
    await settled();
    expect((await groups.get("g")).parkedCount).toBe(3);
    expect(await groups.replayParked("g", [])).toBe(3);
    expect(await groups.replayParked("g", [])).toBe(0);
    const later = await Worker.join(restarted(opened).log, "g", 10);
    expect((await later.news()).toSorted()).toEqual(["1", "3", "4"]);
  });

  test("are discarded, some or all", async () => {
    const { log } = await groupOver("abcd", { attemptsMax: 1 });
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.ask({ kind: "park", tokens: worker.held.map(({ token }) => token), reason: "aside" });
    await settled();
    expect(worker.settled).toHaveLength(4);
    expect(await log.groups.discardParked("g", [1, 7])).toBe(1);
    expect(
      (await log.groups.listParked({ group: "g", after: 2, limit: 1, bytesMax }))[0]?.position,
    ).toBe(3);
    expect(await log.groups.discardParked("g", [])).toBe(3);
    expect((await log.groups.get("g")).parkedCount).toBe(0);
    expect(await worker.news()).toEqual(["1", "2", "3", "4"]);
  });
});

describe("numbers", () => {
  test("the lag counts what is not settled, near and far, and its age", async () => {
    let now = 1_000_000;
    const { log } = openLog({ clock: () => now });
    await append(log, "ab");
    await log.groups.create("g", { ...settings, query: ofTypes("T") }, begin);
    now += 5_000;
    await append(log, "cde", "T");
    await append(log, "f", "U");
    expect(await log.groups.get("g")).toMatchObject({ lagEvents: 5, lagMicros: 5_000 });
    const worker = await Worker.join(log, "g", 2);
    await settled();
    worker.ack();
    await settled();
    const info = await log.groups.get("g");
    expect(info).toMatchObject({ lagEvents: 3, lagMicros: 0, inFlightCount: 2, oldestInFlight: 3 });
    worker.ack();
    await settled();
    worker.ack();
    await settled();
    const done = await log.groups.get("g");
    expect(done).toMatchObject({ lagEvents: 0, lagMicros: undefined, position: 6 });
  });

  test("groups at work are no subscribers", async () => {
    const { log } = await groupOver("a");
    await Worker.join(log, "g", 2);
    await settled();
    expect(log.info().subscriberCount).toBe(0);
  });

  test("groups that nobody uses are let go, and lose nothing by it", async () => {
    const { log, storage } = await groupOver("ab");
    for (let i = 0; i < 150; i++) await log.groups.create(`g${i}`, settings, begin);
    const worker = await Worker.join(log, "g0", 10);
    const names = Array.from({ length: 150 }, (_, i) => `g${i}`);
    for (let round = 0; round < 2; round++) {
      for (const name of names) await log.groups.get(name);
      await settled();
    }
    expect(await worker.news()).toEqual(["1", "2"]);
    worker.ack();
    await settled();
    expect(worker.settled).toHaveLength(2);
    expect(storage.data.sideValues.filter(({ space }) => space === "group")).toHaveLength(151);
    expect(await log.groups.get("g77")).toMatchObject({ lagEvents: 2 });
  });
});

describe("waiting for a group", () => {
  test("ends when everything up to the position is settled", async () => {
    const { log } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    const waiting = log.groups.waitFor("g", 2, 1_000);
    worker.ack(worker.held.slice(1));
    await settled();
    worker.ack();
    expect(await waiting).toBe(2);
    expect(await log.groups.waitFor("g", 1, 1_000)).toBe(2);
  });

  test("does not need a member where nothing is to be settled", async () => {
    const { log } = await groupOver("ab", { query: ofTypes("U") });
    expect(await log.groups.waitFor("g", 2, 1_000)).toBe(2);
    const waiting = log.groups.waitFor("g", 4, 1_000);
    await settled();
    await append(log, "cd");
    expect(await waiting).toBe(4);
  });

  test("ends with its time, with the group, and with the log", async () => {
    const { log, timers } = await groupOver("ab");
    const waits = [log.groups.waitFor("g", 2, 500), log.groups.waitFor("g", 2, 5_000)];
    const reasons = waits.map(reasonOf);
    await settled();
    timers.tick(500);
    expect(await reasons[0]).toBe("DEADLINE_EXCEEDED");
    await log.groups.remove("g");
    expect(await reasons[1]).toBe("GROUP_NOT_FOUND");
    expect(await reasonOf(log.groups.waitFor("g", 2, 5))).toBe("GROUP_NOT_FOUND");
    await log.groups.create("h", settings, begin);
    const last = reasonOf(log.groups.waitFor("h", 2, 5_000));
    await settled();
    await log.stop();
    expect(await last).toBe("STOPPING");
  });
});
