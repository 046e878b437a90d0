// CloudEvents over HTTP: `POST /v1/events` appends them, `GET /v1/events` reads many, and
// `GET /v1/events/POSITION` reads one.

import { create, toBinary } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import { decodeRecord, recordsIn } from "../../domain/record.ts";
import { atOnce, type Steps } from "../../domain/steps.ts";
import { WireReader, wireBytes } from "../../domain/wire.ts";
import { AppendRequestSchema, type AppendRequest } from "../../gen/annals/v1/append_pb.js";
import {
  NewEventSchema,
  View,
  type NewEvent,
  type RecordedEvent,
} from "../../gen/annals/v1/event_pb.js";
import { ReadRequestSchema, ReadResponseSchema } from "../../gen/annals/v1/read_pb.js";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import {
  messagesIn,
  SharedForms,
  type AnswerFormat,
  type CallFormat,
  type Framable,
  type MakeForm,
} from "../transport/call-format.ts";
import { StatusCode, StatusError, type CallStatus } from "../transport/status.ts";
import { AnswerText, shortAnswerBytesMax } from "./answer-text.ts";
import {
  cloudEventDepthMax,
  cloudEventOfHeaders,
  cloudEventsInSteps,
  cloudEventValuesMax,
} from "./cloud-event.ts";
import { respondWhole, respondWithError, type Fields } from "./http-status.ts";
import { looked } from "./json-walk.ts";
import { MadeAppend } from "./long-json.ts";
import { binaryOf } from "./message-json.ts";
import { Parameters, selectionNames, selectionOfUrl } from "./parameters.ts";
import { binaryFields, toldOf, writeStructured, type Told } from "./recorded-cloud-event.ts";

const structuredType = "application/cloudevents+json";
const batchType = "application/cloudevents-batch+json";
/** Of a read without a limit of its own. */
const readLimit = 1_000n;
/** Clients take 8 KiB of headers and more; what has more goes out in the structured mode. */
const binaryHeaderBytesMax = 6 * 1024;

/** What makes a body an append. Undefined: the headers are those of no CloudEvent. */
export function appendOfCloudEvents(
  query: string,
  headers: ReadonlyMap<string, string>,
): Required<Pick<CallFormat, "decode" | "decodeInSteps">> | undefined {
  const type = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase();
  const isJson = type === structuredType || type === batchType;
  if (!isJson && headers.get("ce-specversion") === undefined) return undefined;
  const parameters = new Parameters(query, ["stream", "expected_version", "epoch"]);
  const stream = parameters.one("stream") ?? "";
  const version = parameters.whole("expected_version");
  if (version !== undefined && stream === "")
    throw invalidField("expected_version", "needs stream");
  const expected: AppendRequest["expected"] =
    version === undefined ? { case: undefined } : { case: "expectedVersion", value: version };
  const epoch = parameters.one("epoch") ?? "";
  const rest = binaryOf(
    AppendRequestSchema,
    create(AppendRequestSchema, { stream, expected, epoch }),
  );
  const mode = { isBatch: type === batchType, inStream: stream !== "" };
  const decodeInSteps = function* (body: Buffer): Steps<Buffer> {
    const made = new MadeAppend(rest, body.length + rest.length);
    const take = (event: NewEvent): void => made.add(toBinary(NewEventSchema, event));
    if (isJson) {
      yield* looked(body, bounds);
      yield* cloudEventsInSteps(body, mode, take);
    } else take(cloudEventOfHeaders(headers, body, mode.inStream));
    return made.bytes();
  };
  return { decode: (body) => atOnce(decodeInSteps(body)), decodeInSteps };
}

const bounds = {
  depthMax: cloudEventDepthMax,
  valuesMax: cloudEventValuesMax,
  refusesExactNumbers: false,
};

const readNames = [...selectionNames, "after", "epoch", "limit"];

/** The read of many events, or of the one at a position. */
export function readOfUrl(path: string, query: string): { request: Buffer; isOne: boolean } {
  const isOne = path !== "/v1/events";
  const parameters = new Parameters(query, isOne ? ["epoch"] : readNames);
  const epoch = parameters.one("epoch") ?? "";
  if (isOne) {
    const position = BigInt(/^\/v1\/events\/(\d{1,16})$/.exec(path)?.[1] ?? 0);
    if (position < 1n) throw invalidField("position", "is not a whole number from 1");
    const request = create(ReadRequestSchema, {
      from: { case: "fromPosition", value: position },
      to: { case: "toPosition", value: position },
      view: View.FULL,
      epoch,
    });
    return { request: binaryOf(ReadRequestSchema, request), isOne };
  }
  const after = parameters.whole("after");
  const request = create(ReadRequestSchema, {
    selection: selectionOfUrl(parameters),
    limit: parameters.whole("limit") ?? readLimit,
    view: View.FULL,
    epoch,
    ...(after !== undefined && { from: { case: "fromPosition", value: after + 1n } }),
  });
  return { request: binaryOf(ReadRequestSchema, request), isOne };
}

const tagBatch = ReadResponseSchema.field.batch.number * 8 + wireBytes;

/** The events of messages of a read. */
function* recordsOf(messages: readonly Framable[]): Generator<RecordedEvent> {
  for (const bytes of messages.flatMap(messagesIn)) {
    for (const frames of batchesIn(bytes)) {
      for (const record of recordsIn(frames)) yield decodeRecord(record);
    }
  }
}

function* batchesIn(message: Uint8Array): Generator<Uint8Array> {
  const reader = new WireReader(message);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === tagBatch) yield reader.view();
    else reader.passOver(tag & 7);
  }
}

/** The batch mode: a list, as long as the read. */
export class CloudEventList implements AnswerFormat {
  private readonly source: string;
  private readonly more: Fields;
  private readonly forms = new SharedForms();
  private separator = "[";

  constructor(source: string, more: Fields) {
    this.source = source;
    this.more = more;
  }

  begin(stream: Http2Stream): void {
    const head = [
      [":status", "200"],
      ["content-type", batchType],
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
      ...this.more,
    ] as const;
    stream.respond(encodeHeaders(head));
  }

  send(stream: Http2Stream, messages: readonly Framable[]): boolean {
    const parts: Buffer[] = [];
    for (const message of messages) {
      const events = this.forms.of(message, this.listed);
      if (events.length === 0) continue;
      parts.push(Buffer.from(this.separator), events);
      this.separator = separator;
    }
    return stream.write(...parts);
  }

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = message.length > shortAnswerBytesMax;
    return isLong ? this.forms.inSteps(message, this.listed) : undefined;
  }

  private readonly listed: MakeForm = (message) => listOf(message, this.source);

  end(stream: Http2Stream, status: CallStatus | undefined, hasBegun: boolean): void {
    if (status !== undefined && !hasBegun) return respondWithError(stream, status, this.more);
    if (!hasBegun) this.begin(stream);
    // A list without its end is none.
    if (status !== undefined) return stream.reset(errorCode.internal);
    if (stream.write(Buffer.from(this.separator === "[" ? "[]\n" : "]\n"))) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  endInstead(stream: Http2Stream): void {
    stream.reset(errorCode.enhanceYourCalm);
  }
}

const separator = ",\n";

/** Its events, without what is around them in the list. */
function* listOf(message: Framable, source: string): Steps<Buffer> {
  const out = new AnswerText(message.length);
  let before = "";
  for (const event of recordsOf([message])) {
    out.add(before);
    yield* writeStructured(toldOf(event, source), out);
    before = separator;
  }
  return out.bytes();
}

/** One event, in the structured or the binary mode. */
export class OneCloudEvent implements AnswerFormat {
  private readonly source: string;
  private readonly isStructured: boolean;
  private readonly more: Fields;
  private readonly forms = new SharedForms();
  private hasAnswered = false;

  constructor(source: string, isStructured: boolean, more: Fields) {
    this.source = source;
    this.isStructured = isStructured;
    this.more = more;
  }

  begin(): void {}

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = message.length > shortAnswerBytesMax;
    if (!isLong || this.fieldsOf(message) !== undefined) return undefined;
    return this.forms.inSteps(message, this.structured);
  }

  private readonly structured: MakeForm = (message) => listOf(message, this.source);

  send(stream: Http2Stream, messages: readonly Framable[]): boolean {
    for (const message of messages) {
      const told = this.toldIn(message);
      if (told === undefined) continue;
      const fields = this.fieldsOf(message);
      const isBinary = fields !== undefined;
      const body = isBinary
        ? Buffer.from(told.data ?? [])
        : this.forms.of(message, this.structured);
      const [type, ...others] = isBinary ? typeFirst(fields) : [structuredType];
      this.hasAnswered = respondWhole(stream, 200, type, body, [...others, ...this.more]);
      return this.hasAnswered;
    }
    return true;
  }

  private toldIn(message: Framable): Told | undefined {
    const [event] = recordsOf([message]);
    return event && toldOf(event, this.source);
  }

  /** The headers of the binary mode. Undefined: it is said in the structured mode. */
  private fieldsOf(message: Framable): [string, string][] | undefined {
    const told = this.isStructured ? undefined : this.toldIn(message);
    if (told === undefined) return undefined;
    const fields = binaryFields(told);
    let bytes = 0;
    for (const [name, value] of fields) bytes += name.length + value.length;
    return fields.length > 0 && bytes <= binaryHeaderBytesMax ? fields : undefined;
  }

  end(stream: Http2Stream, status: CallStatus | undefined): void {
    if (this.hasAnswered) return;
    const message = "there is no event at this position";
    const none = new StatusError(StatusCode.NOT_FOUND, message).status;
    respondWithError(stream, status ?? none, this.more);
  }

  endInstead(stream: Http2Stream, status: CallStatus): void {
    this.end(stream, status);
  }
}

function typeFirst(fields: readonly [string, string][]): [string, ...[string, string][]] {
  const [first, ...others] = fields;
  if (first?.[0] === "content-type") return [first[1], ...others];
  return ["application/octet-stream", ...fields];
}
