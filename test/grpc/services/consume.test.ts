// Consume as a client meets it: a member over a real connection, and every refusal by name.
import { toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  ConsumerGroupService,
  DeliverySchema,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { View } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { encode } from "../../support/calls.ts";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";
import { startTestServer } from "../../support/running-server.ts";
import { Consumer, shortly } from "./group-consumer.ts";
import {
  address,
  calls,
  fieldsOf,
  fresh,
  get,
  groupOver,
  seconds,
  useServer,
} from "./group-server.ts";

const { append, getInfo } = EventStoreService.method;
const groups = ConsumerGroupService.method;

useServer();

describe("a member", () => {
  test("is told that it is in, gets events by key, settles them, and leaves in order", async () => {
    const name = fresh();
    const first = await groupOver(name, "aab");
    const worker = Consumer.join(calls(), name, { member: "w1", permits: 5 });
    const early = await worker.next(2);
    expect(shortly(early)).toEqual([`${first}`, `${first + 2}`]);
    expect(await get(name)).toMatchObject({
      memberCount: 1,
      members: [{ name: "w1", permits: 5, inFlightCount: 2 }],
      inFlightCount: 2,
      oldestInFlightPosition: BigInt(first),
      lagEvents: 3n,
    });
    const [one, other] = early.map(({ token }) => token);
    worker.ack(...early.slice(0, 1));
    expect(shortly(await worker.next())).toEqual([`${first + 1}`]);
    worker.say({ case: "ack", value: { upToToken: worker.deliveries[2]?.token ?? "" } });
    await worker.until(() => worker.settled.length === 3);
    expect(worker.settled).toEqual([one, other, worker.deliveries[2]?.token]);
    const { position, lagEvents, lag } = await get(name);
    expect([lagEvents, lag]).toEqual([0n, undefined]);
    expect(position).toBeGreaterThanOrEqual(BigInt(first + 2));
    worker.pipe.end();
    expect(await worker.ended).toBe("ok");
    expect(await get(name)).toMatchObject({ memberCount: 0, members: [] });
  });

  test("that half-closes hears what became of its last word", async () => {
    const name = fresh();
    await groupOver(name, "ab");
    const worker = Consumer.join(calls(), name);
    const [first, second] = await worker.next(2);
    if (first === undefined || second === undefined) return expect.unreachable();
    worker.ack(first);
    worker.say({ case: "park", value: { tokens: [second.token, "x"], reason: "aside" } });
    worker.pipe.end();
    expect(await worker.ended).toBe("ok");
    expect(worker).toMatchObject({ settled: [first.token, second.token], refused: ["x"] });
  });

  test("gets as many as its permits allow: one, where it says nothing of them", async () => {
    const name = fresh();
    const first = await groupOver(name, "abcd");
    const worker = Consumer.join(calls(), name, { permits: 0 });
    expect(shortly(await worker.next())).toEqual([`${first}`]);
    worker.say({ case: "permits", value: { count: 2 } });
    expect(shortly(await worker.next(2))).toEqual([`${first + 1}`, `${first + 2}`]);
    expect(await get(name)).toMatchObject({ inFlightCount: 3 });
    worker.ack(...worker.deliveries.slice(0, 1));
    expect(shortly(await worker.next())).toEqual([`${first + 3}`]);
    worker.pipe.cancel();
  });

  test("gets each event as Read would give it, in the view it asks for", async () => {
    const name = fresh();
    await calls().unary(append, {
      stream: name,
      events: [
        {
          type: name,
          tags: ["t"],
          metadata: { user: "u" },
          payload: { case: "data", value: Buffer.from('{"a":[1,"ü"]}') },
          contentType: "application/json",
        },
      ],
    });
    await groupOver(name, "");
    const seen = async (view: View) => {
      const worker = Consumer.join(calls(), name, { view });
      const [delivery] = await worker.next();
      worker.pipe.cancel();
      await worker.ended;
      return delivery === undefined ? {} : (toJson(DeliverySchema, delivery) as object);
    };
    const words = { stream: name, type: name, tags: ["t"], metadata: { user: "u" }, version: "1" };
    const full = { ...words, data: Buffer.from('{"a":[1,"ü"]}').toString("base64") };
    expect(await seen(View.FULL)).toMatchObject({ attempt: 1, event: full });
    expect(await seen(View.JSON)).toMatchObject({ event: { ...words, json: { a: [1, "ü"] } } });
    const headers = (await seen(View.HEADERS)) as { event: object; leaseUntil: string };
    expect(headers.event).toMatchObject(words);
    expect(headers.event).not.toHaveProperty("data");
    expect(Date.parse(headers.leaseUntil)).toBeGreaterThan(Date.now() - 60_000);
  });

  test("gets events of three megabytes, whatever the view makes of them", async () => {
    const name = fresh();
    const value = Buffer.from(JSON.stringify({ text: "x".repeat(3_000_000) }));
    const numbers = Buffer.from(`[${"1,".repeat(9_000)}1]`);
    for (const bytes of [value, ...Array.from({ length: 6 }, () => numbers)]) {
      const payload = { case: "data", value: bytes } as const;
      const event = { type: name, payload, contentType: "application/json" };
      await calls().unary(append, { stream: name, events: [event] });
    }
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const worker = Consumer.join(calls(), name, { view: View.JSON });
    expect((await worker.next(7)).map(({ event }) => event?.json?.kind.case)).toEqual([
      // Longer than a text that is decoded.
      undefined,
      ...Array.from({ length: 6 }, () => "listValue"),
    ]);
    worker.pipe.cancel();
  });

  test("says that an event failed, and gets it again after a while, in its turn", async () => {
    const name = fresh();
    const first = await groupOver(name, "aa", { retryDelay: { nanos: 1_000_000 } });
    const worker = Consumer.join(calls(), name);
    worker.nack(await worker.next());
    const second = await worker.next();
    expect(shortly(second)).toEqual([`${first} #2`]);
    worker.nack(second, "again", 1);
    expect(shortly(await worker.next())).toEqual([`${first} #3`]);
    worker.ack(...worker.deliveries.slice(-1));
    expect(shortly(await worker.next())).toEqual([`${first + 1}`]);
    worker.pipe.cancel();
  });

  test("that stalls past the lease loses its events to others, and its word", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab", { lease: seconds(3_600) });
    // No more permits than it uses: with others to spare it would be given the event again.
    const stalled = Consumer.join(calls(), name, { permits: 2 });
    const [lost, kept] = await stalled.next(2);
    if (lost === undefined || kept === undefined) return expect.unreachable();
    // As if its lease had been so short.
    const lease = { nanos: 100_000_000 };
    stalled.say({ case: "extend", value: { tokens: [lost.token], lease } });
    const other = Consumer.join(calls(), name);
    expect(shortly(await other.next())).toEqual([`${first} #2`]);
    stalled.ack(lost, kept);
    await stalled.until(() => stalled.refused.length + stalled.settled.length === 2);
    expect(stalled).toMatchObject({ refused: [lost.token], settled: [kept.token] });
    other.ack(...other.deliveries);
    await other.until(() => other.settled.length === 1);
    for (const one of [stalled, other]) one.pipe.cancel();
  });

  test("that gives back what it has not looked at takes no attempt from it", async () => {
    const name = fresh();
    const first = await groupOver(name, "abc", { attemptsMax: 1 });
    const worker = Consumer.join(calls(), name, { permits: 5 });
    const tokens = (await worker.next(3)).map(({ token }) => token);
    worker.say({ case: "release", value: { tokens } });
    worker.pipe.end();
    expect(await worker.ended).toBe("ok");
    const other = Consumer.join(calls(), name);
    const again = await other.next(3);
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
    expect(shortly(again).toSorted()).toEqual([`${first}`, `${first + 1}`, `${first + 2}`]);
    other.pipe.cancel();
  });

  test("that is cut off gives its events to the others at once", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab", { lease: seconds(3_600) });
    const cut = Consumer.join(calls(), name);
    await cut.next(2);
    const other = Consumer.join(calls(), name);
    cut.pipe.cancel();
    expect(shortly(await other.next(2))).toEqual([`${first} #2`, `${first + 1} #2`]);
    expect(await cut.ended).toMatchObject({ code: 1 });
    other.pipe.cancel();
  });

  test("whose deadline passes is no member any more", async () => {
    const name = fresh();
    await groupOver(name, "a", { lease: seconds(3_600) });
    const brief = Consumer.join(calls(), name, { deadlineMs: 300 });
    expect(await brief.ended).toMatchObject({ code: 4 });
    const other = Consumer.join(calls(), name);
    await other.next();
    other.pipe.cancel();
  });

  test("ends with its group", async () => {
    const name = fresh();
    await groupOver(name, "ab", { attemptsMax: 1 });
    const worker = Consumer.join(calls(), name);
    worker.nack(await worker.next(2));
    await worker.until(() => worker.settled.length === 2);
    const deleted = await calls().unary(groups.deleteGroup, { name });
    expect(deleted.deleted).toBe(true);
    const gone = { code: 5, reason: "GROUP_NOT_FOUND", info: { group: name } };
    expect(await worker.ended).toMatchObject(gone);
    // One of its name that comes later has nothing of it.
    await groupOver(name, "");
    const { parked } = await calls().unary(groups.listParked, { group: name });
    expect([parked, (await get(name)).lagEvents]).toEqual([[], 2n]);
  });

  test("is asked to join again when the server stops, and told what is durable before", async () => {
    const stopping = await startTestServer();
    await stopping.calls.unary(append, { stream: "s", events: [{ type: "T" }] });
    await stopping.calls.unary(groups.createGroup, { name: "g" });
    const worker = Consumer.join(stopping.calls, "g");
    worker.ack(...(await worker.next()));
    await worker.until(() => worker.settled.length === 1);
    // Not by `stop`, which closes the client first.
    const idle = Consumer.join(stopping.calls, "g");
    await stopping.calls.unary(getInfo, {});
    const stopped = stopping.stop();
    for (const one of [worker, idle])
      expect((await one.ended) as object).toMatchObject({ code: 14 });
    await stopped;
    expect(stopping.lines.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
  });

  const tokens = ["x"];
  const join = (value: object) => ({ case: "join", value: { group: "g", ...value } }) as const;
  test.each([
    ["nothing", undefined, "join"],
    ["an acknowledgement", { case: "ack", value: { tokens } } as const, "join"],
    ["a name that cannot be one", join({ group: "$g" }), "join.group"],
    ["a long name of its own", join({ member: "m".repeat(257) }), "join.member"],
    ["too many permits", join({ permits: 10_001 }), "join.permits"],
    ["a view there is not", join({ view: 9 }), "join.view"],
  ])("that begins with %s is refused by field", async (_, message, field) => {
    const worker = Consumer.open(calls());
    worker.pipe.send(message === undefined ? {} : { message: message as never });
    const failure = await worker.ended;
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure !== "ok" && fieldsOf(failure)).toEqual([field]);
  });

  test("that never joins is refused", async () => {
    const worker = Consumer.open(calls());
    worker.pipe.end();
    const failure = await worker.ended;
    expect(failure !== "ok" && fieldsOf(failure)).toEqual(["join"]);
  });

  test.each([
    [{ case: undefined }, "message"],
    [{ case: "join", value: { group: "g" } }, "join"],
    [{ case: "permits", value: {} }, "permits.count"],
    [{ case: "permits", value: { count: 10_001 } }, "permits.count"],
    [{ case: "ack", value: {} }, "ack.tokens"],
    [{ case: "ack", value: { tokens: Array.from({ length: 1_001 }, () => "x") } }, "ack.tokens"],
    [{ case: "ack", value: { tokens: ["x".repeat(65)] } }, "ack.tokens[0]"],
    [{ case: "ack", value: { upToToken: "x".repeat(65) } }, "ack.up_to_token"],
    [{ case: "nack", value: {} }, "nack.tokens"],
    [{ case: "nack", value: { tokens, delay: seconds(86_401) } }, "nack.delay"],
    [{ case: "nack", value: { tokens, reason: "é".repeat(513) } }, "nack.reason"],
    [{ case: "extend", value: { tokens, lease: { nanos: 1 } } }, "extend.lease"],
    [{ case: "extend", value: {} }, "extend.tokens"],
    [{ case: "park", value: {} }, "park.tokens"],
    [{ case: "release", value: { tokens: ["x".repeat(65)] } }, "release.tokens[0]"],
    [{ case: "park", value: { tokens, reason: "x".repeat(1_025) } }, "park.reason"],
  ])("that says %o is refused by field, and its events go on", async (message, field) => {
    const name = fresh();
    await groupOver(name, "a", { lease: seconds(3_600) });
    const worker = Consumer.join(calls(), name);
    await worker.next();
    worker.say(message as never);
    const failure = await worker.ended;
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure !== "ok" && fieldsOf(failure)).toEqual([field]);
    const other = Consumer.join(calls(), name);
    await other.next();
    other.pipe.cancel();
  });

  test("that sends what is no message at all is refused", async () => {
    const name = fresh();
    await groupOver(name, "a");
    const worker = Consumer.join(calls(), name);
    await worker.next();
    worker.pipe.sendBytes(Buffer.from([0x1a, 0xff]));
    expect(await worker.ended).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
  });

  test("that does not read costs its window and nothing more; the others get the rest", async () => {
    const name = fresh();
    const payload = { case: "data", value: Buffer.alloc(60_000) } as const;
    const stopped = new RawConnection(Number(address().split(":")[1]), { window: 65_535 });
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const stream = stopped.request("/annals.v1.ConsumerGroupService/Consume");
    const message = { case: "join", value: { group: name, permits: 10_000 } } as const;
    stream.write(messageFrame(encode(groups.consume.input, { message })));
    for (let i = 0; i < 10; i++) {
      const many = Array.from({ length: 30 }, () => ({ type: name, payload }));
      await calls().unary(append, { stream: name, events: many });
    }
    const { inFlightCount } = await get(name);
    // Some that it has not taken (64), what is on its way, what its window holds.
    expect(inFlightCount).toBeLessThan(64 + 8 + 8);
    const worker = Consumer.join(calls(), name, { permits: 10_000 });
    await worker.next(300 - 64 - 16);
    stopped.close();
    await worker.until(() => worker.deliveries.length === 300);
    worker.pipe.cancel();
  });

  test("may be one of a hundred", async () => {
    const name = fresh();
    await groupOver(name, "", { ordering: { key: { case: "stream", value: {} } } });
    const streams = Array.from({ length: 500 }, (_, i) => ({ type: name, stream: `${name}-${i}` }));
    await calls().unary(append, { events: streams });
    const crowd = Array.from({ length: 100 }, () => {
      return Consumer.join(calls(), name, { permits: 5 });
    });
    const given = await Promise.all(crowd.map((worker) => worker.next(5)));
    const of = given.flat().map(({ event }) => event?.stream);
    expect(new Set(of).size).toBe(500);
    for (const [i, worker] of crowd.entries()) worker.ack(...(given[i] ?? []));
    await Promise.all(crowd.map((worker) => worker.until(() => worker.settled.length === 5)));
    expect(await get(name)).toMatchObject({ lagEvents: 0n, memberCount: 100 });
    for (const worker of crowd) worker.pipe.cancel();
  });
});
