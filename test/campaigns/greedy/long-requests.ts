// Requests as large as the limits allow, each alone on an otherwise idle server: how long the longest
// turn of its main thread lasts, in milliseconds of processor time.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type ClientHttp2Session } from "node:http2";
import { create, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { SaveCheckpointRequestSchema } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { CreateGroupRequestSchema } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { View, type NewEventSchema } from "../../../src/gen/annals/v1/event_pb.js";
import { ListStreamsRequestSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { ReadRequestSchema, SubscribeRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import {
  GetSnapshotRequestSchema,
  GetStateRequestSchema,
  SaveSnapshotRequestSchema,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import { messageFrame } from "../../support/raw-connection.ts";
import { scratchFolder, ServerProcess } from "../support/server-process.ts";
import { longOtherRequests, otherProtocols } from "./long-other-requests.ts";
import { longWebRequests, type LongRequest } from "./long-web-requests.ts";

const store = "/annals.v1.EventStoreService/";
const clock = new URL("../support/turn-clock.ts", import.meta.url).href;
/** Events in an append, and bytes of its largest event. */
const eventsMax = 5_000;
const payloadBytes = 2_900_000;
/** Of JSON that is decoded. */
const textBytes = 1_000_000;
const valuesMax = 9_900;
/** Of one query. */
const [queryItems, queryValues] = [64, 64];
const settleMs = 200;
const flags = ["--free-space-reserve-bytes", "0", ...otherProtocols];

type Event = MessageInitShape<typeof NewEventSchema>;

function request<S extends DescMessage>(
  path: string,
  schema: S,
  init: MessageInitShape<S>,
): LongRequest {
  return { path, bytes: toBinary(schema, create(schema, init)) };
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function append(stream: string, events: Event[]): LongRequest {
  return request(`${store}Append`, AppendRequestSchema, { stream, events });
}

function read(init: MessageInitShape<typeof ReadRequestSchema>): LongRequest {
  return request(`${store}Read`, ReadRequestSchema, init);
}

const idOf = (i: number): string => `0190b000-0000-7000-8000-${i.toString(16).padStart(12, "0")}`;

const ofOwnStreams = (fill: number): LongRequest =>
  append(
    "own",
    times(eventsMax, (i) => ({
      id: idOf(i),
      type: `type-${i % 50}`,
      stream: `own-${i}`,
      payload: { case: "data", value: Buffer.alloc(600, fill) },
    })),
  );

/** As many values as a query may have. */
const query = (salt: string) => ({
  items: times(queryItems, (item) => ({
    tags: times(queryValues, (i) => `${salt}:${item}:${i}:`.padEnd(232, "t")),
  })),
});

const list = { values: times(valuesMax, (i) => ({ kind: numberOf(i) })) };
function numberOf(value: number) {
  return { case: "numberValue" as const, value };
}

/** JSON that is stored as it is, and decoded when it is read, by stream. */
const texts: Readonly<Record<string, string>> = {
  members: JSON.stringify(Object.fromEntries(times(valuesMax, (i) => [`member-${i}`, i]))),
  letters: JSON.stringify({ text: "a".repeat(textBytes) }),
  accents: JSON.stringify({ text: "\u00e9".repeat(textBytes / 2) }),
  escapes: `{"text":"${"\\n".repeat(textBytes / 2)}"}`,
  numbers: `[${"1,".repeat(payloadBytes / 2)}1]`,
  nested: `${"[".repeat(payloadBytes / 2)}${"]".repeat(payloadBytes / 2)}`,
  digits: `[${"9".repeat(textBytes)}]`,
  exact: `[${times(valuesMax, (i) => `1234567890123456789${i}`).join(",")}]`,
};

const appends: Readonly<Record<string, LongRequest>> = {
  "5,000 small events": append(
    "many",
    times(eventsMax, () => ({ type: "T" })),
  ),
  "5,000 events with ids in as many streams": ofOwnStreams(1),
  "the same again": ofOwnStreams(1),
  "the same ids with other content": ofOwnStreams(2),
  "20,000 tags": append(
    "tagged",
    times(eventsMax, (i) => ({ type: "T", tags: times(4, (j) => `tag-${i}-${j}`) })),
  ),
  "20,000 metadata entries": append(
    "told",
    times(eventsMax, () => ({
      type: "T",
      metadata: Object.fromEntries(times(4, (j) => [`key-${j}`, "v".repeat(150)])),
    })),
  ),
  "an event of 3 MB": append("large", [
    { type: "T", payload: { case: "data", value: Buffer.alloc(payloadBytes, 7) } },
  ]),
  "a JSON value of 9,900 numbers": append("values", [
    { type: "T", payload: { case: "json", value: { kind: { case: "listValue", value: list } } } },
  ]),
  "a JSON value of one text of 2.9 MB": append("texts", [
    {
      type: "T",
      payload: {
        case: "json",
        value: { kind: { case: "stringValue", value: "\u00e9".repeat(payloadBytes / 2) } },
      },
    },
  ]),
  "5,000 events with five faults each": append(
    "faulty",
    times(eventsMax, () => ({ type: "", stream: "$no", tags: ["$a", "$a"] })),
  ),
  "256 expectations and a condition of 4,096 tags": request(`${store}Append`, AppendRequestSchema, {
    stream: "expected",
    events: [{ type: "T" }],
    expectations: times(256, (i) => ({
      stream: `expected-${i}`.padEnd(500, "x"),
      expected: { case: "expectedVersion" as const, value: 0n },
    })),
    conditions: [{ query: query("condition"), after: 0n }],
  }),
  "4 million empty events": {
    path: `${store}Append`,
    bytes: Buffer.from("1200".repeat(2_000_000), "hex"),
  },
  "2 million tags of one event": {
    path: `${store}Append`,
    bytes: lengthFirst(0x12, Buffer.from("2200".repeat(2_000_000), "hex")),
  },
  "8 MB of zeros": { path: `${store}Append`, bytes: Buffer.alloc(8_000_000) },
};

/** A field of a message. */
function lengthFirst(tag: number, value: Buffer): Buffer {
  const length: number[] = [];
  let left = value.length;
  for (; left >= 0x80; left >>>= 7) length.push((left & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([tag, ...length, left]), value]);
}

function ofText(stream: string): [string, LongRequest][] {
  return [
    [`GetState of ${stream}`, request(`${store}GetState`, GetStateRequestSchema, { stream })],
    [`${stream} as JSON`, read({ selection: { case: "stream", value: stream }, view: View.JSON })],
  ];
}

/** In order: some are about what those before them stored. */
function longRequests(): [string, LongRequest][] {
  const stored = Object.entries(texts).map(([stream, text]): [string, LongRequest] => {
    const value = Buffer.from(text);
    const payload = { case: "data" as const, value };
    const event = { type: "T", contentType: "application/json", payload };
    return [`Append: JSON of ${stream}`, append(stream, [event])];
  });
  const prefixes = times(queryItems, (item) => ({
    streamPrefixes: times(queryValues, (i) => `own-${item}${i}`.padEnd(232, "x")),
  }));
  const snapshot = { stream: "many", kind: "k" };
  const state = { case: "data" as const, value: Buffer.alloc(payloadBytes) };
  const metadata = Object.fromEntries(times(64, (i) => [`key-${i}`, "v".repeat(240)]));
  return [
    ...Object.entries(appends).map(([name, one]): [string, LongRequest] => [
      `Append: ${name}`,
      one,
    ]),
    ...stored,
    ...Object.keys(texts).flatMap(ofText),
    [
      "5,000 events as JSON",
      read({ selection: { case: "stream", value: "many" }, view: View.JSON }),
    ],
    ["Read by 4,096 tags", read({ selection: { case: "query", value: query("read") } })],
    ["Read by 4,096 prefixes", read({ selection: { case: "query", value: { items: prefixes } } })],
    [
      "Read by 3.9 million empty names",
      {
        path: `${store}Read`,
        bytes: lengthFirst(0x12, lengthFirst(0x0a, Buffer.from("2200".repeat(3_900_000), "hex"))),
      },
    ],
    [
      "Subscribe by 4,096 tags",
      {
        ...request(`${store}Subscribe`, SubscribeRequestSchema, {
          selection: { case: "query", value: query("follow") },
        }),
        endsAfterMs: 500,
      },
    ],
    [
      "CreateGroup by 4,096 tags",
      request("/annals.v1.ConsumerGroupService/CreateGroup", CreateGroupRequestSchema, {
        name: "long",
        settings: { query: query("group") },
      }),
    ],
    [
      "SaveSnapshot of 2.9 MB",
      request(`${store}SaveSnapshot`, SaveSnapshotRequestSchema, {
        ...snapshot,
        version: 1n,
        state,
      }),
    ],
    ["GetSnapshot of 2.9 MB", request(`${store}GetSnapshot`, GetSnapshotRequestSchema, snapshot)],
    ["ListStreams", request(`${store}ListStreams`, ListStreamsRequestSchema, { pageSize: 1_000 })],
    [
      "SaveCheckpoint with metadata",
      request("/annals.v1.CheckpointService/SaveCheckpoint", SaveCheckpointRequestSchema, {
        consumer: "c",
        position: 1n,
        metadata,
      }),
    ],
    [
      "Read: 8 MB of unknown fields",
      { path: `${store}Read`, bytes: Buffer.from("f80100".repeat(2_600_000), "hex") },
    ],
    ...longWebRequests(),
    ...longOtherRequests(),
  ];
}

/** By name, in milliseconds. Turns that are short are 0. */
export async function longestTurns(
  nodeFlags: readonly string[],
  report?: (line: string) => void,
): Promise<Record<string, number>> {
  const folder = scratchFolder("long-requests");
  const file = `${folder}-turns`;
  writeFileSync(file, "");
  const environment = { NODE_OPTIONS: `--import ${clock}`, CAMPAIGN_TURNS: file };
  const server = await ServerProcess.start({ folder, flags, environment, nodeFlags });
  const session = connect(`http://127.0.0.1:${server.port}`);
  const turns: Record<string, number> = {};
  try {
    for (const [name, long] of longRequests()) {
      await pause(settleMs);
      writeFileSync(file, "");
      const status = await ask(session, long);
      await pause(settleMs);
      const lines = readFileSync(file, "latin1").split("\n");
      turns[name] = Math.round(Math.max(...lines.map(Number)));
      report?.(`${name}: ${turns[name]} ms (${status})`);
    }
  } finally {
    session.destroy();
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
    rmSync(file, { force: true });
  }
  return turns;
}

function ask(session: ClientHttp2Session, long: LongRequest): Promise<string> {
  const { path, bytes, endsAfterMs, contentType = "application/grpc" } = long;
  const fields = { ":method": "POST", ":path": path, "content-type": contentType };
  const stream = session.request({ ...fields, te: "trailers" });
  let status = "none";
  const told = (headers: Record<string, unknown>): void => {
    const { "grpc-status": code = status, "grpc-message": message = "" } = headers;
    status = `${String(code)} ${decodeURIComponent(String(message)).slice(0, 80)}`.trim();
    if (!isFramed(contentType) && ":status" in headers) status = String(headers[":status"]);
  };
  stream.on("response", told).on("trailers", told);
  stream.on("error", () => {}).resume();
  const body = Buffer.from(bytes);
  stream.end(isFramed(contentType) ? messageFrame(body) : body);
  if (endsAfterMs !== undefined) setTimeout(() => stream.close(8), endsAfterMs);
  return new Promise((resolve) => stream.once("close", () => resolve(status)));
}

function isFramed(contentType: string): boolean {
  return /^application\/(?:grpc|connect)/.test(contentType);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
