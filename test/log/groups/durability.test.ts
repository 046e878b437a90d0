// Groups over the log are the same after a restart, and go on where a write failed.
import { describe, expect, test } from "vitest";
import { createModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, settled } from "../harness.ts";
import { append, begin, groupOver, ofTypes, reasonOf, restarted, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

describe("after a restart", () => {
  test("what was settled stays so, the rest comes again, failures are remembered", async () => {
    const opened = await groupOver("abcd", { retryDelayMs: 0 });
    const worker = await Worker.join(opened.log, "g", 10);
    expect(await worker.news()).toEqual(["1", "2", "3", "4"]);
    worker.ack(worker.held.slice(1, 2));
    worker.nack(worker.held.slice(1, 2));
    expect(await worker.news()).toEqual(["3 #2"]);
    const again = restarted(opened);
    const later = await Worker.join(again.log, "g", 10);
    expect((await later.news()).toSorted()).toEqual(["1", "3 #2", "4"]);
    later.ack();
    await settled();
    expect(await again.log.groups.get("g")).toMatchObject({ position: 4, lagEvents: 0 });
  });

  test("a delay that was asked for is still kept", async () => {
    let now = 1_000_000_000;
    const storage = createModelStorage();
    const first = openLog({ storage, clock: () => now });
    await append(first.log, "a");
    await first.log.groups.create("g", settings, begin);
    const worker = await Worker.join(first.log, "g", 1);
    await settled();
    worker.nack(worker.held, 60_000);
    await settled();
    now += 20_000_000;
    const data = createModelStorage({ data: storage.data });
    const second = openLog({ storage: data, clock: () => now });
    const later = await Worker.join(second.log, "g", 1);
    expect(await later.news()).toEqual([]);
    await second.timers.pass(39_000);
    expect(await later.news()).toEqual([]);
    await second.timers.pass(1_000);
    expect(await later.news()).toEqual(["1 #2"]);
  });

  test("a group whose log does not concern it need not look at it again", async () => {
    const opened = await groupOver("", { query: ofTypes("U") });
    await append(opened.log, "a".repeat(1_500));
    await settled();
    expect((await opened.log.groups.get("g")).position).toBe(1_500);
    await opened.log.stop();
    const again = restarted(opened);
    let batches = 0;
    again.storage.control.beforeBatch = () => batches++;
    expect((await again.log.groups.get("g")).position).toBe(1_500);
    expect(batches).toBe(0);
  });

  test("ten thousand keys with nothing settled between them are found again", async () => {
    const opened = openLog();
    const streams = Array.from({ length: 3_000 }, (_, i) => ({ stream: `s-${i % 1_000}` }));
    await appendAll(opened.log, ...streams);
    await opened.log.groups.create("g", settings, begin);
    const worker = await Worker.join(opened.log, "g", 1_000);
    await settled();
    expect(worker.held.length).toBe(1_000);
    worker.ack(worker.held.filter((_, i) => i % 2 === 0));
    await settled();
    const again = restarted(opened);
    const seen = new Set<string>();
    const later = await Worker.join(again.log, "g", 500, (message, self) => {
      if (message.kind !== "deliveries") return;
      for (const { token } of message.deliveries) seen.add(token);
      self.ack();
    });
    for (let turns = 0; turns < 400 && seen.size < 2_500; turns++) await settled();
    expect(later.deliveries.length).toBe(2_500);
    for (let turns = 0; turns < 10; turns++) await settled();
    expect(await again.log.groups.get("g")).toMatchObject({ position: 3_000, lagEvents: 0 });
  });
});

describe("a write that fails", () => {
  test.each(["there", "not there"] as const)(
    "is written again, whether it is %s or not, and settles then",
    async (fate) => {
      const opened = await groupOver("abc");
      const { log, storage, timers } = opened;
      const worker = await Worker.join(log, "g", 10);
      await settled();
      storage.control.failNextCommit(fate);
      worker.ack(worker.held.slice(0, 2));
      await settled();
      expect(worker.settled).toEqual([]);
      await timers.pass(250);
      expect(worker.settled).toHaveLength(2);
      const later = await Worker.join(restarted(opened).log, "g", 10);
      expect(await later.news()).toEqual(["3"]);
    },
  );

  test("for want of space is tried until there is some", async () => {
    const { log, storage, timers } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    storage.control.setWriteState("disk-full");
    worker.ack();
    for (let i = 0; i < 5; i++) await timers.pass(250);
    expect(worker.settled).toEqual([]);
    storage.control.setWriteState("accepting");
    await timers.pass(250);
    expect(worker.settled).toHaveLength(2);
  });

  test("of an update leaves the group as it was, and its members to join again", async () => {
    const { log, storage } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    storage.control.failNextCommit("not there");
    expect(await reasonOf(log.groups.update("g", { leaseMs: 500 }))).toBe("OUTCOME_UNKNOWN");
    await settled();
    expect(worker.error).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect((await log.groups.get("g")).settings).toEqual(settings);
    const later = await Worker.join(log, "g", 10);
    expect(await later.news()).toEqual(["1", "2"]);
  });

  test("of a deletion leaves the group as it was, and its members to join again", async () => {
    const { log, storage } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    storage.control.setWriteState("disk-full");
    expect(await reasonOf(log.groups.remove("g"))).toBe("DISK_FULL");
    await settled();
    expect(worker.error).toMatchObject({ reason: "DISK_FULL" });
    storage.control.setWriteState("accepting");
    const later = await Worker.join(log, "g", 10);
    expect(await later.news()).toEqual(["1", "2"]);
  });

  test("because side values are damaged ends the members with what it is", async () => {
    const { log, storage } = await groupOver("ab");
    storage.data.sideValues = storage.data.sideValues.map((sideValue) =>
      sideValue.space === "group-progress"
        ? { ...sideValue, value: Buffer.from("damaged") }
        : sideValue,
    );
    const again = openLog({ storage: createModelStorage({ data: storage.data }) });
    expect(await reasonOf(again.log.groups.join("g", { name: "", permits: 1 }))).toBe("CORRUPTION");
    await log.stop();
  });

  test("of the log itself ends the members, who may join again", async () => {
    const { log, storage } = await groupOver("ab");
    storage.control.beforeBatch = () => {
      throw new Error("the disk cannot be read");
    };
    const worker = await Worker.join(log, "g", 10);
    await settled();
    expect(worker.error).toMatchObject({ reason: "RECOVERING" });
    storage.control.beforeBatch = undefined;
    const later = await Worker.join(log, "g", 10);
    expect(await later.news()).toEqual(["1", "2"]);
  });
});
