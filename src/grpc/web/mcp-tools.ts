// The tools of the Model Context Protocol: each makes one request of the contract, which changes
// nothing, and says its answer as JSON, no longer than an assistant can take.

import { fromBinary, toJson, toJsonString } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import { isJsonContentType, jsonDepthMax, jsonShape, parseJson } from "../../domain/json.ts";
import { nearTo } from "../../domain/near.ts";
import { recordsIn } from "../../domain/record.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { WireReader, wireBytes } from "../../domain/wire.ts";
import { RecordedEventSchema, type RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import { ReadEndSchema, ReadResponseSchema, type ReadEnd } from "../../gen/annals/v1/read_pb.js";
import { GetStateResponseSchema } from "../../gen/annals/v1/snapshot_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import type { Call } from "../transport/call-environment.ts";
import { messagesIn } from "../transport/call-format.ts";
import { RepeatableMessage } from "../transport/message-parts.ts";
import type { Bytes, Method, Methods } from "../transport/methods.ts";
import { jsonOfBytes, registry, requestOfJson } from "./message-json.ts";

type Given = Readonly<Record<string, unknown>>;

export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** A schema of JSON. */
  readonly inputSchema: { readonly properties: Readonly<Record<string, object>> };
  /** What it calls, which judges whether the caller may. */
  readonly method?: Method;
  /** The answer as text. Throws INVALID_FIELD, and what its method fails with. */
  run(given: Given, call: Call): Promise<string>;
}

const eventsMax = 100;
const eventsDefault = 20;
const streamsMax = 1_000;
const streamsDefault = 50;
/** Characters of an answer, beside its first event. */
const textMax = 256 * 1024;
/** Bytes of a payload. A longer one is not told. */
const payloadBytesMax = 64 * 1024;
/** What an event costs beside its bytes, as the scheduler counts. */
const eventCost = 512;

const text = (description: string) => ({ type: "string", description });
const listOf = (description: string) => ({ type: "array", items: { type: "string" }, description });
const whole = (description: string) => ({ type: "integer", minimum: 1, description });
const limit = (initial: number, maximum: number) => ({
  ...whole(`At most so many. Absent: ${initial}.`),
  maximum,
});

function schema(properties: Record<string, object>, ...required: string[]) {
  return { type: "object", properties, required, additionalProperties: false };
}

export function tools(methods: Methods): readonly Tool[] {
  return [findStreams, readEvents, stateAt]
    .map((tool) => checked(tool(methodAt(methods, tool.of))))
    .concat(checked(explainRefusal));
}

function methodAt(methods: Methods, name: string): Method {
  const method = methods.get(`/${EventStoreService.typeName}/${name}`);
  if (method === undefined) throw new Error(`there is no method ${name}`);
  return method;
}

/** Refuses arguments that the tool does not have. */
function checked(tool: Tool): Tool {
  const names = Object.keys(tool.inputSchema.properties);
  return {
    ...tool,
    run(given, call) {
      const unknown = Object.keys(given).find((name) => !names.includes(name));
      if (unknown === undefined) return tool.run(given, call);
      const like = nearTo(unknown, names);
      const hint = like === undefined ? `, but of ${names.join(", ")}` : `; did you mean ${like}?`;
      throw invalidField(unknown, `is no argument of ${tool.name}${hint}`);
    },
  };
}

findStreams.of = "ListStreams";
function findStreams(method: Method): Tool {
  return {
    name: "find_streams",
    title: "Find streams",
    description: "Lists streams by name, with how many events each has and when the last one came.",
    inputSchema: schema({
      prefix: text("Only streams whose name begins with this. Absent: all but system streams."),
      limit: limit(streamsDefault, streamsMax),
      page_token: text("nextPageToken of the page before."),
    }),
    method,
    async run({ prefix, limit: count, page_token: pageToken }, call) {
      const pageSize = bounded("limit", count, streamsMax) ?? streamsDefault;
      const answer = await answerOf(method, { prefix, pageSize, pageToken }, call);
      return jsonOfBytes(method.output, answer);
    },
  };
}

readEvents.of = "Read";
function readEvents(method: Method): Tool {
  return {
    name: "read_events",
    title: "Read events",
    description:
      "Reads events of a stream, or of the whole store by type, tag and prefix of the stream: " +
      "the oldest first, or backwards the newest first. Absent arguments do not restrict. `next` " +
      "in the answer has the arguments that go on behind it.",
    inputSchema: schema({
      stream: text("Events of this stream. Excludes types, tags and prefixes."),
      types: listOf("Events of one of these types."),
      tags: listOf("Events with all of these tags."),
      prefixes: listOf("Events in streams with one of these prefixes."),
      from_position: whole("Begin at this position of the store (inclusive)."),
      from_version: whole("Begin at this version of the stream (inclusive). Needs stream."),
      backwards: { type: "boolean", description: "From new to old." },
      payloads: { type: "boolean", description: "False: without payloads. Absent: with them." },
      limit: limit(eventsDefault, eventsMax),
    }),
    method,
    async run(given, call) {
      const count = bounded("limit", given["limit"], eventsMax) ?? eventsDefault;
      const backwards = flag("backwards", given["backwards"], false);
      const request = {
        ...selectionOf(given),
        fromPosition: given["from_position"],
        fromVersion: given["from_version"],
        direction: backwards ? "DIRECTION_BACKWARDS" : "DIRECTION_FORWARDS",
        view: flag("payloads", given["payloads"], true) ? "VIEW_FULL" : "VIEW_HEADERS",
        limit: count,
      };
      call.hold(textMax);
      const page = await pageOf(method, request, call);
      return said(page, count, backwards, given["stream"] !== undefined);
    },
  };
}

stateAt.of = "GetState";
function stateAt(method: Method): Tool {
  return {
    name: "state_at",
    title: "State of a stream",
    description:
      "The state of a stream at a version or a time, or now: its JSON events merged in order by " +
      "JSON Merge Patch.",
    inputSchema: schema(
      {
        stream: text("The stream."),
        version: whole("After this version. Excludes time."),
        time: text("After the last event recorded by then, as in 2026-01-31T12:00:00Z."),
      },
      "stream",
    ),
    method,
    async run({ stream, version, time }, call) {
      const answer = await answerOf(method, { stream, version, time }, call);
      call.hold(answer.length);
      const { stateJson, rest } = withoutState(answer);
      const of = toJsonString(GetStateResponseSchema, fromBinary(GetStateResponseSchema, rest));
      return `{"state":${stateJson},"of":${of}}`;
    },
  };
}

const stateFields = GetStateResponseSchema.field;
const tagState = stateFields.state.number * 8 + wireBytes;
const tagStateJson = stateFields.stateJson.number * 8 + wireBytes;

/** The state's text, and the rest of the answer. The state as values is never decoded. */
function withoutState(answer: Uint8Array): { stateJson: string; rest: Buffer } {
  const reader = new WireReader(answer);
  const rest: Uint8Array[] = [];
  let stateJson = "";
  while (!reader.done) {
    const from = reader.offset;
    const tag = reader.varint();
    if (tag === tagStateJson) stateJson = Buffer.from(reader.view()).toString();
    else reader.passOver(tag & 7);
    if (tag !== tagState && tag !== tagStateJson) rest.push(answer.subarray(from, reader.offset));
  }
  return { stateJson, rest: Buffer.concat(rest) };
}

const explainRefusal: Tool = {
  name: "explain_refusal",
  title: "Explain a refusal",
  description:
    "Explains why the store refused a call: what its reason means and what to do, and what the " +
    "details of its status say.",
  inputSchema: schema({
    reason: text("The reason of the error, such as APPEND_CONFLICT."),
    status_details: text("What gRPC has in grpc-status-details-bin, in base64."),
  }),
  async run({ reason, status_details: encoded }) {
    const status = encoded === undefined ? undefined : statusIn(encoded);
    const found = reason ?? status?.reason;
    if (found === undefined) throw invalidField("reason", "is absent, and status_details has none");
    const { reasons } = await import("../../gen/openapi.js");
    if (typeof found !== "string") throw invalidField("reason", "is no text");
    const name = found.replace(/^ERROR_REASON_/, "");
    const meaning = Object.hasOwn(reasons, name) ? reasons[name] : undefined;
    if (meaning === undefined) {
      const like = nearTo(name, Object.keys(reasons));
      const hint = like === undefined ? "" : `; did you mean ${like}?`;
      throw invalidField("reason", `is no reason of this store${hint}`);
    }
    return JSON.stringify({ reason: name, meaning, ...(status && { status: status.json }) });
  },
};

function selectionOf({ stream, types, tags, prefixes }: Given): object {
  if (types === undefined && tags === undefined && prefixes === undefined) return { stream };
  if (stream !== undefined) throw invalidField("stream", "excludes types, tags and prefixes");
  return { query: { items: [{ types, tags, streamPrefixes: prefixes }] } };
}

class Page {
  readonly texts: string[] = [];
  last: RecordedEvent | undefined;
  /** Undefined: the page is full. */
  end: ReadEnd | undefined;
  private readonly effort = new Effort();
  private length = 0;

  /** As many events of a message as fit the answer. Returns whether more may come. */
  *take(message: Uint8Array): Steps<boolean> {
    const reader = new WireReader(message);
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === tagBatch) {
        if (!(yield* this.takeBatch(reader.view()))) return false;
      } else if (tag === tagEnd) this.end = fromBinary(ReadEndSchema, reader.view());
      else reader.passOver(tag & 7);
    }
    return this.end === undefined;
  }

  private *takeBatch(frames: Uint8Array): Steps<boolean> {
    for (const record of recordsIn(frames)) {
      if (!this.takeRecord(record)) return false;
      if (this.effort.spend(record.length + eventCost)) yield this.effort.take();
    }
    return true;
  }

  private takeRecord(record: Uint8Array): boolean {
    const event = fromBinary(RecordedEventSchema, record);
    const told = textOf(event);
    this.length += told.length;
    if (this.length > textMax && this.texts.length > 0) return false;
    this.last = event;
    this.texts.push(told);
    return true;
  }
}

const tagBatch = ReadResponseSchema.field.batch.number * 8 + wireBytes;
const tagEnd = ReadResponseSchema.field.end.number * 8 + wireBytes;

async function pageOf(method: Method, request: object, call: Call): Promise<Page> {
  if (method.kind !== "server_streaming") throw new Error("a read is a stream of answers");
  const page = new Page();
  for await (const answer of method.run(requestFor(method, request), call)) {
    const answers: unknown[] = Array.isArray(answer) ? answer : [answer];
    for (const message of answers.flatMap((each) => bytesIn(method.encode(each)))) {
      // Others have their turn between two steps, and meanwhile the message is held.
      call.hold(message.length);
      const goesOn = await call.inSteps(page.take(message));
      call.release(message.length);
      if (!goesOn) return page;
    }
  }
  return page;
}

const nothing = new Uint8Array();

/** An event as JSON. A JSON payload is told as it is stored, with each digit of its numbers. */
function textOf(event: RecordedEvent): string {
  const { data, contentType } = event;
  event.data = nothing;
  const facts = toJsonString(RecordedEventSchema, event, { registry });
  return data.length === 0 ? facts : `${facts.slice(0, -1)},${payloadText(data, contentType)}}`;
}

function payloadText(data: Uint8Array, contentType: string): string {
  if (data.length > payloadBytesMax) {
    return `"leftOut":"the payload, which has ${data.length} bytes"`;
  }
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const isJson = isJsonContentType(contentType) && jsonShape(bytes).depth <= jsonDepthMax;
  if (isJson && parseJson(bytes) !== undefined) return `"json":${bytes.toString()}`;
  return `"data":"${bytes.toString("base64")}"`;
}

function said(page: Page, limitOfPage: number, backwards: boolean, isStream: boolean): string {
  const { texts: told, last, end } = page;
  const isCut = end === undefined || told.length === limitOfPage;
  const step = backwards ? -1n : 1n;
  const next = last && (isStream ? last.version : last.position) + step;
  const hasNext = isCut && next !== undefined && next > 0n;
  const name = isStream ? "from_version" : "from_position";
  const facts = {
    ...(end && { head: Number(end.head) }),
    ...(end && isStream && { streamVersion: Number(end.streamVersion) }),
    ...(hasNext && { next: { [name]: Number(next) } }),
  };
  return `{"events":[${told.join(",\n")}],"of":${JSON.stringify(facts)}}`;
}

interface ToldStatus {
  readonly reason: string | undefined;
  readonly json: unknown;
}

function statusIn(encoded: unknown): ToldStatus {
  const name = "status_details";
  if (typeof encoded !== "string" || !/^[\w+/-]{1,16384}={0,2}$/.test(encoded)) {
    throw invalidField(name, "is no base64 of at most 16384 characters");
  }
  let json: unknown;
  try {
    json = toJson(StatusSchema, fromBinary(StatusSchema, Buffer.from(encoded, "base64")), {
      registry,
    });
  } catch {
    throw invalidField(name, "is no google.rpc.Status with details of this store");
  }
  const { details = [] } = json as { details?: readonly { reason?: string }[] };
  return { reason: details.find(({ reason }) => reason !== undefined)?.reason, json };
}

async function answerOf(method: Method, request: object, call: Call): Promise<Uint8Array> {
  if (method.kind !== "unary") throw new Error("it has one answer");
  const answer = await method.run(requestFor(method, request), call);
  const [bytes = nothing] = bytesIn(method.encode(answer));
  return bytes;
}

function requestFor({ input }: Method, request: object): Buffer {
  return requestOfJson(input, Buffer.from(JSON.stringify(request)));
}

function bytesIn(bytes: Bytes): Uint8Array[] {
  return messagesIn(bytes instanceof RepeatableMessage ? bytes.take() : bytes);
}

function bounded(name: string, value: unknown, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= max) return Number(value);
  throw invalidField(name, `is not a whole number from 1 to ${max}`);
}

function flag(name: string, value: unknown, initial: boolean): boolean {
  if (value === undefined) return initial;
  if (typeof value === "boolean") return value;
  throw invalidField(name, "is not true or false");
}
