// As long-requests.ts, by the other protocols, as CloudEvents, and by the Model Context Protocol.
import { create, toBinary } from "@bufbuild/protobuf";
import { BatchAppendReqSchema } from "../../../src/gen/event_store/client/streams/streams_pb.js";
import { AppendRequestSchema } from "../../../src/gen/umadb/v1/umadb_pb.js";
import { AppendRecordsRequestSchema } from "../../../src/gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import type { LongRequest } from "./long-web-requests.ts";

export const otherProtocols = ["--protocol", "kurrentdb", "--protocol", "umadb", "--mcp"];

const eventsMax = 5_000;
const payloadBytes = 2_900_000;
const empty = {};

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

const idOf = (i: number): string => `0190c000-0000-7000-8000-${i.toString(16).padStart(12, "0")}`;

function umadbAppend(count: number, tags: number, bytes: number): LongRequest {
  const events = times(count, (i) => ({
    eventType: `type-${i % 50}`,
    tags: times(tags, (j) => `tag-${i}-${j}`),
    data: Buffer.alloc(bytes, 7),
    uuid: idOf(i),
  }));
  const request = create(AppendRequestSchema, { events });
  return { path: "/umadb.v1.DCB/Append", bytes: toBinary(AppendRequestSchema, request) };
}

function batchAppend(count: number, bytes: number): LongRequest {
  const request = create(BatchAppendReqSchema, {
    correlationId: { value: { case: "string", value: idOf(0) } },
    options: {
      streamIdentifier: { streamName: Buffer.from("long-batch") },
      expectedStreamPosition: { case: "any", value: empty },
    },
    proposedMessages: times(count, (i) => ({
      id: { value: { case: "string" as const, value: idOf(i + 10_000) } },
      metadata: { type: `type-${i % 50}`, "content-type": "application/json" },
      customMetadata: Buffer.from('{"$correlationId":"c"}'),
      data: Buffer.alloc(bytes, 0x20),
    })),
    isFinal: true,
  });
  const path = "/event_store.client.streams.Streams/BatchAppend";
  return { path, bytes: toBinary(BatchAppendReqSchema, request), endsAfterMs: 1_000 };
}

function appendRecords(count: number, bytes: number): LongRequest {
  const records = times(count, (i) => ({
    stream: `long-${i % 10}`,
    recordId: idOf(i + 20_000),
    schema: { name: `type-${i % 50}`, format: 1 },
    data: Buffer.alloc(bytes, 0x20),
  }));
  const request = create(AppendRecordsRequestSchema, { records });
  const path = "/kurrentdb.protocol.v2.streams.StreamsService/AppendRecords";
  return { path, bytes: toBinary(AppendRecordsRequestSchema, request) };
}

const required = '"specversion":"1.0","source":"/s","type":"T"';

function cloudEvents(kind: string, body: string): LongRequest {
  const contentType = `application/cloudevents${kind}+json`;
  return { path: "/v1/events?stream=clouds", bytes: Buffer.from(body), contentType };
}

const data = Buffer.alloc(payloadBytes, 7).toString("base64");

function tool(name: string, given: object): LongRequest {
  const params = { name, arguments: given };
  const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params };
  const bytes = Buffer.from(JSON.stringify(message));
  return { path: "/mcp", bytes, contentType: "application/json" };
}

export function longOtherRequests(): [string, LongRequest][] {
  const list = times(eventsMax, (i) => `{${required},"id":"${i}","data":{"a":${i}}}`);
  const text = "\u00e9".repeat(payloadBytes / 2);
  return Object.entries({
    "UmaDB: Append of 5,000 events": umadbAppend(eventsMax, 0, 0),
    "UmaDB: Append of 20,000 tags": umadbAppend(eventsMax, 4, 100),
    "UmaDB: Append of 2.9 MB": umadbAppend(1, 0, payloadBytes),
    "KurrentDB: BatchAppend of 5,000 events": batchAppend(eventsMax, 0),
    "KurrentDB: BatchAppend of 2.9 MB": batchAppend(1, payloadBytes),
    "KurrentDB: AppendRecords of 5,000 events": appendRecords(eventsMax, 100),
    "KurrentDB: AppendRecords of 2.9 MB": appendRecords(1, payloadBytes),
    "CloudEvents: a batch of 5,000": cloudEvents("-batch", `[${list.join()}]`),
    "CloudEvents: 2.9 MB": cloudEvents("", `{${required},"id":"b","data_base64":"${data}"}`),
    "CloudEvents: a text of 2.9 MB": cloudEvents("", `{${required},"id":"t","data":"${text}"}`),
    "CloudEvents: 200,000 numbers": cloudEvents(
      "",
      `{${required},"id":"n","data":[${"0.12345678901234567890,".repeat(200_000)}1]}`,
    ),
    "MCP: read_events": tool("read_events", { limit: 100 }),
    "MCP: state_at": tool("state_at", { stream: "members" }),
    "MCP: find_streams": tool("find_streams", { limit: 1_000 }),
  });
}
