// Groups over the log that are changed while they run: settings, resets, other groups in their place.
import { describe, expect, test } from "vitest";
import type { EventLog } from "../../../src/log/event-log.ts";
import type { GroupStart } from "../../../src/log/group-verbs.ts";
import { settled } from "../harness.ts";
import { append, begin, groupOver, ofTypes, reasonOf, restarted, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

describe("an update", () => {
  test("changes what it names, at once and after a restart", async () => {
    const opened = await groupOver("abcd");
    const { log, timers } = opened;
    const worker = await Worker.join(log, "g", 1);
    expect(await worker.news()).toEqual(["1"]);
    const updated = await log.groups.update("g", { leaseMs: 500, inFlightMax: 2 });
    expect(updated.settings).toEqual({ ...settings, leaseMs: 500, inFlightMax: 2 });
    worker.ask({ kind: "permits", count: 3 });
    expect(await worker.news()).toEqual(["2"]);
    const second = await Worker.join(log, "g", 2);
    expect(await second.news()).toEqual([]);
    await timers.pass(499);
    expect(await second.news()).toEqual([]);
    await timers.pass(1);
    // What was delivered before comes first.
    expect(await second.news()).toEqual(["2 #2"]);
    expect((await restarted(opened).log.groups.get("g")).settings).toEqual(updated.settings);
  });

  test("to fewer attempts parks what has had them when its turn comes", async () => {
    const { log } = await groupOver("ab", { retryDelayMs: 0 });
    const worker = await Worker.join(log, "g", 1);
    await settled();
    worker.nack(worker.held);
    expect(await worker.news()).toEqual(["1", "1 #2"]);
    await log.groups.update("g", { attemptsMax: 1 });
    worker.nack(worker.held);
    expect(await worker.news()).toEqual(["2"]);
    worker.ack();
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ position: 2, parkedCount: 1 });
  });

  test("of the first retry delay takes the longest one with it, and none is longer", async () => {
    const { log } = await groupOver("");
    const longer = await log.groups.update("g", { retryDelayMs: 90_000 });
    expect(longer.settings).toMatchObject({ retryDelayMs: 90_000, retryDelayMaxMs: 90_000 });
    const refused = log.groups.update("g", { retryDelayMaxMs: 80_000 });
    expect(await reasonOf(refused)).toBe("INVALID_FIELD");
    expect((await log.groups.get("g")).settings).toEqual(longer.settings);
    expect(await reasonOf(log.groups.update("h", {}))).toBe("GROUP_NOT_FOUND");
  });
});

describe("a reset", () => {
  test("takes back what is in flight and begins anew", async () => {
    const opened = await groupOver("abc");
    const { log } = opened;
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1", "2", "3"]);
    worker.ack(worker.held.slice(0, 2));
    await settled();
    const stale = [...worker.held];
    const info = await log.groups.reset("g", { kind: "after-position", position: 1 });
    expect(info.position).toBe(1);
    expect(await worker.news()).toEqual(["2", "3"]);
    worker.ack(stale);
    await settled();
    expect(worker.refused).toHaveLength(1);
    const later = await Worker.join(restarted(opened).log, "g", 10);
    expect(await later.news()).toEqual(["2", "3"]);
  });

  test("to where another group is begins there", async () => {
    const { log } = await groupOver("abc");
    await log.groups.create("h", settings, { kind: "after-position", position: 2 });
    const info = await log.groups.reset("g", after("h"));
    expect(info).toMatchObject({ position: 2, lagEvents: 1 });
    expect(await reasonOf(log.groups.reset("g", after("i")))).toBe("GROUP_NOT_FOUND");
  });
});

function after(group: string, replace = false): GroupStart {
  return { kind: "after-group", group, replace };
}

/** Of every event, by a name of its own. */
function another(log: EventLog, name: string, start: GroupStart, types: string[] = []) {
  const query = types.length === 0 ? { items: [] } : ofTypes(...types);
  return log.groups.create(name, { ...settings, query }, start);
}

describe("a group that begins where another one is", () => {
  test("begins after the events that are all settled, and leaves the other one as it is", async () => {
    const { log } = await groupOver("abcd");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.ack(worker.held.filter((_, i) => i !== 2));
    await settled();
    expect(await another(log, "h", after("g"))).toMatchObject({ position: 2, lagEvents: 2 });
    const second = await Worker.join(log, "h", 10);
    expect(await second.news()).toEqual(["3", "4"]);
    worker.ack();
    await settled();
    expect(worker).toMatchObject({ ended: false, error: undefined });
    expect((await log.groups.get("g")).position).toBe(4);
  });

  test("passes over what the other one would, where that waits for its time", async () => {
    const { log } = await groupOver("ab");
    const time = 4_000_000_000_000_000;
    await log.groups.create("later", settings, { kind: "from-time", time });
    await another(log, "h", after("later"));
    const worker = await Worker.join(log, "h", 10);
    await append(log, "c");
    expect(await worker.news()).toEqual([]);
  });

  test("needs that one, and a name of its own", async () => {
    const { log } = await groupOver("ab");
    expect(await reasonOf(another(log, "h", after("i")))).toBe("GROUP_NOT_FOUND");
    expect(await reasonOf(another(log, "h", after("h")))).toBe("GROUP_NOT_FOUND");
    expect(await reasonOf(another(log, "h", after("h", true)))).toBe("GROUP_NOT_FOUND");
    expect(await reasonOf(another(log, "g", after("g"), ["T"]))).toBe("GROUP_EXISTS");
    await another(log, "h", begin);
    expect(await reasonOf(another(log, "h", after("g", true)))).toBe("GROUP_EXISTS");
    expect(await log.groups.get("g")).toMatchObject({ name: "g", lagEvents: 2 });
  });
});

describe("a group in the place of another one", () => {
  test("takes over its position and its parked events, and has its own query", async () => {
    const opened = await groupOver("", { query: ofTypes("T") });
    const { log, storage } = opened;
    await append(log, "ab", "T");
    await append(log, "c", "U");
    await append(log, "d", "T");
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1", "2", "4"]);
    const [one, two, four] = worker.held;
    worker.ask({ kind: "park", tokens: [one?.token ?? ""], reason: "aside" });
    worker.ask({ kind: "park", tokens: [four?.token ?? ""], reason: "aside" });
    await settled();
    const before = storage.control.commitCount();
    const info = await another(log, "h", after("g", true), ["T", "U"]);
    expect(storage.control.commitCount()).toBe(before + 1);
    expect(info).toMatchObject({ position: 1, parkedCount: 2, lagEvents: 3 });
    expect(worker.error).toMatchObject({ reason: "GROUP_NOT_FOUND" });
    expect(await reasonOf(log.groups.get("g"))).toBe("GROUP_NOT_FOUND");
    const second = await Worker.join(log, "h", 10);
    expect(await second.news()).toEqual(["2", "3", "4"]);
    second.ask({ kind: "ack", tokens: [two?.token ?? ""], upTo: "" });
    await settled();
    expect(second.refused).toHaveLength(1);
    second.ack();
    await settled();
    expect(await log.groups.replayParked("h", [1])).toBe(1);
    expect(await second.news()).toEqual(["1"]);
    const later = restarted(opened).log;
    expect(await reasonOf(later.groups.get("g"))).toBe("GROUP_NOT_FOUND");
    expect(await later.groups.get("h")).toMatchObject({ position: 4, parkedCount: 1 });
  });

  test("lists and replays a system event that the other one has parked", async () => {
    const { log } = await groupOver("a", { query: ofTypes("$StreamDeleted") });
    const cause = { actor: "ann", reason: "tidy", expected: undefined };
    await log.streams.remove({ ...cause, stream: "a", permanent: false });
    const worker = await Worker.join(log, "g", 1);
    expect(await worker.news()).toEqual(["2"]);
    worker.ask({ kind: "park", tokens: worker.held.map(({ token }) => token), reason: "" });
    await settled();
    await another(log, "h", after("g", true), ["T"]);
    const page = { group: "h", after: 0, limit: 9, bytesMax: 1_000_000 };
    const [parked] = await log.groups.listParked(page);
    expect(parked?.record).toBeInstanceOf(Uint8Array);
    expect(await log.groups.replayParked("h", [])).toBe(1);
    const second = await Worker.join(log, "h", 1);
    expect(await second.news()).toEqual(["2"]);
  });

  test("goes on with replays of the other one, whatever its query says of them", async () => {
    const opened = await groupOver("ab", { attemptsMax: 1 });
    const { log } = opened;
    const worker = await Worker.join(log, "g", 10);
    await settled();
    worker.nack(worker.held);
    await settled();
    worker.leave();
    expect(await log.groups.replayParked("g", [])).toBe(2);
    const info = await another(log, "h", after("g", true), ["U"]);
    expect(info).toMatchObject({ position: 2, parkedCount: 0, lagEvents: 2 });
    const second = await Worker.join(restarted(opened).log, "h", 10);
    expect((await second.news()).toSorted()).toEqual(["1", "2"]);
  });

  test("may have its name: members join again, and find the new one", async () => {
    const { log } = await groupOver("ab", { query: ofTypes("T") });
    await append(log, "c", "U");
    const worker = await Worker.join(log, "g", 1);
    await settled();
    worker.ack();
    await settled();
    const waiting = reasonOf(log.groups.waitFor("g", 9, 1_000));
    const info = await another(log, "g", after("g", true), ["U"]);
    expect(info).toMatchObject({ name: "g", position: 2, lagEvents: 1 });
    expect(worker.error).toMatchObject({ reason: "RECOVERING" });
    expect(await waiting).toBe("RECOVERING");
    const second = await Worker.join(log, "g", 10);
    expect(await second.news()).toEqual(["3"]);
  });

  test("is a retry where it is there already, also of its own name", async () => {
    const { log } = await groupOver("ab");
    const first = await another(log, "h", after("g", true), ["T"]);
    expect(await another(log, "h", after("g", true), ["T"])).toMatchObject({
      createdAt: first.createdAt,
    });
    expect(await reasonOf(another(log, "h", after("g"), ["T"]))).toBe("GROUP_EXISTS");
    const second = await another(log, "h", after("h", true), ["U"]);
    expect(second.createdAt).toBeGreaterThan(first.createdAt);
    const again = await another(log, "h", after("h", true), ["U"]);
    expect(again.createdAt).toBe(second.createdAt);
    expect((await another(log, "h", after("h", true), ["T"])).settings.query).toEqual(ofTypes("T"));
  });

  test.each(["there", "not there"] as const)(
    "is one of the two after a write whose outcome was unknown: %s",
    async (fate) => {
      const opened = await groupOver("abc");
      const { log, storage } = opened;
      const worker = await Worker.join(log, "g", 10);
      await settled();
      worker.ack(worker.held.slice(0, 1));
      await settled();
      storage.control.failNextCommit(fate);
      expect(await reasonOf(another(log, "h", after("g", true)))).toBe("OUTCOME_UNKNOWN");
      await settled();
      expect(worker.error).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
      const listed = await log.groups.list({ prefix: "", after: "", limit: 9 });
      expect(listed).toMatchObject([{ name: fate === "there" ? "h" : "g", position: 1 }]);
      expect(await another(log, "h", after("g", true))).toMatchObject({ position: 1 });
      const second = await Worker.join(restarted(opened).log, "h", 10);
      expect(await second.news()).toEqual(["2", "3"]);
    },
  );

  test("settles what the members said before, and nothing they say later", async () => {
    const { log, storage } = await groupOver("abc");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    let release = (): void => undefined;
    storage.control.beforeCommit = () => new Promise<void>((resolve) => (release = resolve));
    worker.ack(worker.held.slice(0, 1));
    const created = another(log, "h", after("g", true));
    await settled();
    worker.ack(worker.held.slice(0, 1));
    await settled();
    storage.control.beforeCommit = undefined;
    release();
    expect(await created).toMatchObject({ lagEvents: 1, position: 2 });
    expect(worker.settled).toHaveLength(2);
    worker.ack();
    const second = await Worker.join(log, "h", 10);
    expect(await second.news()).toEqual(["3"]);
    expect(worker.settled).toHaveLength(2);
  });

  test("and another one the other way round do not wait for each other", async () => {
    const { log } = await groupOver("ab");
    await another(log, "h", begin);
    const reasons = await Promise.all([
      reasonOf(another(log, "h", after("g", true), ["T"])),
      reasonOf(another(log, "g", after("h", true), ["T"])),
    ]);
    expect(reasons).toEqual(["GROUP_EXISTS", "GROUP_EXISTS"]);
    const swaps = [
      another(log, "g", after("g", true), ["T"]),
      another(log, "i", after("g", true)),
      another(log, "g", after("i", true)),
    ];
    expect(await Promise.all(swaps.map(reasonOf))).toEqual([undefined, undefined, undefined]);
    const names = (await log.groups.list({ prefix: "", after: "", limit: 9 })).map((g) => g.name);
    expect(names).toEqual(["g", "h"]);
  });
});
