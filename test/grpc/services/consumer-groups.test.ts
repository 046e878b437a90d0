// Consumer groups as a client meets them: over a real connection, every call, every refusal by name.
import { toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import {
  ConsumerGroupService,
  DeliverySchema,
  ListParkedResponseSchema,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { View } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { encode } from "../../support/calls.ts";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";
import { Consumer, shortly } from "./group-consumer.ts";

const { append, getInfo } = EventStoreService.method;
const groups = ConsumerGroupService.method;
const { waitFor } = CheckpointService.method;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

let names = 0;
/** A name of its own for each test. */
const fresh = (): string => `g-${names++}`;
const seconds = (n: number) => ({ seconds: BigInt(n) });

/** An event to each stream named, of a type of the group's own. */
const events = async (name: string, streams: string) => {
  const all = streams.split("").map((stream) => ({ type: name, stream: `${name}-${stream}` }));
  const { firstPosition } = await server.calls.unary(append, { events: all });
  return Number(firstPosition);
};

const query = (name: string) => ({ items: [{ types: [name] }] });

/** A group over its own events: `aab` is two of a stream a and one of b. Answers the first position. */
async function groupOver(name: string, streams: string, settings = {}): Promise<number> {
  const first = streams === "" ? 0 : await events(name, streams);
  await server.calls.unary(groups.createGroup, {
    name,
    settings: { query: query(name), ...settings },
  });
  return first;
}

const get = async (name: string) =>
  (await server.calls.unary(groups.getGroup, { name })).group ?? expect.unreachable();

/** Which fields a request is refused for. */
const fieldsOf = (failure: { badRequest?: { fieldViolations: { field: string }[] } }) =>
  failure.badRequest?.fieldViolations.map(({ field }) => field);

describe("a group", () => {
  test("is created with every default, and answered in numbers", async () => {
    const name = fresh();
    const { group } = await server.calls.unary(groups.createGroup, { name });
    expect(group).toMatchObject({
      name,
      position: expect.any(BigInt),
      memberCount: 0,
      inFlightCount: 0,
      parkedCount: 0n,
      oldestInFlightPosition: 0n,
      settings: {
        query: { items: [] },
        ordering: { key: { case: "stream" } },
        lease: { seconds: 30n },
        attemptsMax: 10,
        retryDelay: { seconds: 1n },
        retryDelayMax: { seconds: 60n },
        inFlightMax: 10_000,
      },
    });
    expect(Number(group?.createdAt?.seconds)).toBeGreaterThan(1_700_000_000);
  });

  test("created again is the same, or refused as another one", async () => {
    const name = fresh();
    const settings = {
      query: query(name),
      ordering: { key: { case: "tagPrefix", value: "customer:" } } as const,
      lease: { nanos: 100_000_000 },
      attemptsMax: 1_000,
      retryDelay: seconds(0),
      retryDelayMax: seconds(24 * 3_600),
      inFlightMax: 100_000,
    };
    const { group } = await server.calls.unary(groups.createGroup, { name, settings });
    expect(group?.settings).toMatchObject(settings);
    await server.calls.unary(groups.createGroup, { name, settings });
    const other = { name, settings: { ...settings, attemptsMax: 3 } };
    expect(await server.calls.failure(groups.createGroup, other)).toMatchObject({
      code: 6,
      reason: "GROUP_EXISTS",
      info: { group: name },
    });
    const start = { start: { case: "fromEnd", value: {} } } as const;
    expect(await server.calls.failure(groups.createGroup, { name, settings, start })).toMatchObject(
      { code: 6 },
    );
  });

  test.each([
    [{ name: "" }, "name"],
    [{ name: "$own" }, "name"],
    [{ name: "a\n" }, "name"],
    [{ name: "é".repeat(129) }, "name"],
    [{ settings: { lease: { nanos: 99_000_000 } } }, "settings.lease"],
    [{ settings: { lease: seconds(12 * 3_600 + 1) } }, "settings.lease"],
    [{ settings: { attemptsMax: 1_001 } }, "settings.attempts_max"],
    [{ settings: { retryDelay: seconds(-1) } }, "settings.retry_delay"],
    [{ settings: { retryDelay: seconds(24 * 3_600 + 1) } }, "settings.retry_delay"],
    [
      { settings: { retryDelay: seconds(9), retryDelayMax: seconds(8) } },
      "settings.retry_delay_max",
    ],
    [{ settings: { inFlightMax: 100_001 } }, "settings.in_flight_max"],
    [
      { settings: { ordering: { key: { case: "tagPrefix", value: "" } } as const } },
      "settings.ordering.tag_prefix",
    ],
    [{ settings: { query: { items: [{ types: [""] }] } } }, "settings.query.items[0].types[0]"],
    [
      { start: { start: { case: "afterPosition", value: 2n ** 53n } as const } },
      "start.after_position",
    ],
    [
      { start: { start: { case: "fromTime", value: { nanos: -1 } } as const } },
      "start.from_time.nanos",
    ],
  ])("of %o is refused by field", async (request, field) => {
    const failure = await server.calls.failure(groups.createGroup, { name: fresh(), ...request });
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(fieldsOf(failure)).toEqual([field]);
  });

  test("with a long first delay has a longest one to go with it", async () => {
    const name = fresh();
    const settings = { retryDelay: seconds(300) };
    const { group } = await server.calls.unary(groups.createGroup, { name, settings });
    expect(group?.settings?.retryDelayMax).toMatchObject({ seconds: 300n });
  });

  test("begins after a position, at a time, or at the end", async () => {
    const name = fresh();
    const first = await events(name, "abc");
    const at = { settings: { query: query(name) } };
    const lagFrom = async (start: object) => {
      const own = fresh();
      await server.calls.unary(groups.createGroup, { name: own, ...at, start });
      return (await get(own)).lagEvents;
    };
    const after = { case: "afterPosition", value: BigInt(first) };
    expect(await lagFrom({ start: after })).toBe(2n);
    expect(await lagFrom({ start: { case: "fromTime", value: seconds(0) } })).toBe(3n);
    expect(await lagFrom({ start: { case: "fromTime", value: seconds(9_999_999_999) } })).toBe(0n);
    expect(await lagFrom({ start: { case: "fromEnd", value: {} } })).toBe(0n);
    const beyond = { start: { case: "afterPosition", value: 1_000_000n } as const };
    const created = await server.calls.failure(groups.createGroup, {
      name: fresh(),
      start: beyond,
    });
    const info = { field: "start.after_position", asked: "1000000" };
    expect(created).toMatchObject({ code: 11, reason: "BEYOND_HEAD", info });
  });

  test("that is not there is not found by any call, and deleting it is no error", async () => {
    const name = fresh();
    const missing = { code: 5, reason: "GROUP_NOT_FOUND", info: { group: name } };
    const failures = [
      server.calls.failure(groups.getGroup, { name }),
      server.calls.failure(groups.updateGroup, { name, settings: {} }),
      server.calls.failure(groups.resetGroup, { name }),
      server.calls.failure(groups.listParked, { group: name }),
      server.calls.failure(groups.replayParked, { group: name }),
      server.calls.failure(groups.discardParked, { group: name, positions: [1n] }),
      server.calls.failure(waitFor, { who: { case: "group", value: name } }),
      Consumer.join(server.calls, name).ended,
    ];
    for (const failure of await Promise.all(failures)) expect(failure).toMatchObject(missing);
    const deleted = await server.calls.unary(groups.deleteGroup, { name });
    expect(deleted.deleted).toBe(false);
  });

  test("is refused by every call where its name cannot be one", async () => {
    const name = "$x";
    const failures = [
      server.calls.failure(groups.getGroup, { name }),
      server.calls.failure(groups.updateGroup, { name, settings: {} }),
      server.calls.failure(groups.deleteGroup, { name }),
      server.calls.failure(groups.resetGroup, { name }),
      server.calls.failure(groups.listParked, { group: name }),
      server.calls.failure(groups.replayParked, { group: name }),
      server.calls.failure(groups.discardParked, { group: name }),
    ];
    for (const failure of await Promise.all(failures)) {
      expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    }
    const without = await server.calls.failure(groups.updateGroup, { name: fresh() });
    expect(fieldsOf(without)).toEqual(["settings"]);
  });

  test("is listed with the others page by page", async () => {
    const all = ["list-a", "list-b", "list-c", "list-é"];
    for (const name of all) await groupOver(name, "xy");
    const listed: string[] = [];
    let pageToken = "";
    do {
      const request = { prefix: "list-", pageSize: 3, pageToken };
      const page = await server.calls.unary(groups.listGroups, request);
      for (const group of page.groups) {
        listed.push(group.name);
        expect(group).toMatchObject({ lagEvents: 2n, lag: expect.anything(), members: [] });
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual(all);
    const bent = await server.calls.failure(groups.listGroups, { pageToken: "bent" });
    expect(fieldsOf(bent)).toEqual(["page_token"]);
    const long = await server.calls.failure(groups.listGroups, { prefix: "p".repeat(257) });
    expect(fieldsOf(long)).toEqual(["prefix"]);
  });

  test("is updated while it runs, its query too; too many edits are told to wait", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab");
    const more = `${name}-more`;
    await events(more, "c");
    const worker = Consumer.join(server.calls, name);
    expect(shortly(await worker.next(2))).toEqual([`${first}`, `${first + 1}`]);
    worker.ack(...worker.deliveries);
    const settings = { query: { items: [{ types: [name, more] }] } };
    const { group } = await server.calls.unary(groups.updateGroup, { name, settings });
    expect(group?.settings).toMatchObject(settings);
    expect(shortly(await worker.next())).toEqual([`${first + 2}`]);
    const edits: (string | undefined)[] = [];
    for (let i = 0; i < 10; i++) {
      const edited = { query: { items: [{ types: [name, more, `T${i}`] }] } };
      const failure = await server.calls
        .failure(groups.updateGroup, { name, settings: edited })
        .catch(() => undefined);
      edits.push(failure?.reason);
    }
    expect(edits.at(-1)).toBe("OVERLOADED");
    worker.pipe.cancel();
  });
});

describe("a member", () => {
  test("is told that it is in, gets events by key, settles them, and leaves in order", async () => {
    const name = fresh();
    const first = await groupOver(name, "aab");
    const worker = Consumer.join(server.calls, name, { member: "w1", permits: 5 });
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
    const worker = Consumer.join(server.calls, name);
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
    const worker = Consumer.join(server.calls, name, { permits: 0 });
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
    await server.calls.unary(append, {
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
      const worker = Consumer.join(server.calls, name, { view });
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
    const numbers = Buffer.from(`[${"1,".repeat(30_000)}1]`);
    for (const bytes of [value, ...Array.from({ length: 6 }, () => numbers)]) {
      const payload = { case: "data", value: bytes } as const;
      const event = { type: name, payload, contentType: "application/json" };
      await server.calls.unary(append, { stream: name, events: [event] });
    }
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const worker = Consumer.join(server.calls, name, { view: View.JSON });
    expect((await worker.next(7)).map(({ event }) => event?.json?.kind.case)).toEqual([
      "structValue",
      ...Array.from({ length: 6 }, () => "listValue"),
    ]);
    worker.pipe.cancel();
  });

  test("says that an event failed, and gets it again after a while, in its turn", async () => {
    const name = fresh();
    const first = await groupOver(name, "aa", { retryDelay: { nanos: 1_000_000 } });
    const worker = Consumer.join(server.calls, name);
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
    const stalled = Consumer.join(server.calls, name, { permits: 2 });
    const [lost, kept] = await stalled.next(2);
    if (lost === undefined || kept === undefined) return expect.unreachable();
    // As if its lease had been so short.
    const lease = { nanos: 100_000_000 };
    stalled.say({ case: "extend", value: { tokens: [lost.token], lease } });
    const other = Consumer.join(server.calls, name);
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
    const worker = Consumer.join(server.calls, name, { permits: 5 });
    const tokens = (await worker.next(3)).map(({ token }) => token);
    worker.say({ case: "release", value: { tokens } });
    worker.pipe.end();
    expect(await worker.ended).toBe("ok");
    const other = Consumer.join(server.calls, name);
    const again = await other.next(3);
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
    expect(shortly(again).toSorted()).toEqual([`${first}`, `${first + 1}`, `${first + 2}`]);
    other.pipe.cancel();
  });

  test("that is cut off gives its events to the others at once", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab", { lease: seconds(3_600) });
    const cut = Consumer.join(server.calls, name);
    await cut.next(2);
    const other = Consumer.join(server.calls, name);
    cut.pipe.cancel();
    expect(shortly(await other.next(2))).toEqual([`${first} #2`, `${first + 1} #2`]);
    expect(await cut.ended).toMatchObject({ code: 1 });
    other.pipe.cancel();
  });

  test("whose deadline passes is no member any more", async () => {
    const name = fresh();
    await groupOver(name, "a", { lease: seconds(3_600) });
    const brief = Consumer.join(server.calls, name, { deadlineMs: 300 });
    expect(await brief.ended).toMatchObject({ code: 4 });
    const other = Consumer.join(server.calls, name);
    await other.next();
    other.pipe.cancel();
  });

  test("ends with its group", async () => {
    const name = fresh();
    await groupOver(name, "ab", { attemptsMax: 1 });
    const worker = Consumer.join(server.calls, name);
    worker.nack(await worker.next(2));
    await worker.until(() => worker.settled.length === 2);
    const deleted = await server.calls.unary(groups.deleteGroup, { name });
    expect(deleted.deleted).toBe(true);
    const gone = { code: 5, reason: "GROUP_NOT_FOUND", info: { group: name } };
    expect(await worker.ended).toMatchObject(gone);
    // One of its name that comes later has nothing of it.
    await groupOver(name, "");
    const { parked } = await server.calls.unary(groups.listParked, { group: name });
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
    const worker = Consumer.open(server.calls);
    worker.pipe.send(message === undefined ? {} : { message: message as never });
    const failure = await worker.ended;
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure !== "ok" && fieldsOf(failure)).toEqual([field]);
  });

  test("that never joins is refused", async () => {
    const worker = Consumer.open(server.calls);
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
    const worker = Consumer.join(server.calls, name);
    await worker.next();
    worker.say(message as never);
    const failure = await worker.ended;
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure !== "ok" && fieldsOf(failure)).toEqual([field]);
    const other = Consumer.join(server.calls, name);
    await other.next();
    other.pipe.cancel();
  });

  test("that sends what is no message at all is refused", async () => {
    const name = fresh();
    await groupOver(name, "a");
    const worker = Consumer.join(server.calls, name);
    await worker.next();
    worker.pipe.sendBytes(Buffer.from([0x1a, 0xff]));
    expect(await worker.ended).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
  });

  test("that does not read costs its window and nothing more; the others get the rest", async () => {
    const name = fresh();
    const payload = { case: "data", value: Buffer.alloc(60_000) } as const;
    const stopped = new RawConnection(Number(server.address.split(":")[1]), { window: 65_535 });
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const stream = stopped.request("/annals.v1.ConsumerGroupService/Consume");
    const message = { case: "join", value: { group: name, permits: 10_000 } } as const;
    stream.write(messageFrame(encode(groups.consume.input, { message })));
    for (let i = 0; i < 10; i++) {
      const many = Array.from({ length: 30 }, () => ({ type: name, payload }));
      await server.calls.unary(append, { stream: name, events: many });
    }
    const { inFlightCount } = await get(name);
    // Some that it has not taken (64), what is on its way, what its window holds.
    expect(inFlightCount).toBeLessThan(64 + 8 + 8);
    const worker = Consumer.join(server.calls, name, { permits: 10_000 });
    await worker.next(300 - 64 - 16);
    stopped.close();
    await worker.until(() => worker.deliveries.length === 300);
    worker.pipe.cancel();
  });

  test("may be one of a hundred", async () => {
    const name = fresh();
    await groupOver(name, "", { ordering: { key: { case: "stream", value: {} } } });
    const streams = Array.from({ length: 500 }, (_, i) => ({ type: name, stream: `${name}-${i}` }));
    await server.calls.unary(append, { events: streams });
    const crowd = Array.from({ length: 100 }, () => {
      return Consumer.join(server.calls, name, { permits: 5 });
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

describe("parked events", () => {
  test("keep reason and attempts, are listed in pages and views, replayed and discarded", async () => {
    const name = fresh();
    const first = await groupOver(name, "aabc", { attemptsMax: 1 });
    const worker = Consumer.join(server.calls, name);
    const early = await worker.next(3);
    worker.nack(early.slice(0, 1), "cannot\nparse");
    worker.say({
      case: "park",
      value: { tokens: early.slice(1).map(({ token }) => token), reason: "aside" },
    });
    // The poison event does not block its own key.
    expect(shortly(await worker.next())).toEqual([`${first + 1}`]);
    await worker.until(() => worker.settled.length === 3);
    const page = await server.calls.unary(groups.listParked, { group: name, pageSize: 2 });
    expect(page.parked).toMatchObject([
      { position: BigInt(first), attempts: 1, reason: "cannot\nparse", event: { type: name } },
      { position: BigInt(first + 2), attempts: 1, reason: "aside" },
    ]);
    const { nextPageToken: pageToken } = page;
    const rest = await server.calls.unary(groups.listParked, { group: name, pageToken });
    expect(rest).toMatchObject({ parked: [{ position: BigInt(first + 3) }], nextPageToken: "" });
    const json = toJson(ListParkedResponseSchema, rest) as { parked: object[] };
    expect(json.parked[0]).toMatchObject({ reason: "aside", event: { stream: `${name}-c` } });

    const replayed = await server.calls.unary(groups.replayParked, {
      group: name,
      positions: [BigInt(first), 1_000_000n],
    });
    expect(replayed.replayedCount).toBe(1n);
    worker.ack(...worker.deliveries.slice(-1));
    expect(shortly(await worker.next())).toEqual([`${first}`]);
    const discarded = await server.calls.unary(groups.discardParked, {
      group: name,
      positions: [BigInt(first + 2)],
    });
    expect(discarded.discardedCount).toBe(1n);
    const all = await server.calls.unary(groups.replayParked, { group: name });
    expect(all.replayedCount).toBe(1n);
    expect(shortly(await worker.next())).toEqual([`${first + 3}`]);
    expect((await get(name)).parkedCount).toBe(0n);
    worker.pipe.cancel();
  });

  test("that are large come in pages that fit a client", async () => {
    const name = fresh();
    const payload = { case: "data", value: Buffer.alloc(700_000) } as const;
    for (let i = 0; i < 5; i++) {
      await server.calls.unary(append, { stream: name, events: [{ type: name, payload }] });
    }
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const worker = Consumer.join(server.calls, name);
    const tokens = (await worker.next(5)).map(({ token }) => token);
    worker.say({ case: "park", value: { tokens } });
    await worker.until(() => worker.settled.length === 5);
    worker.pipe.cancel();
    const counts: number[] = [];
    for (let pageToken = ""; ;) {
      const page = await server.calls.unary(groups.listParked, { group: name, pageToken });
      counts.push(page.parked.length);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(counts).toEqual([1, 1, 1, 1, 1]);
    const headers = { group: name, view: View.HEADERS };
    const page = await server.calls.unary(groups.listParked, headers);
    expect(page.parked.length).toBeGreaterThan(1);
  });

  test.each([
    [{ positions: [0n] }, "positions[0]"],
    [{ positions: [2n ** 60n] }, "positions[0]"],
    [{ positions: Array.from({ length: 1_001 }, (_, i) => BigInt(i + 1)) }, "positions"],
  ])("of impossible positions are refused by field", async (request, field) => {
    const name = fresh();
    await groupOver(name, "");
    const asked = { group: name, ...request };
    const failures = [
      server.calls.failure(groups.replayParked, asked),
      server.calls.failure(groups.discardParked, asked),
    ];
    for (const failure of await Promise.all(failures)) expect(fieldsOf(failure)).toEqual([field]);
    const view = await server.calls.failure(groups.listParked, { group: name, view: 9 as View });
    expect(fieldsOf(view)).toEqual(["view"]);
  });

  test("stay parked through a reset, and come again where they lie after the new start", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab", { attemptsMax: 1 });
    const worker = Consumer.join(server.calls, name);
    const [bad, held] = await worker.next(2);
    if (bad === undefined || held === undefined) return expect.unreachable();
    worker.nack([bad]);
    await worker.until(() => worker.settled.length === 1);
    const start = { case: "afterPosition", value: BigInt(first - 1) } as const;
    const { group } = await server.calls.unary(groups.resetGroup, { name, start: { start } });
    expect(group).toMatchObject({ parkedCount: 1n, lagEvents: 2n });
    worker.ack(held);
    await worker.until(() => worker.refused.length === 1);
    expect(shortly(await worker.next(2))).toEqual([`${first}`, `${first + 1}`]);
    const beyond = { start: { case: "afterPosition", value: 1_000_000n } as const };
    const failure = await server.calls.failure(groups.resetGroup, { name, start: beyond });
    expect(failure).toMatchObject({ code: 11, reason: "BEYOND_HEAD" });
    worker.pipe.cancel();
  });
});

test("WaitFor a group answers once everything up to the position is settled", async () => {
  const name = fresh();
  const first = await groupOver(name, "ab");
  const worker = Consumer.join(server.calls, name);
  const both = await worker.next(2);
  const who = { case: "group", value: name } as const;
  const position = BigInt(first + 1);
  const brief = { who, position, timeout: { nanos: 20_000_000 } };
  expect(await server.calls.failure(waitFor, brief)).toMatchObject({ code: 4 });
  const waiting = server.calls.unary(waitFor, { who, position });
  worker.ack(...both);
  expect((await waiting).position).toBeGreaterThanOrEqual(position);
  worker.pipe.cancel();
});
