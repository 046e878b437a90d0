// The wrapper around every handler: whatever a handler does, the call ends once with an answer or a
// status, and the process lives on. Real sockets, handlers that misbehave on purpose.
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test } from "vitest";
import { AnnalsError, type Failure } from "../../../src/domain/errors.ts";
import { AppendPipeResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { ReadResponseSchema, SubscribeResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import type { Call } from "../../../src/grpc/transport/call-environment.ts";
import { startBareServer, type BareServer, type StoreHandlers } from "../../support/bare-server.ts";
import { collect, deferred, failedOf, failureOf, nextOf } from "../../support/calls.ts";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";

const { append, appendPipe, getInfo, read, subscribe } = EventStoreService.method;

let server: BareServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function serving(handlers: Partial<StoreHandlers>): Promise<BareServer> {
  server = await startBareServer(handlers);
  return server;
}

const info = create(GetInfoResponseSchema, { head: 7n });
const end = create(ReadResponseSchema, { message: { case: "end", value: { head: 7n } } });
const aborted = ({ signal }: Call): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

describe("a unary handler", () => {
  test.each<[string, StoreHandlers["getInfo"]]>([
    ["answers at once", () => info],
    ["answers later", async () => info],
    ["answers bytes", () => Buffer.from([0x18, 7])],
  ])("that %s is answered with", async (_, handler) => {
    const { calls } = await serving({ getInfo: handler });
    expect((await calls.unary(getInfo, {})).head).toBe(7n);
  });

  test.each<[string, () => never]>([
    [
      "an error",
      () => {
        throw new Error("secret");
      },
    ],
    [
      "a string",
      () => {
        throw "secret" as never as Error;
      },
    ],
    [
      "nothing",
      () => {
        throw undefined as never as Error;
      },
    ],
  ])("that throws %s ends with INTERNAL, and the log has it", async (_, handler) => {
    const { calls, lines } = await serving({ getInfo: handler, append: async () => handler() });
    for (const failure of [await calls.failure(getInfo, {}), await calls.failure(append, {})]) {
      expect(failure).toMatchObject({ code: 13, reason: "INTERNAL" });
      expect(failure.message).not.toContain("secret");
    }
    expect(lines.filter(({ level }) => level === "error")).toHaveLength(2);
    expect(lines[0]).toMatchObject({ method: "/annals.v1.EventStoreService/GetInfo" });
  });

  test.each<unknown>([undefined, null, 5, "text", { head: "no bigint" }, { limits: 3 }])(
    "that answers with %o, which is no message, ends with INTERNAL",
    async (nonsense) => {
      const { calls } = await serving({ getInfo: () => nonsense as typeof info });
      expect(await calls.failure(getInfo, {})).toMatchObject({ code: 13, reason: "INTERNAL" });
    },
  );

  test("is not even asked where the request is malformed", async () => {
    const { calls, lines } = await serving({});
    const path = "/annals.v1.EventStoreService/GetStream";
    const failure = await failedOf(calls.bytes(path, Buffer.from([0x0a, 1, 0xff])));
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure.badRequest?.fieldViolations[0]?.field).toBe("stream");
    expect(lines.every(({ level }) => level === "debug")).toBe(true);
  });

  const failures: Failure[] = [
    { reason: "OVERLOADED", retryAfterMs: 50 },
    { reason: "DISK_FULL", retryAfterMs: 5_000 },
    { reason: "OUTCOME_UNKNOWN" },
    { reason: "RECOVERING" },
    { reason: "STORE_FAILED" },
    { reason: "CORRUPTION", firstPosition: 3, lastPosition: 4, stream: "s" },
  ];
  test.each(failures)(
    "that throws $reason is heard over the wire, and so is a stream",
    async (failure) => {
      const error = new AnnalsError(failure, "said so: 100 % \n é");
      const { calls } = await serving({
        getInfo: () => {
          throw error;
        },
        async *read() {
          yield end;
          throw error;
        },
      });
      for (const failed of [await calls.failure(getInfo, {}), await calls.failure(read, {})]) {
        expect(failed).toMatchObject({ reason: failure.reason, message: "said so: 100 % \n é" });
      }
    },
  );
});

describe("a streaming handler", () => {
  test("is pulled to its end", async () => {
    const { calls } = await serving({
      async *read() {
        for (let i = 0; i < 100; i++) yield end;
      },
    });
    expect(await collect(calls.stream(read, {}))).toHaveLength(100);
  });

  test.each<[string, StoreHandlers["read"]]>([
    [
      "before its first answer",
      () => {
        throw new Error("secret");
      },
    ],
    [
      "where it should answer",
      () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("x")) }) }),
    ],
    [
      "with what is no message",
      async function* () {
        yield 5 as never;
      },
    ],
    ["with no iterable", () => undefined as never],
  ])("that fails %s ends with INTERNAL", async (_, handler) => {
    const { calls, lines } = await serving({ read: handler });
    expect(await calls.failure(read, {})).toMatchObject({ code: 13, reason: "INTERNAL" });
    expect(lines[0]?.level).toBe("error");
  });

  test("that fails after some answers has sent them", async () => {
    const { calls } = await serving({
      async *read() {
        yield end;
        yield end;
        throw new AnnalsError({ reason: "STOPPING" }, "stopping");
      },
    });
    const answers = calls.stream(read, {})[Symbol.asyncIterator]();
    await nextOf(answers);
    await nextOf(answers);
    expect(await failedOf(nextOf(answers))).toMatchObject({ code: 14, reason: "STOPPING" });
  });
});

describe("a pipe's handler", () => {
  const echo: StoreHandlers["appendPipe"] = async function* (requests) {
    for await (const { append: one } of requests) {
      yield create(AppendPipeResponseSchema, { sequence: BigInt(one?.events.length ?? 0) });
    }
  };

  test("gets every message and the end, and may answer in between", async () => {
    const { calls } = await serving({ appendPipe: echo });
    const pipe = calls.pipe(appendPipe);
    for (let i = 0; i < 500; i++)
      pipe.send({ append: { events: Array.from({ length: i % 3 }, () => ({})) } });
    expect((await nextOf(pipe.answers)).sequence).toBe(0n);
    expect((await nextOf(pipe.answers)).sequence).toBe(1n);
    pipe.end();
    expect(await collect({ [Symbol.asyncIterator]: () => pipe.answers })).toHaveLength(498);
  });

  test("ends the call with INVALID_ARGUMENT where a message is malformed", async () => {
    const { calls } = await serving({ appendPipe: echo });
    const pipe = calls.pipe(appendPipe);
    pipe.send({});
    pipe.sendBytes(Buffer.from([0x0a, 0x05]));
    await nextOf(pipe.answers);
    expect(await failedOf(nextOf(pipe.answers))).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
    });
  });

  test("is read no faster than it takes", async () => {
    let taken = 0;
    const { promise: go, resolve } = deferred<void>();
    const { calls } = await serving({
      async *appendPipe(requests) {
        for await (const _ of requests) {
          taken++;
          await go;
        }
        yield create(AppendPipeResponseSchema);
      },
    });
    const pipe = calls.pipe(appendPipe);
    const large = { append: { stream: "x".repeat(60_000) } };
    let flowing = 0;
    for (let i = 0; i < 200; i++) pipe.call.write(Buffer.from([]), () => flowing++);
    for (let i = 0; i < 200; i++) pipe.send(large);
    const info2 = await calls.failure(getInfo, {});
    expect(info2.code).toBe(13);
    expect(taken).toBe(1);
    resolve();
    pipe.end();
    expect(await collect({ [Symbol.asyncIterator]: () => pipe.answers })).toHaveLength(1);
    expect(taken).toBe(400);
  });

  test("ends when the server stops and the client has nothing more to say", async () => {
    const { calls, environment } = await serving({ appendPipe: echo });
    const pipe = calls.pipe(appendPipe);
    pipe.send({});
    await nextOf(pipe.answers);
    environment.stopping.begin();
    expect(await failedOf(nextOf(pipe.answers))).toMatchObject({ code: 14, reason: "STOPPING" });
  });
});

describe("a call that is over", () => {
  test("aborts its signal when the client cancels, and its handler comes to an end", async () => {
    const { promise: ended, resolve } = deferred<unknown>();
    const { calls } = await serving({
      async *subscribe(_, call) {
        try {
          yield create(SubscribeResponseSchema, {});
          await aborted(call);
        } finally {
          resolve(call.signal.reason);
        }
      },
    });
    const stream = calls.stream(subscribe, {});
    await nextOf(stream[Symbol.asyncIterator]());
    stream.cancel();
    expect(await ended).toMatchObject({ failure: { reason: "CANCELLED" } });
  });

  test("is answered DEADLINE_EXCEEDED with the reason of a handler that lets go", async () => {
    const { calls } = await serving({
      async append(_, call) {
        await aborted(call);
        throw call.signal.reason;
      },
      async *read(_, call) {
        yield end;
        await aborted(call);
      },
    });
    const words = [
      [append, "nothing was stored"],
      [read, "what was answered before holds"],
    ] as const;
    for (const [method, said] of words) {
      const failure = await callWithServerDeadline(method.name);
      expect(failure).toMatchObject({ code: 4, reason: "DEADLINE_EXCEEDED" });
      expect(failure.message).toContain(said);
    }
    expect(calls).toBeDefined();
  });

  test("says that it may have been stored where the handler does not let go", async () => {
    const { promise: forever } = deferred<never>();
    await serving({ append: () => forever });
    const failure = await callWithServerDeadline("Append");
    expect(failure).toMatchObject({ code: 4, reason: "" });
    expect(failure.message).toContain("may be stored");
  });

  test("is not disturbed by a deadline of 56 years, or of 10,000", async () => {
    const { calls } = await serving({ getInfo: () => info });
    for (const years of [56, 10_000]) {
      const deadline = Date.now() + years * 365 * 86_400_000;
      expect((await calls.unary(getInfo, {}, { deadline })).head).toBe(7n);
    }
    for (const timeout of ["99999999H", "1193047H", "490560H"]) {
      const answer = await rawCall("GetInfo", { "grpc-timeout": timeout });
      expect(answer.status).toBe(0);
    }
  });
});

/** A call whose client leaves the deadline to the server: a raw one. */
async function callWithServerDeadline(method: string) {
  const answer = await rawCall(method, { "grpc-timeout": "50m" });
  const { code, message, details } = answer;
  return failureOf({ code, details: message, metadata: { get: () => (details ? [details] : []) } });
}

async function rawCall(method: string, headers: Record<string, string>, over?: RawConnection) {
  const connection = over ?? new RawConnection(server?.port ?? 0);
  const stream = connection.request(`/annals.v1.EventStoreService/${method}`, headers);
  stream.end(messageFrame(Buffer.alloc(0)));
  const outcome = await connection.outcome(stream);
  if (over === undefined) connection.close();
  return outcome;
}

test("too much metadata is RESOURCE_EXHAUSTED, and the connection goes on", async () => {
  await serving({ getInfo: () => info });
  const connection = new RawConnection(server?.port ?? 0);
  const entries = Array.from({ length: 200 }, (_, i) => [`x-${i}`, "m".repeat(300)]);
  const refused = await rawCall("GetInfo", Object.fromEntries(entries), connection);
  expect(refused).toMatchObject({ httpStatus: 200, code: 8 });
  expect(refused.message).toContain("the metadata of a call has at most 65536 bytes");
  expect((await rawCall("GetInfo", {}, connection)).code).toBe(0);
  connection.close();
});
