// The Connect protocol by hand: what curl and other clients send, and what they are told.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AppendRequestSchema, AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema, ReadResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { ask, askByHttp2, askJson, envelopesIn } from "../../support/http.ts";
import { messageFrame } from "../../support/raw-connection.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const path = "/annals.v1.EventStoreService/";
const append = (message: unknown) => askJson(server.address, "EventStoreService/Append", message);

describe("a unary call", () => {
  test("appends JSON as curl sends it, and what it stored is the same by gRPC", async () => {
    const json = { name: "Ada", age: 36, big: "9007199254740993" };
    const stored = await append({ stream: "user-1", events: [{ type: "Registered", json }] });
    expect(stored.status).toBe(200);
    expect(stored.headers["content-type"]).toBe("application/json");
    expect(stored.json()).toMatchObject({ firstPosition: "1", head: "1" });
    const request = { selection: { case: "stream", value: "user-1" } } as const;
    const stream = server.calls.stream(EventStoreService.method.read, request);
    const { value } = await stream[Symbol.asyncIterator]().next();
    const [event] = value?.message.case === "batch" ? value.message.value.events : [];
    expect(Buffer.from(event?.data ?? []).toString()).toBe(
      '{"age":36,"big":"9007199254740993","name":"Ada"}',
    );
    stream.cancel();
  });

  test("is the same in binary, compressed, by HTTP/2 and with a far deadline", async () => {
    const request = create(AppendRequestSchema, { stream: "b", events: [{ type: "B" }] });
    const bytes = Buffer.from(toBinary(AppendRequestSchema, request));
    const type = { "content-type": "application/proto" };
    const plain = await ask(server.address, `${path}Append`, { headers: type, body: bytes });
    expect(fromBinary(AppendResponseSchema, plain.body).streams[0]?.lastVersion).toBe(1n);
    const zipped = { ...type, "content-encoding": "gzip", "connect-timeout-ms": "9999999999" };
    const body = gzipSync(bytes);
    const second = await askByHttp2(server.address, `${path}Append`, { headers: zipped, body });
    expect(fromBinary(AppendResponseSchema, second.body).streams[0]?.lastVersion).toBe(2n);
  });

  test("that changes nothing may come by GET", async () => {
    const message = encodeURIComponent(JSON.stringify({ stream: "user-1" }));
    const { status, json } = await ask(
      server.address,
      `${path}GetStream?connect=v1&encoding=json&message=${message}`,
    );
    expect([status, json()]).toMatchObject([200, { stream: { stream: "user-1" } }]);
    const got = await ask(server.address, `${path}Append?encoding=json&message=%7B%7D`);
    expect([got.status, got.headers.allow]).toEqual([405, "POST"]);
  });

  test("that is refused says so in its status, and why in details as JSON", async () => {
    const { status, json } = await append({
      stream: "user-1",
      expected_version: 7,
      events: [{ type: "X" }],
    });
    expect(status).toBe(409);
    const { code, details } = json() as { code: string; details: { debug: unknown }[] };
    expect(code).toBe("aborted");
    expect(details.map(({ debug }) => debug)).toMatchObject([
      { reason: "APPEND_CONFLICT" },
      { streams: [{ stream: "user-1", expectedVersion: "7", actualVersion: "1" }] },
      { requestId: expect.any(String) as string },
    ]);
  });
});

describe("what is mistyped is refused by name", () => {
  test.each([
    ["a member", { stream: "a", expected_versoin: 1 }, /expected_versoin.*mean expected_version\?/],
    ["a member of an event", { events: [{ typ: "a" }] }, /typ: is no member of .*NewEvent.*type/],
    ["a type", { stream: 5 }, /^stream: expected string, got 5$/],
    ["a number as bytes", { events: [{ type: "a", data: "%" }] }, /^data: .*base64.*NewEvent/],
    ["a state", { expected_state: "STREAM_STATE_FOO" }, /StreamState: "STREAM_STATE_FOO"$/],
    ["a state by number", { stream: "a", expected_state: 77, events: [{ type: "a" }] }, /state/],
    ["a guard twice", '{"expectedVersion":1,"expected_version":2}', /expected_version: set multi/],
    ["a member twice", '{"stream":"a","stream":"b"}', /duplicate object key "stream"/],
    ["a number no double is", '{"expected_version":9007199254740993}', /^body: .* IEEE 754/],
    ["no JSON", '{"stream":', /^body: not a valid annals.v1.AppendRequest/],
    ["nothing", "", /^body: .*Unexpected end of JSON input$/],
    ["a list", "[]", /^body: not a valid annals.v1.AppendRequest/],
    ["half of a surrogate pair", '{"stream":"\\ud800"}', /^stream: .*invalid UTF8/],
    ["other bytes than UTF-8", Buffer.from([0x22, 0xff, 0x22]), /^body: /],
    ["depth", "[".repeat(200_000), /^body: the JSON nests deeper than 100 levels$/],
    ["many values", `[${"0,".repeat(300_000)}0]`, /^body: the JSON has more than 262144 values$/],
  ])("%s", async (_, message, why) => {
    const body = Buffer.isBuffer(message) ? message.toString("latin1") : message;
    const raw = Buffer.isBuffer(message) ? message : undefined;
    const { status, json } =
      raw === undefined
        ? await append(body)
        : await ask(server.address, `${path}Append`, {
            headers: { "content-type": "application/json" },
            body: raw,
          });
    expect([status, json()["code"]]).toEqual([400, "invalid_argument"]);
    expect(json()["message"]).toMatch(why);
  });

  test.each([
    ["a method", "EventStoreService/GetInf", {}, 404, /did you mean .*GetInfo\?/],
    [
      "another service",
      "StreamService/GetStream",
      {},
      404,
      /did you mean .*EventStoreService\/GetStream\?/,
    ],
    ["a timeout", "EventStoreService/GetInfo", { "connect-timeout-ms": "1s" }, 400, /connect-tim/],
    ["a compression", "EventStoreService/GetInfo", { "content-encoding": "br" }, 415, /identity/],
    ["a stream as one", "EventStoreService/Read", {}, 415, /application\/connect\+json/],
    ["a stream of requests", "ConsumerGroupService/Consume", {}, 501, /needs gRPC/],
    [
      "a type of content",
      "EventStoreService/GetInfo",
      { "content-type": "text/plain" },
      415,
      /json/,
    ],
  ])("%s", async (_, method, headers, status, why) => {
    const answer = await askJson(server.address, method, {}, { headers });
    expect(answer.status).toBe(status);
    expect(answer.json()["message"]).toMatch(why);
  });

  test("a request that is too large is 413, by what it says and by what comes", async () => {
    const data = "A".repeat(16 * 1024 * 1024);
    const { status, json } = await append({ stream: "a", events: [{ type: "A", data }] });
    expect([status, json()["code"]]).toEqual([413, "resource_exhausted"]);
    expect(json()["message"]).toMatch(/receive_bytes_max/);
    const bomb = gzipSync(JSON.stringify({ stream: " ".repeat(20 * 1024 * 1024) }));
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const second = await ask(server.address, `${path}Append`, { headers, body: bomb });
    expect(second.status).toBe(413);
  });
});

describe("a stream of answers", () => {
  test("comes in envelopes, and its end with them", async () => {
    const headers = { "content-type": "application/connect+json" };
    const body = messageFrame(Buffer.from('{"stream":"user-1","view":"VIEW_JSON"}'));
    const read = await ask(server.address, `${path}Read`, { headers, body });
    expect(read.headers["content-type"]).toBe("application/connect+json");
    const found = envelopesIn(read.body);
    expect(found.map(({ flags }) => flags)).toEqual([0, 0, 2]);
    const said = found.map(({ message }) => JSON.parse(message.toString()) as unknown);
    expect(said).toMatchObject([
      { batch: { events: [{ json: { name: "Ada" }, version: "1" }] } },
      { end: { eventCount: "1", streamVersion: "1" } },
      {},
    ]);
  });

  test("is the same in binary, with a compressed request", async () => {
    const headers = {
      "content-type": "application/connect+proto",
      "connect-content-encoding": "gzip",
    };
    const request = create(ReadRequestSchema, { selection: { case: "stream", value: "user-1" } });
    const zipped = gzipSync(toBinary(ReadRequestSchema, request));
    const body = messageFrame(zipped, { flag: 1 });
    const { body: answer } = await askByHttp2(server.address, `${path}Read`, { headers, body });
    const [batch, end, last] = envelopesIn(answer);
    expect(fromBinary(ReadResponseSchema, batch?.message ?? Buffer.alloc(0)).message.case).toBe(
      "batch",
    );
    expect(fromBinary(ReadResponseSchema, end?.message ?? Buffer.alloc(0)).message.case).toBe(
      "end",
    );
    expect([last?.flags, last?.message.toString()]).toEqual([2, "{}"]);
  });

  test("that is refused ends with the error, as its protocol has it", async () => {
    const headers = { "content-type": "application/connect+json" };
    const body = messageFrame(Buffer.from('{"stream":"user-1","from_position":"99","limt":1}'));
    const { status, body: answer } = await ask(server.address, `${path}Read`, { headers, body });
    const [end] = envelopesIn(answer);
    expect([status, end?.flags]).toEqual([200, 2]);
    expect(JSON.parse(end?.message.toString() ?? "")).toMatchObject({
      error: {
        code: "invalid_argument",
        message: expect.stringMatching(/limt.*limit\?/) as string,
      },
    });
  });
});
