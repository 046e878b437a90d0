// Streams of the KurrentDB protocol over a real socket: appends with every expectation, both kinds of
// idempotency, reads in all forms, deletions, tombstones, and the errors that clients parse.
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { TestServer } from "../../support/running-server.ts";
import {
  append,
  at,
  backwards,
  events,
  m,
  nameOf,
  named,
  ofAll,
  ofStream,
  read,
  startKurrent,
  textOf,
  trailersOf,
  type Expectation,
} from "./kurrent-client.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

const remove = (
  stream: string,
  expected: Expectation = "any",
  method: "delete" | "tombstone" = "delete",
) => {
  const value =
    typeof expected === "bigint"
      ? { case: "revision", value: expected }
      : { case: expected, value: {} };
  const options = { streamIdentifier: named(stream), expectedStreamRevision: value as never };
  return server.calls.unary(m[method] as typeof m.delete, { options });
};
const revisions = async (stream: string) =>
  (await events(server.calls, { streamOption: ofStream(stream) })).map((e) =>
    Number(e.streamRevision),
  );

describe("an append", () => {
  test("answers the revision, from 0, and the position of its last event", async () => {
    expect(await append(server.calls, "s", [{}, {}])).toMatchObject({ revision: 1n, position: 3n });
    expect(await append(server.calls, "s", [{}], 1n)).toMatchObject({ revision: 2n, position: 4n });
  });

  test.each<[Expectation, number, bigint | undefined]>([
    ["any", 0, undefined],
    ["noStream", 0, undefined],
    ["streamExists", 0, -1n],
    [0n, 0, -1n],
    ["any", 2, undefined],
    ["noStream", 2, 1n],
    ["streamExists", 2, undefined],
    [0n, 2, 1n],
    [1n, 2, undefined],
    [2n, 2, 1n],
  ])(
    "that expects %s of a stream of %i events: conflict at %s",
    async (expected, count, current) => {
      for (let i = 0; i < count; i++) await append(server.calls, "s", [{}]);
      const appended = await append(server.calls, "s", [{}], expected);
      expect(appended.current).toBe(current);
      expect(await revisions("s")).toHaveLength(count + (current === undefined ? 1 : 0));
    },
  );

  test("of nothing answers the present revision", async () => {
    expect(await append(server.calls, "s", [])).toMatchObject({ revision: undefined });
    await append(server.calls, "s", [{}, {}]);
    expect(await append(server.calls, "s", [])).toMatchObject({ revision: 1n });
  });

  test("without a type or content type is refused with the names of both", async () => {
    const refused = await trailersOf(append(server.calls, "s", [{ type: "" }]));
    expect(refused).toMatchObject({
      code: 3,
      exception: "missing-required-metadata-property",
      "required-metadata-properties": "type,content-type",
    });
  });

  test("to a stream that only the store writes is denied", async () => {
    const own = ["$lifecycle-s", "$removals", "$losses", "$audit", "$ce-s", "$et-T"];
    const kept = "$persistentSubscriptionConfig-s::g";
    const all = [...own, kept, ...[...own, kept].map((name) => `$$${name}`)];
    for (const stream of all) {
      const refused = await trailersOf(append(server.calls, stream, [{}]));
      expect(refused).toMatchObject({
        code: 7,
        details: "Access Denied",
        exception: "access-denied",
      });
    }
  });

  test.each(["$EventsRemoved", "$EventsLost", "$StreamDeleted", "$AuditDenied"])(
    "of the type %s, which the store reads as its own record, is refused",
    async (type) => {
      const refused = await trailersOf(append(server.calls, "s", [{ type }]));
      expect(refused).toMatchObject({ code: 3, details: expect.stringContaining(type) });
    },
  );

  test("of more bytes than an append may have names the limit", async () => {
    const data = Buffer.alloc(2_500_000);
    const refused = await trailersOf(append(server.calls, "s", [{ data }, { data }]));
    expect(refused).toMatchObject({
      code: 3,
      exception: "maximum-append-size-exceeded",
      "maximum-append-size": "4128768",
    });
  });
});

describe("a repeated append", () => {
  test.each<Expectation>(["any", "noStream"])(
    "that expects %s is answered as the first one",
    async (expected) => {
      const twice = [{ id: randomUUID() }, { id: randomUUID() }];
      const first = await append(server.calls, "s", twice, expected);
      await append(server.calls, "s", [{}]);
      expect(await append(server.calls, "s", twice, expected)).toEqual(first);
      expect(await revisions("s")).toEqual([0, 1, 2]);
    },
  );

  test("with an exact revision is recognised by its ids at that revision", async () => {
    await append(server.calls, "s", [{}]);
    const event = { id: randomUUID() };
    const first = await append(server.calls, "s", [event], 0n);
    await append(server.calls, "s", [{}]);
    expect(await append(server.calls, "s", [event], 0n)).toEqual(first);
    expect(await append(server.calls, "s", [{ id: randomUUID() }], 0n)).toMatchObject({
      current: 2n,
    });
  });

  test("of which only the first ids are known is a conflict", async () => {
    const event = { id: randomUUID() };
    await append(server.calls, "s", [event]);
    expect(await append(server.calls, "s", [event, {}])).toMatchObject({ current: 0n });
    expect(await revisions("s")).toEqual([0]);
  });

  test("whose content differs is the same append, as ids alone count", async () => {
    const id = randomUUID();
    const first = await append(server.calls, "s", [{ id, data: "1" }]);
    expect(await append(server.calls, "s", [{ id, data: "2" }])).toEqual(first);
  });

  test("with an exact revision at the head is a new one, with the same id", async () => {
    const event = { id: randomUUID() };
    await append(server.calls, "s", [event], "noStream");
    const again = await append(server.calls, "s", [event], 0n);
    expect(again).toMatchObject({ revision: 1n });
    expect(await append(server.calls, "s", [event], 0n)).toEqual(again);
    const stored = await events(server.calls, { streamOption: ofStream("s") });
    expect(stored.map((e) => e.id?.value.value)).toEqual([event.id, event.id]);
  });

  test("in another stream is another event, which a retry finds again", async () => {
    const event = { id: randomUUID(), metadata: '{"a":1}' };
    await append(server.calls, "s", [event]);
    const other = await append(server.calls, "t", [event, {}]);
    expect(other).toMatchObject({ revision: 1n });
    expect(await append(server.calls, "u", [event])).toMatchObject({ revision: 0n });
    expect(await append(server.calls, "u", [event])).toMatchObject({ revision: 0n });
    const [stored] = await events(server.calls, { streamOption: ofStream("t") });
    expect(stored?.id?.value.value).toBe(event.id);
    expect(textOf(stored?.customMetadata ?? Buffer.alloc(0))).toBe('{"a":1}');
  });

  test("after a deletion appends anew", async () => {
    const event = { id: randomUUID() };
    await append(server.calls, "s", [event]);
    await remove("s");
    expect(await append(server.calls, "s", [event])).toMatchObject({ revision: 1n });
    expect(await revisions("s")).toEqual([1]);
  });

  test("at a revision that is removed is recognised, and anything else a conflict", async () => {
    const last = { id: randomUUID() };
    await append(server.calls, "s", [{}]);
    const first = await append(server.calls, "s", [last], 0n);
    await remove("s");
    expect(await append(server.calls, "s", [last], 0n)).toEqual(first);
    expect(await append(server.calls, "s", [{}], 0n)).toMatchObject({ current: 1n });
  });

  test("of events that a policy has removed is still recognised", async () => {
    await append(server.calls, "$$s", [{ type: "$metadata", data: '{"$maxCount":1}' }]);
    const twice = [{ id: randomUUID() }, { id: randomUUID() }];
    const first = await append(server.calls, "s", twice);
    expect(await append(server.calls, "s", twice)).toEqual(first);
    expect(await revisions("s")).toEqual([1]);
  });
});

describe("a read", () => {
  beforeEach(async () => {
    await append(server.calls, "s-1", [{}, {}, { type: "U" }]);
    await append(server.calls, "s-2", [{ type: "U" }]);
  });
  const reads = async (options: Parameters<typeof events>[1]) =>
    (await events(server.calls, options)).map(at);

  test("of a stream runs from a revision, inclusive, in both directions", async () => {
    const count = { countOption: { case: "count", value: 2n } } as const;
    expect(await reads({ streamOption: ofStream("s-1"), ...count })).toEqual(["s-1@0", "s-1@1"]);
    expect(await reads({ streamOption: ofStream("s-1", 1n) })).toEqual(["s-1@1", "s-1@2"]);
    expect(await reads({ streamOption: ofStream("s-1", "end") })).toEqual([]);
    const back = { ...backwards, ...count };
    expect(await reads({ streamOption: ofStream("s-1", "end"), ...back })).toEqual([
      "s-1@2",
      "s-1@1",
    ]);
    expect(await reads({ streamOption: ofStream("s-1", 1n), ...back })).toEqual(["s-1@1", "s-1@0"]);
    expect(await reads({ streamOption: ofStream("s-1", "start"), ...back })).toEqual(["s-1@0"]);
  });

  test("of all streams includes its position forwards, and excludes it backwards", async () => {
    const all = ["$kurrentdb@0", "s-1@0", "s-1@1", "s-1@2", "s-2@0"];
    expect(await reads({ streamOption: ofAll() })).toEqual(all);
    expect(await reads({ streamOption: ofAll(4n) })).toEqual(all.slice(3));
    expect(await reads({ streamOption: ofAll("end"), ...backwards })).toEqual(all.toReversed());
    expect(await reads({ streamOption: ofAll(4n), ...backwards })).toEqual(
      all.slice(0, 3).toReversed(),
    );
    expect(await reads({ streamOption: ofAll("end") })).toEqual([]);
    expect(await reads({ streamOption: ofAll("start"), ...backwards })).toEqual([]);
  });

  test("of a stream that is not there says so in one message", async () => {
    const [message, ...more] = await read(server.calls, { streamOption: ofStream("none") });
    expect(message?.content.case).toBe("streamNotFound");
    expect(more).toEqual([]);
  });

  test("counts to any number", async () => {
    const countOption = { case: "count", value: 2n ** 64n - 1n } as const;
    expect(await reads({ streamOption: ofStream("s-2"), countOption })).toEqual(["s-2@0"]);
    const end = 2n ** 64n - 1n;
    expect(await reads({ streamOption: ofStream("s-2", end), ...backwards })).toEqual(["s-2@0"]);
  });

  test("answers ids in the form that is asked for", async () => {
    const id = "01234567-89ab-8def-8123-456789abcdef";
    await append(server.calls, "ids", [{ id }]);
    const uuidOption = { content: { case: "structured", value: {} } } as const;
    const [event] = await events(server.calls, { streamOption: ofStream("ids"), uuidOption });
    const bits = {
      mostSignificantBits: 0x0123456789ab8defn,
      leastSignificantBits: BigInt.asIntN(64, 0x8123456789abcdefn),
    };
    expect(event?.id?.value).toMatchObject({ case: "structured", value: bits });
  });

  test("ends with the last revision where that is asked for", async () => {
    const options = { streamOption: ofStream("s-1"), controlOption: { compatibility: 1 } };
    const last = (await read(server.calls, options)).at(-1);
    expect(last?.content).toEqual({ case: "lastStreamPosition", value: 2n });
  });

  test.each<[string, { regex?: string; prefix?: string[] }, string[]]>([
    ["streamIdentifier", { prefix: ["s-2", "$k"] }, ["$kurrentdb@0", "s-2@0"]],
    ["streamIdentifier", { regex: "^s-1" }, ["s-1@0", "s-1@1", "s-1@2"]],
    ["eventType", { regex: "^[^$].*" }, ["s-1@0", "s-1@1", "s-1@2", "s-2@0"]],
    ["eventType", { regex: String.raw`^(?!(\$.+$|T$)).*` }, ["s-1@2", "s-2@0"]],
    ["eventType", { prefix: ["U"] }, ["s-1@2", "s-2@0"]],
  ])("of all streams by %s %o", async (by, expression, wanted) => {
    const filter = { case: by, value: expression } as never;
    const value = {
      filter,
      window: { case: "max", value: 32 },
      checkpointIntervalMultiplier: 1,
    } as const;
    expect(await reads({ streamOption: ofAll(), filterOption: { case: "filter", value } })).toEqual(
      wanted,
    );
  });

  test("by category or type returns links, or the events behind them", async () => {
    const links = await read(server.calls, { streamOption: ofStream("$ce-s") });
    expect(
      links.map(
        ({ content }) =>
          content.case === "event" && textOf(content.value.event?.data ?? Buffer.alloc(0)),
      ),
    ).toEqual(["0@s-1", "1@s-1", "2@s-1", "0@s-2"]);
    const resolved = await read(server.calls, {
      streamOption: ofStream("$et-U"),
      resolveLinks: true,
    });
    expect(
      resolved.map(({ content }) =>
        content.case === "event" && content.value.event && content.value.link
          ? [at(content.value.event), nameOf(content.value.link)]
          : [],
      ),
    ).toEqual([
      ["s-1@2", "$et-U"],
      ["s-2@0", "$et-U"],
    ]);
  });

  test("resolves links that clients wrote, and returns those that lead nowhere", async () => {
    await append(server.calls, "l", [
      { type: "$>", data: "2@s-1" },
      { type: "$>", data: "9@s-1" },
    ]);
    expect(await reads({ streamOption: ofStream("l") })).toEqual(["l@0", "l@1"]);
    expect(await reads({ streamOption: ofStream("l"), resolveLinks: true })).toEqual([
      "s-1@2",
      "l@1",
    ]);
  });
});

describe("a stream that is deleted", () => {
  beforeEach(() => append(server.calls, "s", [{}, {}]));

  test("is not found, and goes on with the next revision", async () => {
    await remove("s", 1n);
    const [message] = await read(server.calls, { streamOption: ofStream("s") });
    expect(message?.content.case).toBe("streamNotFound");
    expect(await append(server.calls, "s", [{}], "noStream")).toMatchObject({ revision: 2n });
    expect(await revisions("s")).toEqual([2]);
  });

  test("is deleted for those who expect that it exists", async () => {
    await remove("s");
    const deleted = { code: 9, exception: "stream-deleted", "stream-name": "s" };
    expect(await trailersOf(append(server.calls, "s", [{}], "streamExists"))).toMatchObject(
      deleted,
    );
    expect(await trailersOf(remove("s", "streamExists"))).toMatchObject(deleted);
  });

  test("with another expectation is refused with the versions", async () => {
    expect(await trailersOf(remove("s", 7n))).toEqual({
      code: 9,
      details:
        "Delete failed due to WrongExpectedVersion. Stream: s, Expected version: 7, Actual version: 1",
      exception: "wrong-expected-version",
      "stream-name": "s",
      "expected-version": "7",
      "actual-version": "1",
    });
    expect(await trailersOf(remove("never"))).toMatchObject({
      "expected-version": "-2",
      "actual-version": "-1",
    });
  });

  test("for ever, is deleted for every call, and names its stream in ASCII", async () => {
    await append(server.calls, "é", [{}]);
    await remove("é", "any", "tombstone");
    const gone = { code: 9, details: "Event stream 'é' is deleted.", "stream-name": "%C3%A9" };
    expect(await trailersOf(read(server.calls, { streamOption: ofStream("é") }))).toMatchObject(
      gone,
    );
    expect(await trailersOf(append(server.calls, "é", [{}]))).toMatchObject(gone);
    expect(await trailersOf(remove("é"))).toMatchObject(gone);
    await remove("never", "noStream", "tombstone");
    expect(await trailersOf(append(server.calls, "never", [{}]))).toMatchObject({ code: 9 });
  });
});
