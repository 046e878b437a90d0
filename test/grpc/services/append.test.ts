// Append and AppendPipe over a real socket, as a client of any language would use them.
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StreamState } from "../../../src/gen/annals/v1/append_pb.js";
import { collect, decodeDetails, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { events, m, read, uuid } from "./store-requests.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

describe("Append that a gRPC library repeats by itself", () => {
  async function repeated(request: MessageInitShape<typeof m.append.input>) {
    const client = new Client(server.address, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("grpc-previous-rpc-attempts", "1");
    const bytes = Buffer.from(toBinary(m.append.input, create(m.append.input, request)));
    const same = (value: Buffer) => value;
    const path = "/annals.v1.EventStoreService/Append";
    try {
      return await new Promise<string>((resolve) => {
        client.makeUnaryRequest(path, same, same, bytes, metadata, (error) =>
          resolve(error === null ? "stored" : error.details),
        );
      });
    } finally {
      client.close();
    }
  }

  test("is refused without ids, because its first attempt may have been stored", async () => {
    const some = [{ type: "T", id: uuid(1) }, { type: "T" }];
    expect(await repeated({ stream: "a", events: some })).toMatch(/^events\[1\]\.id: is required/);
    const expected = { case: "expectedState", value: StreamState.EXISTS } as const;
    await server.calls.unary(m.append, { stream: "b", events: [{ type: "T" }] });
    const exists = { stream: "b", expected, events: [{ type: "T" }] };
    expect(await repeated(exists)).toMatch(/^events\[0\]\.id: is required/);
    const elsewhere = { stream: "b", expected: { case: "expectedVersion", value: 1n } } as const;
    const unguarded = { stream: "a", events: [{ type: "T" }], expectations: [elsewhere] };
    expect(await repeated(unguarded)).toMatch(/^events\[0\]\.id: is required/);
  });

  test("is stored with ids, or where only one attempt can be", async () => {
    expect(await repeated({ stream: "a", events: [{ type: "T", id: uuid(1) }] })).toBe("stored");
    const version = { case: "expectedVersion", value: 1n } as const;
    const request = { stream: "a", events: [{ type: "T" }], expected: version };
    expect(await repeated(request)).toBe("stored");
    expect(await repeated(request)).toMatch(/expected/);
    const absent = { case: "expectedState", value: StreamState.ABSENT } as const;
    expect(await repeated({ stream: "b", events: [{ type: "T" }], expected: absent })).toBe(
      "stored",
    );
  });
});

describe("Append", () => {
  test("stores events in one or several streams and says where", async () => {
    const answer = await server.calls.unary(m.append, {
      stream: "a",
      events: [{ type: "T" }, { type: "T", stream: "b" }, { type: "T" }],
      expected: { case: "expectedVersion", value: 0n },
    });
    expect(answer).toMatchObject({
      firstPosition: 1n,
      lastPosition: 3n,
      head: 3n,
      deduplicated: false,
      streams: [
        { stream: "a", firstVersion: 1n, lastVersion: 2n },
        { stream: "b", firstVersion: 1n, lastVersion: 1n },
      ],
    });
    expect(answer.eventIds).toHaveLength(3);
    expect(answer.recordedAt?.seconds).toBeGreaterThan(1_700_000_000n);
  });

  test("with the ids of an earlier append answers with the original positions", async () => {
    const request = {
      stream: "a",
      events: [
        { id: uuid(1), type: "T" },
        { id: uuid(2), type: "U" },
      ],
    };
    const first = await server.calls.unary(m.append, request);
    await server.calls.unary(m.append, { stream: "a", events: events(1) });
    const expected = { case: "expectedVersion", value: 0n } as const;
    const again = await server.calls.unary(m.append, { ...request, expected });
    expect(again).toMatchObject({
      firstPosition: 1n,
      lastPosition: 2n,
      deduplicated: true,
      head: 3n,
    });
    expect(again.recordedAt).toEqual(first.recordedAt);
    expect(again.eventIds).toEqual([]);
  });

  test("that broke expectations and its conditions hears of all of them", async () => {
    await server.calls.unary(m.append, { stream: "a", events: events(2) });
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: events(1),
      expected: { case: "expectedState", value: 3 },
      expectations: [
        { stream: "b", expected: { case: "expectedVersion", value: 7n } },
        { stream: "c", expected: { case: "expectedState", value: 2 } },
      ],
      conditions: [{ query: { items: [{ tags: ["n:1"] }] }, after: 1n }],
    });
    expect(failure).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
    expect(failure.appendConflict).toMatchObject({
      streams: [
        { stream: "a", expected: { case: "expectedState", value: 3 }, actualVersion: 2n },
        { stream: "b", expected: { case: "expectedVersion", value: 7n }, actualVersion: 0n },
        { stream: "c", expected: { case: "expectedState", value: 2 }, actualVersion: 0n },
      ],
      conditions: [{ index: 0, position: 2n, after: 1n }],
      omittedCount: 0,
    });
    expect((await read(server, {})).positions).toEqual([1, 2]);
  });

  test("with an id that is recorded otherwise is refused with that id", async () => {
    await server.calls.unary(m.append, { stream: "a", events: [{ id: uuid(1), type: "T" }] });
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: [{ id: uuid(1), type: "OTHER" }],
    });
    expect(failure).toMatchObject({ code: 6, reason: "EVENT_ID_CONFLICT" });
    expect(failure.eventIdConflict?.events).toMatchObject([
      { id: uuid(1), position: 1n, problem: 1 },
    ]);
  });

  test("with a condition after a position nobody has read is OUT_OF_RANGE", async () => {
    const conditions = [{ query: {}, after: 9n }];
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: events(1),
      conditions,
    });
    expect(failure).toMatchObject({
      code: 11,
      reason: "BEYOND_HEAD",
      info: { asked: "9", head: "0" },
    });
    expect(failure.message).toContain("conditions[0].after");
  });

  test("that may be ahead holds until an event beyond that position matches", async () => {
    const appendAfter = (after: bigint) => ({
      events: [{ type: "T", tags: ["k:1"] }],
      conditions: [{ query: { items: [{ tags: ["k:1"] }] }, after, mayBeAhead: true }],
    });
    expect(await server.calls.unary(m.append, appendAfter(2n))).toMatchObject({ lastPosition: 1n });
    expect(await server.calls.unary(m.append, appendAfter(2n))).toMatchObject({ lastPosition: 2n });
    expect(await server.calls.unary(m.append, appendAfter(2n))).toMatchObject({ lastPosition: 3n });
    const failure = await server.calls.failure(m.append, appendAfter(2n));
    expect(failure.appendConflict?.conditions).toMatchObject([{ index: 0, position: 3n }]);
  });

  test("names each of its conditions that does not hold", async () => {
    await server.calls.unary(m.append, {
      stream: "a",
      events: ["x", "y", "z"].map((tag) => ({ type: "T", tags: [tag] })),
    });
    const under = (after: bigint, ...tagsAny: string[]) => ({
      query: { items: [{ tagsAny }] },
      after,
    });
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: events(1),
      conditions: [under(0n, "w", "y"), under(3n, "x", "y", "z"), under(2n, "x", "z")],
    });
    expect(failure.message).toContain("conditions[2] after 2");
    expect(failure.appendConflict?.conditions).toMatchObject([
      { index: 0, position: 2n, after: 0n },
      { index: 2, position: 3n, after: 2n },
    ]);
  });

  test("under a condition of a thousand items is refused by a match of the last of them", async () => {
    await server.calls.unary(m.append, { stream: "a", events: events(1) });
    const items = Array.from({ length: 1_000 }, (_, i) => ({ types: ["T"], tags: [`key:${i}`] }));
    const claim = {
      events: [{ type: "T", tags: ["key:999"] }],
      conditions: [{ query: { items } }],
    };
    expect(await server.calls.unary(m.append, claim)).toMatchObject({ lastPosition: 2n });
    const failure = await server.calls.failure(m.append, claim);
    expect(failure.appendConflict?.conditions).toMatchObject([{ position: 2n }]);
    const selection = { case: "query" as const, value: { items } };
    expect((await read(server, { selection })).positions).toEqual([2]);
  });

  test("without a stream is found by position, type and tags, and has no version", async () => {
    const id = uuid(1);
    const request = {
      events: [
        { id, type: "Paid", tags: ["k:1"] },
        { type: "Sent", stream: "a" },
      ],
    };
    const answer = await server.calls.unary(m.append, request);
    expect(answer.streams).toMatchObject([{ stream: "a", firstVersion: 1n, lastVersion: 1n }]);
    expect(
      await server.calls.unary(m.append, { events: request.events.slice(0, 1) }),
    ).toMatchObject({ firstPosition: 1n, deduplicated: true, streams: [] });
    const selections = [
      { case: undefined },
      { case: "query" as const, value: { items: [{ types: ["Paid"] }] } },
      { case: "query" as const, value: { items: [{ tags: ["k:1"] }] } },
    ];
    for (const selection of selections) {
      const { events: found } = await read(server, { selection });
      expect(found[0]).toMatchObject({ id, stream: "", version: 0n, position: 1n });
    }
    const expected = { case: "expectedVersion", value: 0n } as const;
    const failure = await server.calls.failure(m.append, { ...request, expected });
    expect(failure.message).toContain("stream: is required where something is expected of it");
  });

  test("of concurrent appends with one expectation exactly one is accepted", async () => {
    const expected = { case: "expectedVersion", value: 0n } as const;
    const tries = Array.from({ length: 40 }, () =>
      server.calls.unary(m.append, { stream: "a", events: events(1), expected }).then(
        () => "stored",
        () => "refused",
      ),
    );
    const outcomes = await Promise.all(tries);
    expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(1);
  });
});

describe("AppendPipe", () => {
  test("answers in order, each append for itself, and ends with OK", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    const wrong = { case: "expectedVersion", value: 9_999n } as const;
    for (let i = 0; i < 300; i++) {
      const append = { stream: "a", events: [{ type: "T" }] };
      if (i % 3 === 0) pipe.send({ append });
      else if (i % 3 === 1) pipe.send({ append: { ...append, expected: wrong } });
      else pipe.sendBytes(Buffer.from([0x0a, 0x03, 0x0a, 0x01, 0xff]));
    }
    pipe.end();
    const answers = await collect({ [Symbol.asyncIterator]: () => pipe.answers });
    expect(answers.map(({ sequence }) => Number(sequence))).toEqual(
      Array.from({ length: 300 }, (_, i) => i + 1),
    );
    const codes = answers
      .slice(0, 6)
      .map(({ outcome }) => (outcome.case === "failure" ? outcome.value.code : 0));
    expect(codes).toEqual([0, 10, 3, 0, 10, 3]);
    expect((await read(server, {})).positions).toHaveLength(100);
  });

  test("refuses with the details Append would have ended with", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    const send = async (request: Parameters<typeof pipe.send>[0]) => {
      pipe.send(request);
      const { outcome } = await nextOf(pipe.answers);
      if (outcome.case !== "failure") throw new Error("it was not refused");
      return decodeDetails(outcome.value.code, outcome.value.message, outcome.value.details);
    };
    expect(await send({})).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
      message: "append: is required",
    });
    expect((await send({ append: {} })).badRequest?.fieldViolations[0]?.field).toBe("events");
    const expected = { case: "expectedState", value: 2 } as const;
    const refused = await send({ append: { stream: "a", events: events(1), expected } });
    expect(refused).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
    expect(refused.appendConflict?.streams).toHaveLength(1);
    pipe.cancel();
  });

  test("takes what a lone client keeps sending without waiting", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    for (let i = 0; i < 3_000; i++)
      pipe.send({ append: { stream: `s-${i % 7}`, events: events(2) } });
    pipe.end();
    const answers = await collect({ [Symbol.asyncIterator]: () => pipe.answers });
    expect(answers.filter(({ outcome }) => outcome.case === "appended")).toHaveLength(3_000);
    expect((await server.calls.unary(m.getInfo, {})).head).toBe(6_000n);
  });
});
