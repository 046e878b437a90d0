// Consumer groups over the log: created, listed, deleted, durable before that is answered.
import { describe, expect, test } from "vitest";
import { createModelStorage } from "../../support/model-storage.ts";
import { openLog, settled } from "../harness.ts";
import { append, begin, groupOver, reasonOf, restarted, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

describe("a group", () => {
  test("is created once; the same again is a retry, another one of its name is refused", async () => {
    const { log } = await groupOver("ab");
    const first = await log.groups.get("g");
    expect(first).toMatchObject({ name: "g", settings, position: 0, lagEvents: 2 });
    const again = await log.groups.create("g", settings, begin);
    expect(again).toEqual({ ...first, lagMicros: again.lagMicros });
    const other = { ...settings, leaseMs: 1 };
    expect(await reasonOf(log.groups.create("g", other, begin))).toBe("GROUP_EXISTS");
    const end = { kind: "end" } as const;
    expect(await reasonOf(log.groups.create("g", settings, end))).toBe("GROUP_EXISTS");
    expect(await reasonOf(log.groups.get("h"))).toBe("GROUP_NOT_FOUND");
  });

  test("created at the same time by many is one", async () => {
    const { log, storage } = openLog();
    const created = Array.from({ length: 10 }, () => log.groups.create("g", settings, begin));
    const all = await Promise.all(created);
    expect(new Set(all.map(({ createdAt }) => createdAt)).size).toBe(1);
    expect(storage.data.sideValues.filter(({ space }) => space === "group")).toHaveLength(1);
  });

  test("is no subscription that is counted, while it is loaded and afterwards", async () => {
    const { log } = restarted(await groupOver("ab"));
    const counted = new Set([log.info().subscriberCount]);
    const loaded = log.groups.get("g");
    for (let turn = 0; turn < 100; turn++) {
      counted.add(log.info().subscriberCount);
      await Promise.resolve();
    }
    await loaded;
    await settled();
    counted.add(log.info().subscriberCount);
    expect(counted).toEqual(new Set([0]));
  });

  test.each([
    [{ kind: "after-position", position: 2 } as const, ["3", "4"]],
    [{ kind: "end" } as const, ["4"]],
    [{ kind: "from-time", time: 1_000_002 } as const, ["3", "4"]],
    [{ kind: "from-time", time: 1_000_004 } as const, ["4"]],
  ])("begins where it is told to: %o", async (start, expected) => {
    let now = 1_000_000;
    const { log } = openLog({ clock: () => now });
    for (const stream of ["a", "b", "c"]) {
      await append(log, stream);
      now++;
    }
    await log.groups.create("g", settings, start);
    const worker = await Worker.join(log, "g", 10);
    const before = await worker.news();
    now += 10;
    await append(log, "d");
    expect([...before, ...(await worker.news())]).toEqual(expected);
  });

  test("that begins in the future passes over what comes before", async () => {
    let now = 1_000_000;
    const { log } = openLog({ clock: () => now });
    await append(log, "a");
    await log.groups.create("g", settings, { kind: "from-time", time: 1_000_100 });
    const worker = await Worker.join(log, "g", 10);
    await append(log, "bc");
    expect(await worker.news()).toEqual([]);
    now = 1_000_200;
    await append(log, "d");
    expect(await worker.news()).toEqual(["4"]);
  });

  test("cannot begin beyond the head", async () => {
    const { log } = await groupOver("ab");
    const start = { kind: "after-position", position: 3 } as const;
    expect(await reasonOf(log.groups.create("h", settings, start))).toBe("BEYOND_HEAD");
    expect(await reasonOf(log.groups.reset("g", start))).toBe("BEYOND_HEAD");
  });

  test("is listed with the others, by name, and goes with all it had", async () => {
    const { log, storage } = await groupOver("ab", { attemptsMax: 1 });
    for (const name of ["f", "g-1", "é"]) await log.groups.create(name, settings, begin);
    const names = async (page = {}) => {
      const all = { prefix: "", after: "", limit: 9 };
      return (await log.groups.list({ ...all, ...page })).map(({ name }) => name);
    };
    expect(await names()).toEqual(["f", "g", "g-1", "é"]);
    expect(await names({ prefix: "g", after: "g" })).toEqual(["g-1"]);
    const worker = await Worker.join(log, "g", 5);
    await settled();
    worker.nack(worker.held);
    await settled();
    expect((await log.groups.get("g")).parkedCount).toBe(2);
    await log.groups.remove("g");
    await log.groups.remove("g");
    await settled();
    expect(worker.error).toMatchObject({ reason: "GROUP_NOT_FOUND" });
    expect(await names()).toEqual(["f", "g-1", "é"]);
    for (const name of ["f", "g-1", "é"]) await log.groups.remove(name);
    await settled();
    expect(storage.data.sideValues).toEqual([]);
  });

  test("of a name that was deleted before knows nothing of that one", async () => {
    const { log } = await groupOver("ab", { attemptsMax: 1 });
    const first = await Worker.join(log, "g", 5);
    await settled();
    first.nack(first.held.slice(0, 1));
    first.ack(first.held.slice(0, 1));
    await settled();
    await log.groups.remove("g");
    await log.groups.create("g", settings, begin);
    const second = await Worker.join(log, "g", 5);
    expect(await second.news()).toEqual(["1", "2"]);
    expect((await log.groups.get("g")).parkedCount).toBe(0);
  });

  test("whose deletion was cut off is swept by the next process", async () => {
    const { log, storage } = await groupOver("a".repeat(600), {
      attemptsMax: 1,
      ordering: { kind: "none" },
    });
    const worker = await Worker.join(log, "g", 1_000);
    await settled();
    worker.nack(worker.held);
    await settled();
    const parked = () =>
      storage.data.sideValues.filter(({ space }) => space === "group-parked").length;
    expect(parked()).toBe(600);
    let commits = 0;
    storage.control.beforeCommit = () => (++commits > 2 ? new Promise(() => {}) : undefined);
    await log.groups.remove("g");
    await settled();
    expect(parked()).toBeGreaterThan(0);
    const data = { ...storage.data, sideValues: [...storage.data.sideValues] };
    const next = openLog({ storage: createModelStorage({ data }) });
    expect(await reasonOf(next.log.groups.get("g"))).toBe("GROUP_NOT_FOUND");
    await settled();
    expect(next.storage.data.sideValues).toEqual([]);
  });
});
