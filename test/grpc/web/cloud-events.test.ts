// CloudEvents 1.0 over HTTP, in and out, in each mode: what came is what goes out, to the last digit.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { ask } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const structured = { "content-type": "application/cloudevents+json" };
const batch = { "content-type": "application/cloudevents-batch+json" };
const post = (body: string | Buffer, headers: Record<string, string>, query = "") =>
  ask(server.address, `/v1/events${query}`, { headers, body });
const required = { specversion: "1.0", source: "/orders", type: "order.placed" };
let count = 0;
const event = (more: object) => ({ ...required, id: `e-${++count}`, ...more });

async function stored(body: string, headers: Record<string, string> = structured): Promise<number> {
  const { status, json } = await post(body, headers);
  expect([status, json()]).toMatchObject([200, { lastPosition: expect.any(String) as string }]);
  return Number(json()["lastPosition"]);
}

/** What the store adds. */
const added = ["position", "recordedtime", "streamversion", "stream"];

async function told(position: number): Promise<{ text: string; event: Record<string, unknown> }> {
  const accept = { accept: "application/cloudevents+json" };
  const answer = await ask(server.address, `/v1/events/${position}`, { headers: accept });
  const text = answer.body.toString();
  const all = JSON.parse(text) as Record<string, unknown>;
  for (const name of added) delete all[name];
  return { text, event: all };
}

describe("an event of the structured mode", () => {
  test.each([
    ["an object", { datacontenttype: "application/json", data: { a: [1, "x", null] } }],
    ["zero", { datacontenttype: "application/json", data: 0 }],
    ["false", { datacontenttype: "application/json", data: false }],
    ["null", { datacontenttype: "application/json", data: null }],
    ["an empty string", { datacontenttype: "application/json", data: "" }],
    ["a string", { datacontenttype: "application/json", data: "x" }],
    ["a JSON type of its own", { datacontenttype: "application/vnd.a+json", data: { a: 1 } }],
    ["text", { datacontenttype: "text/plain; charset=utf-8", data: "h\u00e9llo\n\u2028" }],
    ["empty text", { datacontenttype: "text/plain", data: "" }],
    ["bytes", { datacontenttype: "image/png", data_base64: "AAECAwT/+/8=" }],
    ["bytes of no JSON", { datacontenttype: "application/json", data_base64: "AAH/" }],
    ["no data", {}],
    ["extensions", { comexample: "x", empty: "", n: -2147483648, yes: true, no: false, zero: 0 }],
    ["a subject", { subject: "order-7", dataschema: "https://a.example/s#1" }],
    ["a time", { time: "2018-04-05T17:31:00.123456789012+02:00" }],
    ["a time in UTC", { time: "1985-04-12t23:20:50.520z" }],
    ["tags and metadata", { tags: '["a","b c"]', metadata: '{"correlationId":"c-1"}' }],
    ["a UUID", { id: "0190b5a0-0000-7000-8000-0000000000aa" }],
    ["a UUID in capitals", { id: "0190B5A0-0000-7000-8000-0000000000AB" }],
    ["a source of its own", { source: "urn:a:\u00fc b" }],
  ])("with %s comes back as it was", async (_, more) => {
    const came = event(more);
    const { event: back } = await told(await stored(JSON.stringify(came)));
    expect(back).toEqual(came);
  });

  test("has no attributes where they are null, however many", async () => {
    const absent = Array.from({ length: 2_000 }, (_, i) => [`x${i}`, null]);
    const came = event({ kept: "k" });
    const sent = { ...(Object.fromEntries(absent) as object), ...came };
    const { event: back } = await told(await stored(JSON.stringify(sent)));
    expect(back).toEqual(came);
  });

  test("keeps every digit of its data, and may be longer than a line", async () => {
    const data = '{"big":12345678901234567890,"tiny":1.0000000000000000001,\n "e":1e400}';
    const came = JSON.stringify({ ...event({}), datacontenttype: "application/json" });
    const { text } = await told(await stored(`${came.slice(0, -1)},\n"data":${data}}`));
    const [, back = ""] = /"data":(.*)\}$/.exec(text) ?? [];
    expect(back).toBe('{"big":12345678901234567890,"tiny":1.0000000000000000001,"e":1e400}');
  });

  test("is stored in the stream that it names, its subject, or the request's", async () => {
    const streamOf = async (more: object, query = "") => {
      const { json } = await post(JSON.stringify(event(more)), structured, query);
      return (json() as { streams?: { stream: string }[] }).streams?.[0]?.stream;
    };
    expect(await streamOf({ subject: "s-1" })).toBe("s-1");
    expect(await streamOf({ subject: "s-1", stream: "t-1" })).toBe("t-1");
    expect(await streamOf({ subject: "s-1" }, "?stream=u-1")).toBe("u-1");
    expect(await streamOf({ stream: "t-1" }, "?stream=u-1")).toBe("t-1");
    expect(await streamOf({})).toBeUndefined();
  });

  test("that comes twice is stored once, and another one under its id is refused", async () => {
    const came = JSON.stringify(event({ data: 1 }));
    const position = await stored(came);
    const { json } = await post(came, structured);
    expect(json()).toMatchObject({ deduplicated: true, lastPosition: `${position}` });
    const other = await post(came.replace('"data":1', '"data":2'), structured);
    expect([other.status, other.json()["code"]]).toEqual([409, "already_exists"]);
  });

  test("is stored at a version that is expected, or not at all", async () => {
    const query = "?stream=guarded&expected_version=0";
    expect((await post(JSON.stringify(event({})), structured, query)).status).toBe(200);
    expect((await post(JSON.stringify(event({})), structured, query)).status).toBe(409);
  });

  test.each([
    ["no JSON", "{", "body: is not JSON"],
    ["a list", "[]", "body: is no CloudEvent"],
    ["no id", JSON.stringify({ ...required }), "id: is required"],
    ["another version", JSON.stringify(event({ specversion: "0.3" })), "specversion: is not 1.0"],
    ["no time", JSON.stringify(event({ time: "today" })), "time: is not a time of RFC 3339"],
    ["a fraction", JSON.stringify(event({ n: 1.5 })), /^n: is no string, boolean or integer/],
    ["a large integer", JSON.stringify(event({ n: 2 ** 31 })), /^n: is no string, boolean or int/],
    ["an object", JSON.stringify(event({ n: {} })), /^n: is no string, boolean or integer/],
    ["a name", JSON.stringify(event({ "a-b": "x" })), "a-b: is no attribute's name"],
    ["both data", JSON.stringify(event({ data: 1, data_base64: "AA==" })), /excludes data$/],
    ["base64", JSON.stringify(event({ data_base64: "A!" })), "data_base64: is not base64"],
    [
      "a number as text",
      JSON.stringify(event({ datacontenttype: "a/b", data: 1 })),
      /^data: is no/,
    ],
    ["a member twice", '{"id":"a","id":"b"}', /duplicate object key "id"$/],
  ])("is refused with %s", async (_, body, why) => {
    const { status, json } = await post(body, structured);
    expect(status).toBe(400);
    expect(json()["message"]).toMatch(why);
  });
});

test("a batch is stored whole or not at all, and read as one", async () => {
  const events = [0, false, ""].map((data) =>
    event({ subject: "batch-1", datacontenttype: "application/json", data }),
  );
  await stored(JSON.stringify(events), batch);
  const read = await ask(server.address, "/v1/events?stream=batch-1");
  expect(read.headers["content-type"]).toBe("application/cloudevents-batch+json");
  const back = JSON.parse(read.body.toString()) as Record<string, unknown>[];
  for (const each of back) for (const name of added) delete each[name];
  expect(back).toEqual(events);
  const bad = await post(JSON.stringify([...events, {}]), batch);
  expect([bad.status, bad.json()["message"]]).toEqual([400, "events[3].id: is required"]);
  const none = await ask(server.address, "/v1/events?stream=nothing");
  expect(JSON.parse(none.body.toString())).toEqual([]);
  const limited = await ask(server.address, "/v1/events?stream=batch-1&limit=1");
  expect(JSON.parse(limited.body.toString())).toHaveLength(1);
});

describe("an event of the binary mode", () => {
  const headers = {
    "ce-specversion": "1.0",
    "ce-id": "b-1",
    "ce-source": "/a%20b",
    "ce-type": "t",
    "ce-comexample": "Euro%20%E2%82%AC%20%F0%9F%98%80",
    "ce-time": "2018-04-05T17:31:00Z",
  };

  test("comes back in its mode, with the bytes that it had", async () => {
    const body = Buffer.from([0, 255, 10, 13, 128]);
    const type = { "content-type": "image/png" };
    const { json } = await post(body, { ...headers, ...type }, "?stream=binary-1");
    const back = await ask(server.address, `/v1/events/${String(json()["lastPosition"])}`);
    expect(back.body).toEqual(body);
    expect(back.headers).toMatchObject({ ...headers, ...type });
    const { event: same } = await told(Number(json()["lastPosition"]));
    expect(same).toMatchObject({ source: "/a b", comexample: "Euro \u20ac \u{1f600}" });
  });

  test("has as many attributes as one of the structured mode, and is refused in the same words", async () => {
    const names = Array.from({ length: 90 }, (_, i) => `x${i}`);
    const binary = names.map((name) => [`ce-${name}`, "1"]);
    const structuredOnes = names.map((name) => [name, "1"]);
    const came = [
      await post("", { ...headers, ...(Object.fromEntries(binary) as Record<string, string>) }),
      await post(JSON.stringify(event(Object.fromEntries(structuredOnes) as object)), structured),
    ];
    for (const { status, json } of came) {
      expect([status, json()["message"]]).toEqual([400, "event: has more than 80 attributes"]);
    }
  });

  test("is refused where its headers are not UTF-8", async () => {
    const { status, json } = await post("x", { ...headers, "ce-type": "%FF" });
    expect([status, json()["message"]]).toEqual([400, "ce-type: is not UTF-8"]);
  });
});

test("an event that did not come as one has the store as its source, and its stream as subject", async () => {
  const { append, getInfo } = EventStoreService.method;
  const { storeId } = await server.calls.unary(getInfo, {});
  const value = Buffer.from('{"n": 9007199254740993}');
  const { lastPosition } = await server.calls.unary(append, {
    stream: "by-grpc",
    events: [
      {
        type: "T",
        tags: ["a"],
        metadata: { who: "me" },
        contentType: "application/json",
        payload: { case: "data", value },
      },
    ],
  });
  const { text, event: back } = await told(Number(lastPosition));
  expect(back).toMatchObject({
    source: `urn:uuid:${storeId}`,
    subject: "by-grpc",
    time: expect.stringMatching(/Z$/) as string,
    tags: '["a"]',
    metadata: '{"who":"me"}',
  });
  expect(text).toContain('"data":{"n": 9007199254740993}');
});

test("a path or a body of nothing known is refused by what it may be", async () => {
  const none = await ask(server.address, "/v1/events/99999");
  expect([none.status, none.json()["code"]]).toEqual([404, "not_found"]);
  const text = await post("{}", { "content-type": "application/json" });
  expect([text.status, text.headers["accept-post"]]).toEqual([
    415,
    "application/cloudevents+json, application/cloudevents-batch+json",
  ]);
  const put = await ask(server.address, "/v1/events/1", { method: "POST" });
  expect([put.status, put.headers.allow]).toEqual([405, "GET"]);
});
