// Calls over HTTP/2: the client sees what it would see of a grpc-js server with the same handlers,
// whatever it sends and however the handler ends.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { deflateSync, gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { StatusSchema } from "../../../src/gen/google/rpc/status_pb.js";
import { startBareServer, type BareServer, type StoreHandlers } from "../../support/bare-server.ts";
import { deferred, failureOf } from "../../support/calls.ts";
import { messageFrame, RawConnection, type RawOutcome } from "../../support/raw-connection.ts";
import { startReferenceServer, type ReferenceHandlers } from "../../support/reference-server.ts";

const getInfo = "/annals.v1.EventStoreService/GetInfo";
const read = "/annals.v1.EventStoreService/Read";
const appendPipe = "/annals.v1.EventStoreService/AppendPipe";

let server: BareServer | undefined;
const connections: RawConnection[] = [];
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  await server?.stop();
  server = undefined;
});

async function serving(handlers: Partial<StoreHandlers>): Promise<RawConnection> {
  server ??= await startBareServer(handlers);
  const connection = new RawConnection(server.port);
  connections.push(connection);
  return connection;
}

function send(
  connection: RawConnection,
  path: string,
  parts: readonly Buffer[],
  headers: Record<string, string> = {},
): Promise<RawOutcome> {
  const stream = connection.request(path, headers);
  for (const part of parts) stream.write(part);
  stream.end();
  return connection.outcome(stream);
}

const empty = messageFrame(Buffer.alloc(0));
const packed = messageFrame(gzipSync(Buffer.alloc(0)), { flag: 1 });
const gzip = { "grpc-encoding": "gzip" };

/** The same call to ours, plain and compressed, and to a grpc-js server with the same handler. */
async function everyWay(handlers: ReferenceHandlers, path: string) {
  const connection = await serving(handlers);
  const plain = await send(connection, path, [empty]);
  const compressed = await send(connection, path, [packed], gzip);
  const reference = await startReferenceServer(handlers);
  const other = new RawConnection(reference.port);
  const expected = await send(other, path, [empty]);
  other.close();
  reference.stop();
  return { plain, compressed, expected };
}

/** All of it but for grpc-js's words where nothing went wrong. */
const shown = ({ message, ...rest }: RawOutcome) => ({
  ...rest,
  message: rest.code === 0 ? "" : message,
  details: rest.details && withoutRequestId(rest.details),
});

/** The server's own addition, which is another one for each call. */
function withoutRequestId(details: Buffer): string {
  const status = fromBinary(StatusSchema, details);
  status.details = status.details.filter(({ typeUrl }) => !typeUrl.endsWith(".RequestInfo"));
  return Buffer.from(toBinary(StatusSchema, status)).toString("base64");
}

describe("the same as of a grpc-js server", () => {
  const sizes = [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 200_000];

  test.each(sizes)("an answer of %i bytes", async (bytes) => {
    const answer = Buffer.alloc(bytes, 7);
    const { plain, compressed, expected } = await everyWay({ getInfo: () => answer }, getInfo);
    expect(plain).toMatchObject({ httpStatus: 200, code: 0, reset: 0 });
    expect(plain.body.equals(messageFrame(answer))).toBe(true);
    expect(shown(plain)).toEqual(shown(expected));
    expect(shown(compressed)).toEqual(shown(expected));
  });

  test.each([[[]], [[0]], [[3, 40_000, 5]], [[100_000, 100_000]], [sizes]])(
    "a stream of messages of %j bytes",
    async (lengths) => {
      const messages = lengths.map((bytes, i) => Buffer.alloc(bytes, i));
      const handler = async function* () {
        for (const message of messages) yield message;
      };
      const { plain, compressed, expected } = await everyWay({ read: handler }, read);
      expect(plain).toMatchObject({ httpStatus: 200, code: 0, reset: 0 });
      const body = Buffer.concat(messages.map((each) => messageFrame(each)));
      expect(plain.body.equals(body)).toBe(true);
      expect(shown(plain)).toEqual(shown(expected));
      expect(shown(compressed)).toEqual(shown(expected));
    },
  );

  test.each([0, 2])("a refusal with its details, behind %i messages", async (count) => {
    const refusal = new AnnalsError({ reason: "STREAM_NOT_FOUND", stream: "ä%" }, "no stream ä%");
    const handler = async function* () {
      for (let i = 0; i < count; i++) yield Buffer.alloc(10);
      throw refusal;
    };
    const { plain, compressed, expected } = await everyWay({ read: handler }, read);
    expect(plain).toMatchObject({ code: 5, message: "no stream ä%" });
    const details = plain.details ?? Buffer.alloc(0);
    const call = { code: 5, details: "", metadata: { get: () => [details] } };
    expect(failureOf(call)).toMatchObject({ reason: "STREAM_NOT_FOUND", domain: "annals" });
    expect(plain.body).toHaveLength(count * 15);
    expect(shown(plain)).toEqual(shown(expected));
    expect(shown(compressed)).toEqual(shown(expected));
  });
});

describe("a request", () => {
  test("may come in any pieces", async () => {
    const asked: number[] = [];
    const handler = (request: { prefix: string }) => {
      asked.push(request.prefix.length);
      return Buffer.alloc(1);
    };
    const connection = await serving({ listEventTypes: handler });
    const prefix = Buffer.concat([Buffer.from([0x0a, 20]), Buffer.alloc(20, 0x61)]);
    const bytes = messageFrame(prefix);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const parts = [bytes.subarray(0, cut), bytes.subarray(cut)];
      const path = "/annals.v1.EventStoreService/ListEventTypes";
      expect(await send(connection, path, parts)).toMatchObject({ code: 0 });
    }
    expect(asked).toEqual(Array.from({ length: bytes.length + 1 }, () => 20));
  });

  test("of the largest size is taken, one byte more names the limit, before it is sent", async () => {
    const connection = await serving({ getInfo: () => Buffer.alloc(0) });
    // Unknown fields of the wanted length; the bare server takes 64 KiB.
    const filler = (bytes: number) => {
      const head = Buffer.from([0xfa, 0x7f, 0, 0, 0]);
      const length = bytes - head.length;
      head[2] = 0x80 | (length & 0x7f);
      head[3] = 0x80 | ((length >> 7) & 0x7f);
      head[4] = length >> 14;
      return messageFrame(Buffer.concat([head, Buffer.alloc(length)]));
    };
    expect(await send(connection, getInfo, [filler(65_536)])).toMatchObject({ code: 0 });
    const stream = connection.request(getInfo);
    stream.write(filler(65_537).subarray(0, 5));
    const refused = await connection.outcome(stream);
    expect(refused).toMatchObject({ code: 8, reset: 0 });
    expect(refused.message).toContain("receive_bytes_max (65536)");
  });

  test.each<[string, Buffer[], number]>([
    ["no message", [], 12],
    ["two messages", [empty, empty], 12],
    ["two messages in one piece", [Buffer.concat([empty, empty])], 12],
    ["half a prefix", [empty.subarray(0, 3)], 3],
    ["half a message", [messageFrame(Buffer.alloc(9)).subarray(0, 9)], 3],
    ["a message that says it is compressed", [messageFrame(Buffer.alloc(3), { flag: 1 })], 13],
    ["a flag that is none", [messageFrame(Buffer.alloc(3), { flag: 2 })], 13],
  ])("of %s never reaches the handler", async (_, parts, code) => {
    let reached = 0;
    const connection = await serving({
      getInfo: () => {
        reached++;
        return Buffer.alloc(0);
      },
    });
    expect(await send(connection, getInfo, parts)).toMatchObject({ code, httpStatus: 200 });
    expect(reached).toBe(0);
    expect(await send(connection, getInfo, [empty])).toMatchObject({ code: 0 });
  });
});

/** Answers each message with itself. */
const echo: StoreHandlers["appendPipe"] = {
  async *bytes(requests) {
    for await (const some of requests) yield some;
  },
};

describe("a pipe", () => {
  const messages = [0, 3, 20_000, 1, 0, 65_536, 7].map((bytes, i) => Buffer.alloc(bytes, i + 1));
  const whole = Buffer.concat(messages.map((message) => messageFrame(message)));

  test("is answered as by grpc-js, however its messages are cut and compressed", async () => {
    const connection = await serving({ appendPipe: echo });
    const reference = await startReferenceServer({});
    const other = new RawConnection(reference.port);
    const through = await send(other, appendPipe, [whole]);
    other.close();
    reference.stop();
    expect(through).toMatchObject({ httpStatus: 200, code: 0, reset: 0 });
    for (const [encoding, pack] of [
      ["gzip", gzipSync],
      ["deflate", deflateSync],
    ] as const) {
      // Every second one is compressed: the others wait for it.
      const mixed = messages.map((each, i) =>
        i % 2 === 0 ? messageFrame(pack(each), { flag: 1 }) : messageFrame(each),
      );
      const outcome = await send(connection, appendPipe, mixed, { "grpc-encoding": encoding });
      expect(shown(outcome)).toEqual(shown(through));
      expect(outcome.body.equals(whole)).toBe(true);
    }
    for (const bytes of [1, 4, 5, 6, 8_191, 16_384, 70_000, whole.length]) {
      // In single bytes the beginning, where all the small ones are.
      const parts: Buffer[] = [];
      const cutUntil = bytes === 1 ? 40 : whole.length;
      for (let at = 0; at < cutUntil; at += bytes) parts.push(whole.subarray(at, at + bytes));
      if (bytes === 1) parts.push(whole.subarray(cutUntil));
      const straight = await send(connection, appendPipe, parts);
      expect(shown(straight)).toEqual(shown(through));
      expect(straight.body.equals(whole)).toBe(true);
    }
  });

  test("that says nothing is answered with nothing", async () => {
    const connection = await serving({ appendPipe: echo });
    expect(await send(connection, appendPipe, [])).toMatchObject({ httpStatus: 200, code: 0 });
  });

  test.each<[string, Buffer, number, string]>([
    ["half a prefix", whole.subarray(0, 3), 3, "ends within its message"],
    ["half a message", messageFrame(Buffer.alloc(9)).subarray(0, 9), 3, "ends within its message"],
    ["what says it is compressed", messageFrame(Buffer.alloc(3), { flag: 1 }), 13, "compressed"],
    ["a flag that is none", messageFrame(Buffer.alloc(3), { flag: 2 }), 13, "compressed"],
    ["too long a message", messageFrame(Buffer.alloc(65_537)), 8, "receive_bytes_max (65536)"],
    ["a length beyond all", messageFrame(Buffer.alloc(3), { length: 0xffffffff }), 8, "4294967295"],
  ])("with %s behind messages answers those first", async (_, bad, code, words) => {
    const connection = await serving({ appendPipe: echo });
    for (const parts of [[Buffer.concat([whole, bad])], [whole, bad]]) {
      const outcome = await send(connection, appendPipe, parts);
      expect(outcome).toMatchObject({ httpStatus: 200, code, reset: 0 });
      expect(outcome.message).toContain(words);
      expect(outcome.body.equals(whole)).toBe(true);
    }
    expect(await send(connection, appendPipe, [whole])).toMatchObject({ code: 0 });
  });

  test("too long a message is refused before it is sent", async () => {
    const connection = await serving({ appendPipe: echo });
    const stream = connection.request(appendPipe);
    const outcome = connection.outcome(stream);
    stream.write(messageFrame(Buffer.alloc(0), { length: 70_000 }));
    await new Promise((resolve) => stream.once("response", resolve));
    stream.end();
    expect(await outcome).toMatchObject({ code: 8, reset: 0 });
  });

  test("whose handler has ended takes what still comes", async () => {
    const connection = await serving({
      appendPipe: {
        async *bytes() {
          yield [Buffer.alloc(1)];
        },
      },
    });
    const stream = connection.request(appendPipe);
    const outcome = connection.outcome(stream);
    let taken = 0;
    for (let i = 0; i < 40; i++) stream.write(messageFrame(Buffer.alloc(60_000)), () => taken++);
    await new Promise<void>((resolve) => stream.end(resolve));
    expect(await outcome).toMatchObject({ code: 0, reset: 0 });
    expect(taken).toBe(40);
  });

  test("what it holds is counted, until it is taken or its client goes", async () => {
    const connection = await serving({ appendPipe: echo });
    await send(connection, getInfo, [empty]);
    const before = server?.memory.bytes ?? 0;
    const stream = connection.request(appendPipe);
    await new Promise((resolve) => stream.once("response", resolve));
    const opened = server?.memory.bytes ?? 0;
    const answered = new Promise((resolve) => stream.once("data", resolve));
    stream.write(messageFrame(Buffer.alloc(2_000)));
    stream.write(messageFrame(Buffer.alloc(300), { length: 500 }));
    await answered;
    await send(connection, getInfo, [empty]);
    expect((server?.memory.bytes ?? 0) - opened).toBe(305);
    stream.close(8);
    await connection.outcome(stream);
    await send(connection, getInfo, [empty]);
    expect(server?.memory.bytes).toBe(before);
  });

  test("has its answer's headers at once", async () => {
    const connection = await serving({ appendPipe: echo });
    const stream = connection.request(appendPipe);
    const status = await new Promise((resolve) => {
      stream.once("response", (headers) => resolve(headers[":status"]));
    });
    expect(status).toBe(200);
    stream.end();
  });

  test("answers the good messages before a broken compressed one", async () => {
    const connection = await serving({ appendPipe: echo });
    const good = messageFrame(gzipSync(Buffer.from("good")), { flag: 1 });
    const broken = messageFrame(Buffer.from("not gzip at all"), { flag: 1 });
    for (const parts of [[good, broken, good], [Buffer.concat([good, broken, good])]]) {
      const outcome = await send(connection, appendPipe, parts, gzip);
      expect(outcome).toMatchObject({ code: 13, message: "a message that is not gzip" });
      expect(outcome.body.equals(messageFrame(Buffer.from("good")))).toBe(true);
    }
  });
});

describe("a call that is over before its answer", () => {
  test("hears of its client's cancellation, whatever it answers then", async () => {
    const begun = deferred<void>();
    const cancelled = deferred<void>();
    const connection = await serving({
      getInfo: async (_, call) => {
        call.signal.addEventListener("abort", () => cancelled.resolve());
        begun.resolve();
        await cancelled.promise;
        return Buffer.alloc(5);
      },
    });
    const stream = connection.request(getInfo);
    stream.end(empty);
    await begun.promise;
    stream.close(8);
    await cancelled.promise;
    expect(server?.lines.filter(({ level }) => level === "error")).toEqual([]);
    const next = await serving({});
    expect((await send(next, "/annals.v1.EventStoreService/Nope", [empty])).code).toBe(12);
  });

  test("a stream whose client goes ends its handler", async () => {
    const ended = deferred<void>();
    const connection = await serving({
      read: async function* () {
        try {
          for (;;) yield Buffer.alloc(50_000);
        } finally {
          ended.resolve();
        }
      },
    });
    const stream = connection.request(read);
    stream.end(empty);
    stream.once("data", () => stream.close(8));
    await ended.promise;
    expect(server?.lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("a deadline ends it with its status", async () => {
    const connection = await serving({
      getInfo: (_, call) =>
        new Promise((_resolve, reject) => {
          call.signal.addEventListener("abort", () => reject(call.signal.reason as Error));
        }),
    });
    const outcome = await send(connection, getInfo, [empty], { "grpc-timeout": "20m" });
    expect(outcome).toMatchObject({ code: 4, reset: 0 });
  });
});
