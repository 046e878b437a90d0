// The Model Context Protocol: what an assistant is told, what it may not see, and what is refused.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { reasons } from "../../../src/gen/openapi.js";
import { accessFolder } from "../../support/access.ts";
import { ask, type Asked } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(["--mcp"]);
});
afterAll(() => server.stop());

type Fields = Record<string, unknown>;

async function post(message: unknown, more: Asked = {}, to = server) {
  const body = typeof message === "string" ? message : JSON.stringify(message);
  const headers = { "content-type": "application/json", ...more.headers };
  return ask(to.address, "/mcp", { method: "POST", ...more, headers, body });
}

async function rpc(method: string, params: Fields = {}, more: Asked = {}, to = server) {
  const answer = await post({ jsonrpc: "2.0", id: 7, method, params }, more, to);
  expect(answer.status).toBe(200);
  expect(answer.json()).toMatchObject({ jsonrpc: "2.0", id: 7 });
  return answer.json() as { result: Fields; error: Fields };
}

/** What a tool says. */
async function call(name: string, given: Fields = {}, more: Asked = {}, to = server) {
  const { result } = await rpc("tools/call", { name, arguments: given }, more, to);
  const { content, isError = false } = result as {
    content: [{ text: string }];
    isError?: boolean;
  };
  return { isError, text: content[0].text, json: JSON.parse(content[0].text) as Fields };
}

const { append } = EventStoreService.method;
function store(stream: string, ...payloads: string[]) {
  const events = payloads.map((text) => ({
    type: "Noted",
    tags: ["note:1"],
    contentType: "application/json",
    payload: { case: "data" as const, value: Buffer.from(text) },
  }));
  return server.calls.unary(append, { stream, events });
}

describe("a session", () => {
  test("begins with the version that both know", async () => {
    for (const [asked, agreed] of [
      ["2025-06-18", "2025-06-18"],
      ["2030-01-01", "2025-11-25"],
    ]) {
      const { result } = await rpc("initialize", { protocolVersion: asked, capabilities: {} });
      expect(result).toMatchObject({
        protocolVersion: agreed,
        capabilities: { tools: {} },
        serverInfo: { name: "annals" },
      });
    }
    const initialized = { jsonrpc: "2.0", method: "notifications/initialized" };
    const answer = await post(initialized, { headers: { "mcp-protocol-version": "2025-11-25" } });
    expect([answer.status, answer.body.length]).toEqual([202, 0]);
    expect((await rpc("ping")).result).toEqual({});
  });

  test("has tools that say of themselves that they read", async () => {
    const { tools } = (await rpc("tools/list")).result as { tools: Fields[] };
    expect(tools.map(({ name }) => name)).toEqual([
      "find_streams",
      "read_events",
      "state_at",
      "explain_refusal",
    ]);
    for (const { annotations, inputSchema, description } of tools) {
      expect(annotations).toMatchObject({ readOnlyHint: true });
      expect(inputSchema).toMatchObject({ type: "object", additionalProperties: false });
      expect(description).toMatch(/\.$/);
    }
  });
});

describe("a tool", () => {
  test("finds streams, page by page", async () => {
    for (const name of ["find-a", "find-b", "find-c"]) await store(name, "1");
    const first = await call("find_streams", { prefix: "find-", limit: 2 });
    expect(first.json).toMatchObject({ streams: [{ stream: "find-a" }, { stream: "find-b" }] });
    const page = { prefix: "find-", page_token: first.json["nextPageToken"] };
    expect((await call("find_streams", page)).json).toMatchObject({
      streams: [{ stream: "find-c", version: "1" }],
    });
  });

  test("reads events of a stream and of a selection, and says how to go on", async () => {
    await store("read-1", '{"n":1}', '{"n":2}', '{"n":3}');
    const { json } = await call("read_events", { stream: "read-1", limit: 2 });
    expect(json).toMatchObject({
      events: [{ json: { n: 1 } }, { type: "Noted", version: "2" }],
      of: { next: { from_version: 3 } },
    });
    const next = { stream: "read-1", from_version: 3 };
    const rest = (await call("read_events", next)).json;
    expect(rest).toMatchObject({ events: [{ json: { n: 3 } }], of: { streamVersion: 3 } });
    expect(rest["of"]).not.toHaveProperty("next");
    const newest = { tags: ["note:1"], prefixes: ["read-"], backwards: true, limit: 1 };
    const last = (await call("read_events", newest)).json as { events: Fields[]; of: Fields };
    expect(last.events).toMatchObject([{ json: { n: 3 } }]);
    const { from_position: from } = last.of["next"] as { from_position: number };
    const older = await call("read_events", { ...newest, from_position: from, payloads: false });
    expect(older.json["events"]).toMatchObject([{ version: "2" }]);
    expect(older.text).not.toContain('"json"');
  });

  test("tells JSON with each digit of its numbers, and other payloads as base64", async () => {
    const exact = '{"n":12345678901234567890.10,"m":1.0}';
    await store("exact", exact, "no JSON", `${"[".repeat(600)}${"]".repeat(600)}`);
    const { text, json } = await call("read_events", { stream: "exact" });
    expect(text).toContain(`"json":${exact}`);
    const data = Buffer.from("no JSON").toString("base64");
    const deep = expect.stringMatching(/^W1tb/) as string;
    expect(json).toMatchObject({ events: [{}, { data }, { data: deep }] });
  });

  test("leaves out payloads and events that are too long to be told", async () => {
    const long = JSON.stringify({ text: "x".repeat(100_000) });
    await store("long", long, '{"n":1}');
    const { json } = await call("read_events", { stream: "long" });
    expect(json).toMatchObject({
      events: [{ leftOut: "the payload, which has 100011 bytes" }, { json: { n: 1 } }],
    });
    const middle = JSON.stringify({ text: "x".repeat(60_000) });
    await store("many", ...Array.from({ length: 8 }, () => middle));
    const many = await call("read_events", { stream: "many" });
    expect((many.json["events"] as Fields[]).length).toBe(4);
    expect(many.json["of"]).toEqual({ next: { from_version: 5 } });
    expect(many.text.length).toBeLessThan(300_000);
  });

  test("tells the state at a version, with each digit of its numbers", async () => {
    await store("state-1", '{"n":12345678901234567890}', '{"m":2}');
    expect((await call("state_at", { stream: "state-1", version: 1 })).text).toMatch(
      /^\{"state":\{"n":12345678901234567890\},"of":\{"version":"1"/,
    );
    expect((await call("state_at", { stream: "state-1" })).json).toMatchObject({
      state: { m: 2 },
      of: { version: "2" },
    });
    expect((await call("state_at", { stream: "none" })).json).toMatchObject({ state: null });
  });

  test("tells a state of many members as its text", async () => {
    const members = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`member-${i}`, i]));
    await store("state-many", JSON.stringify(members));
    const { json } = await call("state_at", { stream: "state-many" });
    expect(json).toEqual({
      state: members,
      of: expect.objectContaining({ version: "1", appliedCount: "1" }) as object,
    });
  });

  test("explains every reason, and what a status says", async () => {
    for (const reason of Object.keys(reasons)) {
      expect((await call("explain_refusal", { reason })).json).toEqual({
        reason,
        meaning: expect.stringMatching(/^[A-Z_]+[:,] /) as string,
      });
    }
    const status =
      "CAoSCGNvbmZsaWN0Gk0KKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5FcnJvckluZm8SIQoPQVBQRU5E" +
      "X0NPTkZMSUNUEgZhbm5hbHMaBgoBYRIBYg==";
    expect((await call("explain_refusal", { status_details: status })).json).toMatchObject({
      reason: "APPEND_CONFLICT",
      status: { message: "conflict", details: [{ domain: "annals" }] },
    });
  });

  test.each([
    ["read_events", { steam: "a" }, "steam: is no argument of read_events; did you mean stream?"],
    ["read_events", { limit: 1_000 }, "limit: is not a whole number from 1 to 100"],
    ["read_events", { limit: "1" }, "limit: is not a whole number"],
    ["read_events", { stream: "a", types: ["b"] }, "stream: excludes types"],
    ["read_events", { types: "b" }, "types: expected Array"],
    ["read_events", { from_version: 1 }, "from_version"],
    ["read_events", { backwards: "yes" }, "backwards: is not true or false"],
    ["find_streams", { prefix: 1 }, "prefix: "],
    ["state_at", {}, "stream"],
    ["state_at", { stream: "a", version: 1, time: "2026-01-01T00:00:00Z" }, "time"],
    ["explain_refusal", { reason: "APPEND_CONFLIKT" }, "did you mean APPEND_CONFLICT?"],
    ["explain_refusal", {}, "reason: is absent"],
    ["explain_refusal", { status_details: "AAAA" }, "status_details: is no google.rpc.Status"],
    ["explain_refusal", { status_details: "%" }, "status_details: is no base64"],
  ])("%s says what is wrong with %j", async (name, given, why) => {
    const { isError, json } = await call(name, given);
    expect([isError, json["code"]]).toEqual([true, "invalid_argument"]);
    expect(json["message"]).toContain(why);
  });
});

describe("what is no request", () => {
  test("is answered as an error of JSON-RPC", async () => {
    expect((await rpc("tools/cal")).error).toMatchObject({ code: -32_601 });
    expect((await rpc("tools/call", { name: "append" })).error).toMatchObject({ code: -32_602 });
    const given = { name: "read_events", arguments: [1] };
    expect((await rpc("tools/call", given)).error).toMatchObject({ code: -32_602 });
  });

  test.each([
    ["no JSON", "{", 400],
    ["nothing", "", 400],
    ["a list", "[]", 400],
    ["another version of JSON-RPC", '{"jsonrpc":"1.0","id":1,"method":"ping"}', 400],
    ["an id that is none", '{"jsonrpc":"2.0","id":{},"method":"ping"}', 400],
    ["what nests deep", `${"[".repeat(100)}${"]".repeat(100)}`, 400],
    ["what is long", JSON.stringify("x".repeat(70_000)), 413],
  ])("%s is refused", async (_, body, status) => {
    const answer = await post(body);
    expect(answer.status).toBe(status);
    expect(answer.json()).toHaveProperty("message");
  });

  test("another version of the protocol, method or content type is refused", async () => {
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    const later = { "mcp-protocol-version": "2030-01-01" };
    expect((await post(ping, { headers: later })).status).toBe(400);
    const stream = await ask(server.address, "/mcp", { headers: { accept: "text/event-stream" } });
    expect([stream.status, stream.headers.allow]).toEqual([405, "POST"]);
    expect((await ask(server.address, "/mcp", { method: "DELETE" })).status).toBe(405);
    expect((await post(ping, { headers: { "content-type": "text/plain" } })).status).toBe(415);
    expect((await post(ping, { headers: { origin: "http://evil.example" } })).status).toBe(403);
  });
});

describe("with access control", () => {
  const access = accessFolder({
    roles: { clerk: { read: ["order-"], append: ["order-", "till-"] } },
  });
  afterAll(() => access.remove());
  let guarded: TestServer;
  afterEach(() => guarded.stop());

  test("a caller sees what it may read, and nobody else sees anything", async () => {
    const clerk = await access.token("clerk", ["clerk"]);
    guarded = await startTestServer([...access.flags, "--mcp"]);
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    const nobody = await post(ping, {}, guarded);
    expect([nobody.status, nobody.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
    const shown = { headers: { authorization: `Bearer ${clerk}` } };
    const read = await call("read_events", { stream: "order-1" }, shown, guarded);
    expect(read).toMatchObject({ isError: false, json: { events: [] } });
    for (const [name, given] of [
      ["read_events", {}],
      ["read_events", { stream: "till-1" }],
      ["state_at", { stream: "till-1" }],
      ["find_streams", {}],
    ] as const) {
      const { isError, json } = await call(name, given, shown, guarded);
      expect([isError, json["code"]]).toEqual([true, "permission_denied"]);
      expect(json["message"]).toContain("lacks read");
    }
  });
});

test("it is not there unless it is asked for", async () => {
  const plain = await startTestServer();
  expect((await post({ jsonrpc: "2.0", id: 1, method: "ping" }, {}, plain)).status).toBe(404);
  await plain.stop();
});
