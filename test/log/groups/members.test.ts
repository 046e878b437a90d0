// Members of groups over the log: what they are given, what they say, and what becomes of it.
import { describe, expect, test } from "vitest";
import { settled } from "../harness.ts";
import { append, groupOver, reasonOf, restarted } from "./group-over.ts";
import { Worker } from "./worker.ts";

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
    const nonsense = ["", "x", `${token} `, `0${token}`, token.toUpperCase() + "0"];
    later.ask({ kind: "ack", tokens: [...old, ...nonsense], upTo: "" });
    await settled();
    expect(later.refused).toEqual([...old, ...nonsense]);
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
