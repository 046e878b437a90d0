// What clients of HTTP see of a server: those of Connect and gRPC-Web, an EventSource through a
// restart, the CloudEvents SDK, the client of the Model Context Protocol, and a validator of
// OpenAPI. Prints a line of JSON for each.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Validator } from "@seriousme/openapi-schema-validator";
import { CloudEvent, HTTP } from "cloudevents";
import { EventSource } from "eventsource";

const set = fromBinary(FileDescriptorSetSchema, readFileSync("annals.binpb"));
const registry = createFileRegistry(set);
const store = registry.getService("annals.v1.EventStoreService");
const conflict = registry.getMessage("annals.v1.AppendConflict");
const baseUrl = `http://${process.env.ANNALS_ADDRESS}`;
const say = (what, facts) => console.log(JSON.stringify({ what, ...facts }));

const transports = {
  "connect-node, JSON, HTTP/1.1": node.createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "connect-node, binary, HTTP/1.1, GET": node.createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    useBinaryFormat: true,
    useHttpGet: true,
  }),
  "connect-node, JSON, HTTP/2": node.createConnectTransport({ baseUrl, httpVersion: "2" }),
  "connect-node, compressed, HTTP/2": node.createConnectTransport({
    baseUrl,
    httpVersion: "2",
    sendCompression: node.compressionGzip,
    compressMinBytes: 0,
  }),
  "connect-node, gRPC-Web, HTTP/1.1": node.createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "connect-node, gRPC-Web, HTTP/2": node.createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "connect-web, JSON": web.createConnectTransport({ baseUrl, useHttpGet: true }),
  "connect-web, binary": web.createConnectTransport({ baseUrl, useBinaryFormat: true }),
  "connect-web, gRPC-Web": web.createGrpcWebTransport({ baseUrl }),
};

async function failure(promise, schema) {
  try {
    await promise;
  } catch (error) {
    const { code } = ConnectError.from(error);
    const [detail] = schema === undefined ? [] : ConnectError.from(error).findDetails(schema);
    return { code: Code[code], actual: detail?.streams?.[0]?.actualVersion?.toString() };
  }
  return { code: "none" };
}

async function talk(name, transport, number) {
  const client = createClient(store, transport);
  const stream = `talk-${number}`;
  const data = new Uint8Array([0, 255, 10]);
  const payload = { case: "data", value: data };
  const expected = { case: "expectedVersion", value: 0n };
  const events = [{ type: "A", payload }, { type: "B" }];
  const append = (more) => client.append({ stream, events, ...more });
  const appended = await append({ expected });
  const refused = await failure(append({ expected }), conflict);
  const malformed = await failure(append({ stream: "$system" }));
  const read = [];
  for await (const { message } of client.read({ selection: { case: "stream", value: stream } })) {
    if (message.case === "batch") read.push(...message.value.events);
  }
  const info = await client.getStream({ stream });
  const controller = new AbortController();
  const live = [];
  const late = AbortSignal.timeout(20_000);
  const signal = AbortSignal.any([controller.signal, late]);
  const start = { case: "afterPosition", value: appended.lastPosition };
  const request = { selection: { case: "stream", value: stream }, start };
  const end = failure(
    (async () => {
      for await (const { message } of client.subscribe(request, { signal })) {
        if (message.case === "caughtUp" && live.length === 0) await append();
        if (message.case === "batch") live.push(...message.value.events);
        if (live.length === 2) controller.abort();
      }
    })(),
  );
  const overdue = await failure(
    (async () => {
      for await (const _ of client.subscribe(request, { timeoutMs: 300 }));
    })(),
  );
  say(name, {
    last: appended.streams[0].lastVersion.toString(),
    refused,
    malformed: malformed.code,
    read: read.map(({ type }) => type),
    data: [...read[0].data],
    version: info.stream.version.toString(),
    ended: (await end).code,
    live: live.map(({ type }) => type),
    overdue: overdue.code,
  });
}

for (const [i, [name, transport]] of Object.entries(transports).entries())
  await talk(name, transport, i);

const json = (path, body, headers = { "content-type": "application/json" }) =>
  fetch(`${baseUrl}${path}`, { method: "POST", headers, body }).then((response) => response.json());
const appendJson = (stream, type) =>
  json("/annals.v1.EventStoreService/Append", JSON.stringify({ stream, events: [{ type }] }));

async function follow() {
  const source = new EventSource(`${baseUrl}/v1/subscribe?stream=followed`);
  const seen = [];
  const names = [];
  let wake = () => {};
  const until = async (done) => {
    while (!done()) await new Promise((resolve) => (wake = resolve));
  };
  source.addEventListener("message", ({ data }) => (seen.push(JSON.parse(data).type), wake()));
  for (const name of ["caught_up", "failure"]) {
    source.addEventListener(name, () => (names.push(name), wake()));
  }
  await until(() => names.includes("caught_up"));
  await appendJson("followed", "A");
  await appendJson("followed", "B");
  await until(() => seen.length === 2);
  console.log("RESTART");
  await once(process.stdin, "data");
  await appendJson("followed", "C");
  await until(() => seen.includes("C"));
  source.close();
  say("eventsource", { seen, told: names.includes("failure") });
}
await follow();

async function cloudEvents() {
  const base = { source: "/sdk", type: "t" };
  const values = {
    object: { datacontenttype: "application/json", data: { a: 1, b: [true, null] } },
    text: { datacontenttype: "text/plain", data: "h\u00e9" },
    bytes: { datacontenttype: "image/png", data: new Uint8Array([0, 255, 10]) },
    zero: { datacontenttype: "application/json", data: 0 },
  };
  const facts = {};
  for (const [name, value] of Object.entries(values)) {
    for (const mode of ["structured", "binary"]) {
      if (name === "zero" && mode === "binary") continue;
      const event = new CloudEvent({
        ...base,
        id: `${name}-${mode}`,
        time: "2018-04-05T17:31:00.123Z",
        n: 5,
        ...value,
      });
      const { headers, body } = HTTP[mode](event);
      const { lastPosition } = await json("/v1/events", body, headers);
      const accept = mode === "structured" ? "application/cloudevents+json" : "*/*";
      const back = await fetch(`${baseUrl}/v1/events/${lastPosition}`, { headers: { accept } });
      const sdkHeaders = Object.fromEntries(back.headers);
      const bytes = Buffer.from(await back.arrayBuffer());
      const isText = mode === "structured" || name !== "bytes";
      const told = isText
        ? HTTP.toEvent({ headers: sdkHeaders, body: bytes.toString() })
        : undefined;
      const raw = mode === "structured" ? JSON.parse(bytes.toString()) : undefined;
      facts[`${name}, ${mode}`] = {
        id: told?.id ?? sdkHeaders["ce-id"],
        time: told?.time ?? sdkHeaders["ce-time"],
        data: raw?.data ?? raw?.data_base64 ?? (isText ? told.data : [...bytes]),
      };
    }
  }
  say("cloudevents", facts);
}
await cloudEvents();

async function assistant() {
  const client = new Client({ name: "assistant", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${baseUrl}/mcp`)));
  await client.ping();
  const { tools } = await client.listTools();
  const call = async (name, given) => {
    const { content, isError = false } = await client.callTool({ name, arguments: given });
    return { isError, ...JSON.parse(content[0].text) };
  };
  await appendJson("asked", "A");
  const { streams } = await call("find_streams", { prefix: "asked" });
  const { events } = await call("read_events", { stream: "asked" });
  const state = await call("state_at", { stream: "asked", version: 1 });
  const { meaning } = await call("explain_refusal", { reason: "APPEND_CONFLICT" });
  const mistyped = await call("read_events", { steam: "asked" });
  const unknown = await client.callTool({ name: "append" }).catch(({ code }) => code);
  say("mcp", {
    server: client.getServerVersion().name,
    tools: tools.map(({ name }) => name),
    streams: streams.map(({ stream }) => stream),
    events: events.map(({ type }) => type),
    state: state.state,
    meaning: meaning.slice(0, 7),
    mistyped: mistyped.isError,
    unknown,
  });
  await client.close();
}
await assistant();

const spec = await fetch(`${baseUrl}/openapi.json`).then((response) => response.json());
const { valid, errors } = await new Validator().validate(spec);
say("openapi", { valid, errors });
process.exit(0);
