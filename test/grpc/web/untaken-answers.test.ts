// As test/grpc/services/untaken-answers.test.ts, by Connect, gRPC-Web and Server-Sent Events: what
// waits for a client that takes nothing is let go of, and said again in the same bytes.
import { setTimeout as pause } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, test } from "vitest";
import { RecordedEventSchema, type RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import {
  ReadRequestSchema,
  ReadResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import { ask } from "../../support/http.ts";
import { messageFrame } from "../../support/raw-connection.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { expectNoneLost, StandingClient } from "../../support/standing-client.ts";

const eventCount = 60;
const eventBytes = 10_000;
const { append } = EventStoreService.method;
const path = "/annals.v1.EventStoreService";
const nothing = Buffer.alloc(0);

/** How a client asks, and the events in what has come. */
interface Case {
  readonly asks: (client: StandingClient) => void;
  readonly events: (client: StandingClient) => string[];
}

const subscribe = Buffer.from(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, {})));
const read = Buffer.from(toBinary(ReadRequestSchema, create(ReadRequestSchema, {})));
const asText = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const textOf = (event: RecordedEvent): string => asText(toBinary(RecordedEventSchema, event));

function ofSubscribe(message: Uint8Array): string[] {
  const { message: said } = fromBinary(SubscribeResponseSchema, message);
  return said.case === "batch" ? said.value.events.map(textOf) : [];
}

function ofRead(message: Uint8Array): string[] {
  const { message: said } = fromBinary(ReadResponseSchema, message);
  return said.case === "batch" ? said.value.events.map(textOf) : [];
}

interface Told {
  readonly batch?: { readonly events: readonly { readonly id: string }[] };
}

function ofJson(message: Buffer): string[] {
  const { batch } = JSON.parse(message.toString()) as Told;
  return batch?.events.map((event) => JSON.stringify(event)) ?? [];
}

const isTrailers = (message: Buffer): boolean => asText(message).startsWith("grpc-status");

function messagesOfText(client: StandingClient): Buffer[] {
  const texts = asText(client.bytes()).match(/[\w+/]+={0,2}/g) ?? [];
  const bytes = Buffer.concat(texts.map((text) => Buffer.from(text, "base64")));
  const found: Buffer[] = [];
  for (let at = 0; bytes.length - at >= 5;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end <= bytes.length) found.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return found;
}

function framesOf(client: StandingClient): string[] {
  const frames = asText(client.bytes()).split("\n\n").slice(0, -1);
  return frames.filter((text) => !text.includes("event: "));
}

function events(of: (message: Buffer) => string[]): Case["events"] {
  return (client) => client.messages().flatMap((message) => of(message));
}

const cases: Readonly<Record<string, Case>> = {
  "Server-Sent Events": {
    asks: (client) => client.send("GET", "/v1/subscribe?stream=s", "text/plain", nothing),
    events: framesOf,
  },
  "Connect in JSON: a subscription": {
    asks: (client) =>
      client.ask(`${path}/Subscribe`, Buffer.from("{}"), "application/connect+json"),
    events: events(ofJson),
  },
  "Connect in protobuf: a subscription": {
    asks: (client) => client.ask(`${path}/Subscribe`, subscribe, "application/connect+proto"),
    events: events(ofSubscribe),
  },
  "gRPC-Web: a read": {
    asks: (client) => client.ask(`${path}/Read`, read, "application/grpc-web"),
    events: events((message) => (isTrailers(message) ? [] : ofRead(message))),
  },
  "gRPC-Web as text: a subscription": {
    asks: (client) => {
      const body = Buffer.from(messageFrame(subscribe).toString("base64"));
      client.send("POST", `${path}/Subscribe`, "application/grpc-web-text", body);
    },
    events: (client) => messagesOfText(client).flatMap(ofSubscribe),
  },
};

let server: TestServer;
const clients: StandingClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.raw.destroy();
  await server.stop();
});

/** With what the connection holds that asks. Figures are kept for a second. */
async function heldBytes(): Promise<number> {
  const since = Date.now() / 1_000;
  for (;;) {
    const { body } = await ask(server.address, "/metrics");
    const figure = (name: string): number =>
      Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body.toString())?.[1]);
    if (figure("annals_told_timestamp_seconds") > since)
      return figure("annals_client_memory_bytes");
    await pause(100);
  }
}

function connected(restBytes: number): StandingClient {
  const port = Number(server.address.split(":")[1]);
  const memory = {
    get bytes() {
      return heldBytes().then((bytes) => bytes - restBytes);
    },
  };
  const client = new StandingClient({ port, memory });
  clients.push(client);
  return client;
}

test.each(Object.entries(cases))(
  "a client that takes nothing for a while gets all of %s",
  { timeout: 60_000 },
  async (_, one) => {
    server = await startTestServer();
    for (let i = 0; i < eventCount; i++) {
      const payload = { case: "data" as const, value: Buffer.alloc(eventBytes, i) };
      await server.calls.unary(append, { stream: "s", events: [{ type: "T", payload }] });
    }
    const restBytes = await heldBytes();
    await expectNoneLost(() => connected(restBytes), one.asks, one.events, eventCount);
  },
);
