// Live subscribers over HTTP in every form, many at once: what is made once for all of them is what
// each of them would have been sent alone, and each event comes once and in order.
import { fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { connect as connectByHttp2, type ClientHttp2Session } from "node:http2";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import {
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import { Source } from "../../support/event-source.ts";
import { messageFrame } from "../../support/raw-connection.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
let session: ClientHttp2Session;
const closing: (() => void)[] = [];
beforeAll(async () => {
  server = await startTestServer();
  session = connectByHttp2(`http://${server.address}`);
});
afterAll(async () => {
  for (const close of closing) close();
  session.close();
  await server.stop();
});

const { append } = EventStoreService.method;

/** A subscriber that says which positions it has had, and whether it has caught up. */
interface Subscriber {
  positions(): number[];
  isLive(): boolean;
}

function bySse(query: string): Subscriber {
  const source = new Source(server.address, `/v1/subscribe?${query}`);
  closing.push(() => source.close());
  return {
    positions: () => source.positions,
    isLive: () => source.names().includes("caught_up"),
  };
}

function bySseOverHttp2(): Subscriber {
  let text = "";
  const stream = session.request({ ":path": "/v1/subscribe" });
  stream.setEncoding("utf8").on("data", (part: string) => (text += part));
  stream.on("error", () => {});
  const ids = (): RegExpMatchArray[] => [...text.matchAll(/(?:\n\n|retry: 1000\n)id: (\d+)@/g)];
  return {
    positions: () => ids().map(([, position]) => Number(position)),
    isLive: () => text.includes("event: caught_up"),
  };
}

/** A `POST` whose answer is read as `read` says. */
function byPost(
  type: string,
  body: Uint8Array<ArrayBuffer> | string,
  read: (all: Buffer) => Told[],
): Subscriber {
  const parts: Buffer[] = [];
  const ending = new AbortController();
  closing.push(() => ending.abort());
  const { signal } = ending;
  const run = async (): Promise<void> => {
    const url = `http://${server.address}/annals.v1.EventStoreService/Subscribe`;
    const headers = { "content-type": type };
    const answer = await fetch(url, { method: "POST", headers, body, signal });
    for await (const part of answer.body ?? []) parts.push(Buffer.from(part as Uint8Array));
  };
  run().catch(() => {});
  const told = (): Told[] => read(Buffer.concat(parts));
  return {
    positions: () => told().flatMap(({ positions }) => positions),
    isLive: () => told().some(({ isCaughtUp }) => isCaughtUp),
  };
}

interface Told {
  readonly positions: number[];
  readonly isCaughtUp: boolean;
}

/** Messages behind prefixes, as far as they are there. */
function messagesOf(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    messages.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

function toldInBinary(message: Buffer): Told {
  const { message: said } = fromBinary(SubscribeResponseSchema, message);
  const events = said.case === "batch" ? said.value.events : [];
  const positions = events.map(({ position }) => Number(position));
  return { positions, isCaughtUp: said.case === "caughtUp" };
}

function toldInJson(message: Buffer): Told {
  const { batch, caughtUp } = JSON.parse(message.toString()) as {
    batch?: { events: { position: string }[] };
    caughtUp?: unknown;
  };
  const positions = (batch?.events ?? []).map(({ position }) => Number(position));
  return { positions, isCaughtUp: caughtUp !== undefined };
}

/** Base64 in parts, each with an end of its own. */
function unencoded(text: string): Buffer {
  const parts = text.match(/[\w+/]+={0,2}/g) ?? [];
  return Buffer.concat(parts.map((part) => Buffer.from(part, "base64")));
}

const request = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema));
const framedRequest = new Uint8Array(messageFrame(Buffer.from(request)));

function subscribers(): Subscriber[] {
  return [
    bySse(""),
    bySse("view=full"),
    bySse("format=cloudevents"),
    bySseOverHttp2(),
    byPost("application/grpc-web+proto", framedRequest, (all) => messagesOf(all).map(toldInBinary)),
    byPost(
      "application/grpc-web-text+proto",
      Buffer.from(framedRequest).toString("base64"),
      (all) => messagesOf(unencoded(all.toString("latin1"))).map(toldInBinary),
    ),
    byPost("application/connect+proto", framedRequest, (all) => messagesOf(all).map(toldInBinary)),
    byPost(
      "application/connect+json",
      new Uint8Array(messageFrame(Buffer.from('{"view":"VIEW_JSON"}'))),
      (all) => messagesOf(all).map(toldInJson),
    ),
  ];
}

test("each gets every event once and in order", async () => {
  const json = { contentType: "application/json", payload: { case: "data" as const } };
  const store = async (n: number): Promise<bigint> => {
    const value = Buffer.from(JSON.stringify({ n, text: "é".repeat(n % 50) }));
    const events = Array.from({ length: 1 + (n % 3) }, () => ({
      type: "Noted",
      contentType: json.contentType,
      payload: { ...json.payload, value },
    }));
    const { head } = await server.calls.unary(append, { stream: `s-${n % 7}`, events });
    return head;
  };
  await store(1);
  const all = Array.from({ length: 4 }, subscribers).flat();
  await expect.poll(() => all.every((each) => each.isLive()), { timeout: 20_000 }).toBe(true);
  let head = 0;
  for (let n = 0; n < 100; n += 4) {
    const heads = await Promise.all([n, n + 1, n + 2, n + 3].map(store));
    head = Math.max(head, ...heads.map(Number));
  }
  const expected = Array.from({ length: head }, (_, i) => i + 1);
  for (const each of all) {
    await expect.poll(() => each.positions().length, { timeout: 20_000 }).toBe(head);
    expect(each.positions()).toEqual(expected);
  }
}, 60_000);
