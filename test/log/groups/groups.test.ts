// Consumer groups over the log: durable before it is answered, the same after a restart, changed
// while they run.
import { describe, expect, test } from "vitest";
import type { GroupSettings } from "../../../src/domain/group/settings.ts";
import type { Query } from "../../../src/domain/query.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, settled, type Opened } from "../harness.ts";
import { assertWork } from "./work-histories.ts";
import { Worker } from "./worker.ts";

const settings: GroupSettings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 3,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 1_000,
};
const bytesMax = 1_000_000;
const begin = { kind: "after-position", position: 0 } as const;
const ofTypes = (...types: string[]): Query => {
  return { items: [{ streams: [], streamPrefixes: [], types, tags: [] }] };
};

/** Appends an event to each stream named: `aab` is two to a and one to b. */
async function append(log: EventLog, streams: string, type = "T"): Promise<void> {
  await appendAll(log, ...streams.split("").map((stream) => ({ stream, type })));
}

async function groupOver(
  streams: string,
  changes: Partial<GroupSettings> = {},
  storage?: ModelStorage,
): Promise<Opened> {
  const opened = openLog(storage === undefined ? {} : { storage });
  await append(opened.log, streams);
  await opened.log.groups.create("g", { ...settings, ...changes }, begin);
  return opened;
}

/** The same store in a new process. */
function restarted({ storage }: Opened): Opened {
  return openLog({ storage: createModelStorage({ data: storage.data }) });
}

const reasonOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: { reason?: string; message: string }) => error.reason ?? error.message,
  );

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

describe("a member", () => {
  test("gets events in order by key, and the next when the one before is settled", async () => {
    const { log } = await groupOver("aabb");
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1", "3"]);
    worker.ack(worker.held.slice(0, 1));
    expect(await worker.news()).toEqual(["2"]);
    worker.ack();
    expect(await worker.news()).toEqual(["4"]);
    worker.ack();
    await settled();
    expect(worker.settled).toHaveLength(4);
    expect((await log.groups.get("g")).position).toBe(4);
  });

  test("gets events live, as many as its permits allow", async () => {
    const { log } = await groupOver("");
    const worker = await Worker.join(log, "g", 2);
    expect(await worker.news()).toEqual([]);
    await append(log, "abc");
    expect(await worker.news()).toEqual(["1", "2"]);
    worker.ask({ kind: "permits", count: 1 });
    expect(await worker.news()).toEqual(["3"]);
    worker.ask({ kind: "ack", tokens: [], upTo: worker.held[1]?.token ?? "" });
    await append(log, "def");
    expect(await worker.news()).toEqual(["4", "5"]);
  });

  test("is told that something is settled when that is durable, and not before", async () => {
    const { log, storage } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    let release = (): void => undefined;
    storage.control.beforeCommit = () => new Promise<void>((resolve) => (release = resolve));
    worker.ack();
    await settled();
    expect(worker.settled).toEqual([]);
    expect((await log.groups.get("g")).position).toBe(0);
    release();
    await settled();
    expect(worker.settled).toHaveLength(2);
    expect((await log.groups.get("g")).position).toBe(2);
  });

  test("what is acknowledged while a write is under way is one write", async () => {
    const { log, storage } = await groupOver("abcdefgh");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    const before = storage.control.commitCount();
    let release = (): void => undefined;
    storage.control.beforeCommit = () => new Promise<void>((resolve) => (release = resolve));
    for (const delivery of worker.held) {
      worker.ack([delivery]);
      await settled();
    }
    storage.control.beforeCommit = undefined;
    release();
    await settled();
    expect(worker.settled).toHaveLength(8);
    expect(storage.control.commitCount()).toBe(before + 2);
  });

  test("shares the commit of appends that wait beside its acknowledgements", async () => {
    const { log, storage } = await groupOver("a");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    const before = storage.control.commitCount();
    const appended = append(log, "b");
    worker.ack();
    await appended;
    await settled();
    expect(worker.settled).toHaveLength(1);
    expect(storage.control.commitCount()).toBe(before + 1);
  });

  test("that leaves gives its events to the others, with their next attempt", async () => {
    const { log } = await groupOver("ab");
    const first = await Worker.join(log, "g", 10);
    expect(await first.news()).toEqual(["1", "2"]);
    const second = await Worker.join(log, "g", 10);
    first.leave();
    expect(await second.news()).toEqual(["1 #2", "2 #2"]);
    await settled();
    expect(first).toMatchObject({ ended: true, error: undefined });
    expect(await log.groups.get("g")).toMatchObject({ memberCount: 1, inFlightCount: 2 });
  });

  test("that is not heard of loses its events when their lease runs out, and its word", async () => {
    const { log, timers } = await groupOver("ab");
    const first = await Worker.join(log, "g", 1);
    expect(await first.news()).toEqual(["1"]);
    const second = await Worker.join(log, "g", 2);
    expect(await second.news()).toEqual(["2"]);
    second.ack();
    await timers.pass(29_999);
    expect(await second.news()).toEqual([]);
    await timers.pass(1);
    expect(await second.news()).toEqual(["1 #2"]);
    first.ack();
    await settled();
    expect(first.refused).toHaveLength(1);
    expect(first.settled).toEqual([]);
  });

  test("is refused tokens of another process, of another group, and nonsense", async () => {
    const opened = await groupOver("ab");
    const worker = await Worker.join(opened.log, "g", 10);
    await settled();
    const again = restarted(opened);
    const later = await Worker.join(again.log, "g", 10);
    await settled();
    const [token = ""] = later.held.map((delivery) => delivery.token);
    const old = worker.held.map((delivery) => delivery.token);
    const bent = ["", "x", `${token} `, `0${token}`, token.toUpperCase() + "0"];
    later.ask({ kind: "ack", tokens: [...old, ...bent], upTo: "" });
    await settled();
    expect(later.refused).toEqual([...old, ...bent]);
  });

  test("says with one token what it did up to there, in the order it was given", async () => {
    const { log, timers } = await groupOver("abc", { retryDelayMs: 0 });
    const worker = await Worker.join(log, "g", 10);
    await settled();
    // The first comes again, behind the others.
    worker.nack(worker.held.slice(0, 1));
    expect(await worker.news()).toEqual(["1", "2", "3", "1 #2"]);
    const [, second, again] = worker.held.map(({ token }) => token);
    worker.ask({ kind: "ack", tokens: [], upTo: second ?? "" });
    await settled();
    expect(await log.groups.get("g")).toMatchObject({ position: 0, lagEvents: 1 });
    await timers.pass(30_000);
    worker.ask({ kind: "ack", tokens: [], upTo: again ?? "" });
    await settled();
    expect(worker.refused).toEqual([again]);
  });

  test("that says no more hears the answers to what it said, and its events go on", async () => {
    const { log, storage } = await groupOver("abc");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    let release = (): void => undefined;
    storage.control.beforeCommit = () => new Promise<void>((resolve) => (release = resolve));
    worker.ack(worker.held.slice(0, 1));
    worker.ask({ kind: "extend", tokens: ["no token"], leaseMs: 500 });
    worker.finish();
    await settled();
    expect(worker).toMatchObject({ ended: false, settled: [], refused: ["no token"] });
    const second = await Worker.join(log, "g", 10);
    expect(await second.news()).toEqual(["2 #2", "3 #2"]);
    storage.control.beforeCommit = undefined;
    release();
    await settled();
    expect(worker).toMatchObject({ ended: true, error: undefined });
    expect(worker.settled).toHaveLength(1);
  });

  test("is told with its name and its permits", async () => {
    const { log } = await groupOver("abc");
    const member = await log.groups.join("g", { name: "worker 7", permits: 2 });
    await settled();
    const { members } = await log.groups.get("g");
    expect(members).toMatchObject([{ name: "worker 7", heldCount: 2, permits: 2 }]);
    const [listed] = await log.groups.list({ prefix: "", after: "", limit: 1 });
    expect(listed).toMatchObject({ memberCount: 1, members: [] });
    member.leave();
  });

  test("hears from us when there is nothing else to say", async () => {
    const { log, timers } = await groupOver("a");
    const worker = await Worker.join(log, "g", 1);
    await settled();
    await timers.pass(10_000);
    worker.ack();
    await timers.pass(0);
    await timers.pass(10_000);
    expect(worker.heartbeats).toEqual([0, 1]);
  });

  test("ends with the log", async () => {
    const { log } = await groupOver("a");
    const worker = await Worker.join(log, "g", 1);
    await settled();
    worker.ack();
    await log.stop();
    await settled();
    expect(worker.error).toMatchObject({ reason: "STOPPING" });
    expect(worker.settled).toHaveLength(1);
    expect(await reasonOf(log.groups.join("g", { name: "", permits: 1 }))).toBe("STOPPING");
  });
});

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

  test("of an edit leaves the group as it was, and its members to join again", async () => {
    const { log, storage } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    storage.control.failNextCommit("not there");
    const update = log.groups.update("g", { ...settings, query: ofTypes("U") });
    expect(await reasonOf(update)).toBe("OUTCOME_UNKNOWN");
    await settled();
    expect(worker.error).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect((await log.groups.get("g")).settings).toEqual(settings);
    const later = await Worker.join(log, "g", 10);
    expect(await later.news()).toEqual(["1", "2"]);
  });

  test("because notes are damaged ends the members with what it is", async () => {
    const { log, storage } = await groupOver("ab");
    storage.data.sideValues = storage.data.sideValues.map((sideValue) =>
      sideValue.space === "group-progress"
        ? { ...sideValue, value: Buffer.from("bent") }
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

describe("changes while it runs", () => {
  test("a new query counts from the position on; settled stays settled", async () => {
    const opened = await groupOver("");
    const { log } = opened;
    await append(log, "ab", "T");
    await append(log, "cd", "U");
    await log.groups.update("g", { ...settings, query: ofTypes("T") });
    const worker = await Worker.join(log, "g", 10);
    expect(await worker.news()).toEqual(["1", "2"]);
    worker.ack(worker.held.slice(1));
    await settled();
    const updated = await log.groups.update("g", { ...settings, query: ofTypes("T", "U") });
    expect(updated.settings.query).toEqual(ofTypes("T", "U"));
    expect(await worker.news()).toEqual(["3", "4"]);
    worker.ack();
    await settled();
    expect(worker.settled).toHaveLength(4);
    expect((await log.groups.get("g")).position).toBe(4);
    const later = await Worker.join(restarted(opened).log, "g", 10);
    await append(log, "e", "U");
    expect(await later.news()).toEqual([]);
  });

  test("another ordering takes over, and what is in flight keeps its key closed", async () => {
    const { log } = await groupOver("");
    await appendAll(log, { stream: "a-1" }, { stream: "a-2" }, { stream: "a-3" });
    const worker = await Worker.join(log, "g", 1);
    expect(await worker.news()).toEqual(["1"]);
    worker.ask({ kind: "permits", count: 5 });
    await log.groups.update("g", { ...settings, ordering: { kind: "category" } });
    const before = await worker.news();
    expect(["2", "3"]).toEqual(expect.arrayContaining(before));
    worker.ack();
    await settled();
    expect(worker.held.length).toBeLessThanOrEqual(1);
  });

  test("a reset takes back what is in flight and begins anew", async () => {
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

  test("too many edits at once are told to wait", async () => {
    const { log } = await groupOver("ab");
    const worker = await Worker.join(log, "g", 10);
    await settled();
    const outcomes: (string | undefined)[] = [];
    for (let i = 0; i < 10; i++) {
      const query = ofTypes("T", `U${i}`);
      outcomes.push(await reasonOf(log.groups.update("g", { ...settings, query })));
      await settled();
    }
    expect(outcomes.filter((reason) => reason === undefined)).toHaveLength(8);
    expect(outcomes.at(-1)).toBe("OVERLOADED");
    expect(worker.error).toBeUndefined();
  });
});

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

test("workers deal with every event, in the order of its stream, whatever happens", async () => {
  await assertWork(80);
});
