// Requests no client would send, over node:http2 and bare sockets: each ends in a status or a
// closed stream, nothing is stored, and the server goes on serving everybody else.
import { connect as connectSocket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AppendRequestSchema } from "../../src/gen/annals/v1/append_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { encode, failureOf, nextOf } from "../support/calls.ts";
import { messageFrame, RawConnection, type RawOutcome } from "../support/raw-connection.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const method = EventStoreService.method;
const path = "/annals.v1.EventStoreService/Append";

let server: TestServer;
let port: number;
beforeAll(async () => {
  server = await startTestServer();
  port = Number(server.address.split(":")[1]);
});

const connections: RawConnection[] = [];
function raw(options: { window?: number } = {}): RawConnection {
  const connection = new RawConnection(port, options);
  connections.push(connection);
  return connection;
}
afterEach(() => {
  for (const connection of connections.splice(0)) connection.close();
});

/**
 * What the server must be after whatever was sent: there, empty, and without a fault in its log.
 */
async function harm(): Promise<string[]> {
  const { head } = await server.calls.unary(method.getInfo, {});
  const faults = server.lines
    .filter(({ level }) => level === "error")
    .map(({ message }) => message);
  return head === 0n ? faults : [...faults, `stored up to ${head}`];
}
afterAll(async () => {
  const found = await harm();
  if (found.length > 0) throw new Error(found.join("; "));
  await server.stop();
});

const good = encode(AppendRequestSchema, { stream: "s", events: [{ type: "T" }] });
/** An append that is refused for its content, so that nothing is stored if it comes through. */
const empty = encode(AppendRequestSchema, { stream: "s" });

function send(
  parts: readonly Buffer[],
  headers: Record<string, string> = {},
  at = path,
): Promise<RawOutcome> {
  const connection = raw();
  const stream = connection.request(at, headers);
  for (const part of parts) stream.write(part);
  stream.end();
  return connection.outcome(stream);
}

function decoded({ code, message, details }: RawOutcome) {
  return failureOf({ code, details: message, metadata: { get: () => (details ? [details] : []) } });
}

describe("a method that is not there", () => {
  test.each([
    "/annals.v1.EventStoreService/Nope",
    "/annals.v1.Nope/Append",
    "/",
    "/annals.v1.EventStoreService/Append/",
    "/a%20b?c=d",
    `/${"x".repeat(3_000)}`,
    '/"quoted"\\{}',
  ])("%s is UNIMPLEMENTED, with details", async (at) => {
    const failed = decoded(await send([messageFrame(good)], {}, at));
    expect(failed).toMatchObject({ code: 12, reason: "UNIMPLEMENTED", domain: "annals" });
    expect(failed.message).toContain("there is no method");
  });

  test.each([
    "text/html",
    "",
    "application/grpc+json",
    "application/grpcx",
    "application/grpc-webx",
    "application/jsonx",
  ])("the content type %j is told by HTTP that it is not gRPC", async (type) => {
    const { httpStatus, code } = await send([messageFrame(good)], { "content-type": type });
    expect([httpStatus, code]).toEqual([415, -1]);
  });

  test("a message of gRPC is refused as JSON", async () => {
    const type = { "content-type": "application/json" };
    const { httpStatus, code } = await send([messageFrame(good)], type);
    expect([httpStatus, code]).toEqual([400, -1]);
  });

  test.each(["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])(
    "the content type %j is",
    async (type) => {
      expect(await send([messageFrame(empty)], { "content-type": type })).toMatchObject({
        code: 3,
      });
    },
  );

  test("two hundred header fields are metadata like any other", async () => {
    const headers = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, "v"]));
    expect(await send([messageFrame(empty)], headers)).toMatchObject({ code: 3 });
  });

  test.each(["GET", "PUT", "DELETE"])("the method %s is not allowed", async (verb) => {
    const { httpStatus, code } = await send([messageFrame(good)], { ":method": verb });
    expect([httpStatus, code]).toEqual([405, -1]);
  });

  test("an encoding that is not supported is told which are", async () => {
    const stream = raw().request(path, { "grpc-encoding": "zstd" });
    stream.end(messageFrame(good, { flag: 1 }));
    const headers = await new Promise((resolve) => stream.once("response", resolve));
    expect(headers).toMatchObject({
      "grpc-status": "12",
      "grpc-accept-encoding": "identity,deflate,gzip",
    });
  });
});

describe("a deadline", () => {
  test.each(["", "1", "x", "1s", "-1S", "999999999S", "1 S", "NaNS"])(
    "of %j is refused",
    async (timeout) => {
      const outcome = await send([messageFrame(empty)], { "grpc-timeout": timeout });
      expect(outcome).toMatchObject({ code: 3 });
      expect(outcome.message).toContain("grpc-timeout");
    },
  );

  test("counts from the call's beginning, not from the request's end", async () => {
    const connection = raw();
    const stream = connection.request(path, { "grpc-timeout": "30m" });
    const outcome = connection.outcome(stream);
    stream.write(messageFrame(good).subarray(0, 9));
    await new Promise((resolve) => stream.once("response", resolve));
    stream.end(messageFrame(good).subarray(9));
    expect(await outcome).toMatchObject({
      code: 4,
      message: expect.stringContaining("nothing was stored") as string,
    });
  });

  test("that has passed ends the call, and nothing is stored", async () => {
    const { code } = await send([messageFrame(empty)], { "grpc-timeout": "0n" });
    expect([3, 4]).toContain(code);
  });
});

describe("a message that is not what it says", () => {
  test("invalid protobuf and invalid UTF-8 are INVALID_ARGUMENT, with the field", async () => {
    const cases: [string, string][] = [
      ["0a02c328", "stream"],
      ["12051a0361ff61", "events[0].type"],
      ["0a7f61", "stream"],
      ["1202", "events[0]"],
    ];
    for (const [hex, field] of cases) {
      const failed = decoded(await send([messageFrame(Buffer.from(hex, "hex"))]));
      expect(failed).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
      expect(failed.badRequest?.fieldViolations[0]?.field).toBe(field);
    }
  });

  test.each<[string, Buffer[]]>([
    ["none", []],
    ["two", [messageFrame(empty), messageFrame(empty)]],
    ["one that is cut off", [messageFrame(good).subarray(0, 9)]],
    ["a frame's beginning", [Buffer.from([0, 0, 0])]],
    ["one longer than the limit", [messageFrame(good, { length: 9 * 1024 * 1024 })]],
    ["one of 4 GiB", [messageFrame(good, { length: 0xffff_ffff })]],
    ["one that says it is compressed", [messageFrame(good, { flag: 1 }).subarray(0, 8)]],
  ])("%s where a unary call wants one ends with a status", async (_, parts) => {
    const { code } = await send(parts);
    expect([3, 8, 12, 13]).toContain(code);
  });

  test("one byte at a time is still a message", async () => {
    const bytes = [...messageFrame(empty)].map((byte) => Buffer.from([byte]));
    const { code, message } = await send(bytes);
    expect(code).toBe(3);
    expect(message).toContain("events");
  });

  test("compression is taken where it is honest, and bounded", async () => {
    const packed = (bytes: Buffer): Buffer => messageFrame(gzipSync(bytes), { flag: 1 });
    const honest = await send([packed(empty)], { "grpc-encoding": "gzip" });
    expect(honest).toMatchObject({ code: 3, message: expect.stringContaining("events") as string });
    const bomb = await send([packed(Buffer.alloc(64 * 1024 * 1024))], { "grpc-encoding": "gzip" });
    expect(bomb.code).toBe(8);
    const lie = await send([messageFrame(good, { flag: 1 })], { "grpc-encoding": "gzip" });
    expect(lie.code).toBe(13);
    const unknown = await send([messageFrame(good, { flag: 1 })], { "grpc-encoding": "snappy" });
    expect(unknown.code).toBe(12);
  });

  test("strange metadata is passed over", async () => {
    const headers = { "x-bin": "%%%", "grpc-trace-bin": "\u00ff", "x-long": "y".repeat(10_000) };
    expect((await send([messageFrame(empty)], headers)).code).toBe(3);
  });

  test("a request of more than 4 MiB names the limit it breaks", async () => {
    const events = Array.from({ length: 5 }, () => ({
      type: "T",
      payload: { case: "data", value: Buffer.alloc(1024 * 1024) } as const,
    }));
    const failed = decoded(
      await send([messageFrame(encode(AppendRequestSchema, { stream: "s", events }))]),
    );
    expect(failed.badRequest?.fieldViolations).toMatchObject([
      { field: "events", description: expect.stringContaining("append_bytes_max") as string },
    ]);
  });
});

describe("connections that misbehave", () => {
  test("streams reset before, during and after their request harm nobody else", async () => {
    const connection = raw();
    const ended = [0, 3, messageFrame(good).length - 1].map((bytes) => {
      const stream = connection.request(path);
      if (bytes > 0) stream.write(messageFrame(good).subarray(0, bytes));
      stream.close(8);
      return connection.outcome(stream);
    });
    await Promise.all(ended);
    expect(await harm()).toEqual([]);
  });

  test("garbage instead of HTTP/2 closes that connection", async () => {
    for (const garbage of [
      "GET / HTTP/1.1\r\n\r\n",
      "\u0016\u0003\u0001\u0002\u0000",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish".repeat(9),
    ]) {
      const socket = connectSocket(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      socket.end(garbage, "latin1");
      await new Promise((resolve) => socket.once("close", resolve));
    }
    expect(await harm()).toEqual([]);
  });

  test("a connection cut off in the middle of many calls leaves none behind", async () => {
    const connection = raw();
    const follow = "/annals.v1.EventStoreService/Subscribe";
    const streams = Array.from({ length: 50 }, () => connection.request(follow));
    for (const stream of streams) stream.end(messageFrame(Buffer.alloc(0)));
    await Promise.all(
      streams.map((stream) => new Promise((resolve) => stream.once("response", resolve))),
    );
    expect((await server.calls.unary(method.getInfo, {})).subscriberCount).toBe(50);
    connection.close();
    await settled(async () => (await server.calls.unary(method.getInfo, {})).subscriberCount === 0);
  });

  test("a pipe that is cut off in the middle of a message is just over", async () => {
    const connection = raw();
    const stream = connection.request("/annals.v1.EventStoreService/AppendPipe");
    stream.write(messageFrame(good).subarray(0, 7));
    stream.close(8);
    await connection.outcome(stream);
    expect(await harm()).toEqual([]);
  });
});

describe("clients that give up", () => {
  test("their subscriptions end with them", async () => {
    const stream = server.calls.stream(method.subscribe, {});
    await nextOf(stream[Symbol.asyncIterator]());
    expect((await server.calls.unary(method.getInfo, {})).subscriberCount).toBe(1);
    stream.cancel();
    await settled(async () => (await server.calls.unary(method.getInfo, {})).subscriberCount === 0);
  });
});

/** Waits for what has no event of its own. */
async function settled(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

/** One HTTP/2 frame. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK without compression: each header as two plain texts. */
function plainHeaders(headers: Record<string, string>): Buffer {
  const text = (value: string): Buffer => Buffer.from([value.length, ...Buffer.from(value)]);
  const fields = Object.entries(headers).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]),
  );
  return Buffer.concat(fields);
}

test("a request and its reset without an error in one packet leave nothing behind", async () => {
  const own = await startTestServer();
  const socket = connectSocket(Number(own.address.split(":")[1]), "127.0.0.1");
  const headers = plainHeaders({
    ":method": "POST",
    ":scheme": "http",
    ":path": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ":authority": "x",
    "content-type": "application/grpc",
    te: "trailers",
  });
  const listServices = messageFrame(Buffer.from([0x3a, 0]));
  const calls = Array.from({ length: 100 }, (_, i) => [
    frame(1, 4, 2 * i + 1, headers),
    frame(0, 0, 2 * i + 1, listServices),
    frame(3, 0, 2 * i + 1, Buffer.alloc(4)),
  ]);
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.resume();
  for (const call of calls.slice(0, 1))
    socket.write(Buffer.concat([preface, frame(4, 0, 0, Buffer.alloc(0)), ...call]));
  for (const call of calls.slice(1)) {
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(Buffer.concat(call));
  }
  await own.calls.unary(method.getInfo, {});
  socket.end();
  await own.stop();
  expect(own.lines.map(({ message }) => message)).not.toContain("open calls were cut off");
});
