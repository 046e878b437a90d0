// The Connect protocol: unary calls as plain HTTP, streams in envelopes. With protobuf as JSON or
// in binary. Source: https://connectrpc.com/docs/protocol

import type { DescMessage } from "@bufbuild/protobuf";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import { invalidField } from "../../domain/errors.ts";
import { atOnce, type Steps } from "../../domain/steps.ts";
import {
  framed,
  framedAlone,
  messagesIn,
  SharedForms,
  writeForms,
  type AnswerFormat,
  type CallFormat,
  type Framable,
  type MakeForm,
} from "../transport/call-format.ts";
import { prefixBytes, PrefixedMessages } from "../transport/message-parts.ts";
import type { Method } from "../transport/methods.ts";
import type { CallStatus } from "../transport/status.ts";
import { timeoutMsMax } from "../transport/timeout.ts";
import { AnswerText, shortAnswerBytesMax } from "./answer-text.ts";
import { errorJson, respondWhole, respondWithError, type Fields } from "./http-status.ts";
import { writeMessage } from "./long-answer.ts";
import { requestInSteps } from "./long-json.ts";
import { jsonOfBytes } from "./message-json.ts";

export type Codec = "json" | "proto";

const nothing = Buffer.alloc(0);
/** JSON has base64 and names where protobuf has bytes and numbers. */
const jsonBytesMaxShare = 2;

export function unaryFormat(
  method: Method,
  codec: Codec,
  receiveBytesMax: number,
  more: Fields,
): CallFormat {
  const { input } = method;
  const answers = new UnaryAnswers(method, codec, more);
  if (codec === "proto") return { wholeBytesMax: receiveBytesMax, answers };
  const wholeBytesMax = receiveBytesMax * jsonBytesMaxShare;
  return { wholeBytesMax, ...ofJson(input), answers };
}

export function streamFormat(method: Method, codec: Codec, more: Fields): CallFormat {
  const answers = new EnvelopedAnswers(method, codec, more);
  if (codec === "proto") return { answers };
  return { ...ofJson(method.input), answers };
}

function ofJson(input: DescMessage): Pick<CallFormat, "decode" | "decodeInSteps"> {
  return {
    decode: (body) => atOnce(requestInSteps(input, body)),
    decodeInSteps: (body) => requestInSteps(input, body),
  };
}

/** The message of a request by GET. */
export function messageOfQuery(query: URLSearchParams): { codec: Codec; message: Buffer } {
  const { connect, encoding, base64, compression, message, ...others } = asRecord(query);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalidField(unknown, "is no parameter of a call by GET");
  if (connect !== undefined && connect !== "v1") throw invalidField("connect", "is not v1");
  if (encoding !== "json" && encoding !== "proto") {
    throw invalidField("encoding", "is not json or proto");
  }
  if (compression !== undefined && compression !== "identity") {
    throw invalidField("compression", "is not identity");
  }
  if (message === undefined) throw invalidField("message", "is required");
  const bytes = Buffer.from(message, base64 === "1" ? "base64url" : "utf8");
  return { codec: encoding, message: bytes };
}

/** The parameters of a query, each at most once. Throws INVALID_FIELD. */
function asRecord(query: URLSearchParams): Record<string, string | undefined> {
  const record: Record<string, string | undefined> = Object.create(null) as typeof record;
  for (const [name, value] of query) {
    if (record[name] !== undefined) throw invalidField(name, "is given twice");
    record[name] = value;
  }
  return record;
}

/** The deadline in milliseconds. Undefined: there is none, or it is weeks away. */
export function connectTimeout(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (!/^\d{1,10}$/.test(header)) {
    throw invalidField("connect-timeout-ms", "is not a number of milliseconds of 1 to 10 digits");
  }
  const ms = Number(header);
  return ms > timeoutMsMax ? undefined : ms;
}

class UnaryAnswers implements AnswerFormat {
  private readonly method: Method;
  private readonly codec: Codec;
  private readonly more: Fields;
  private readonly forms = new SharedForms();
  private hasAnswered = false;

  constructor(method: Method, codec: Codec, more: Fields) {
    this.method = method;
    this.codec = codec;
    this.more = more;
  }

  begin(): void {}

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = this.codec === "json" && message.length > shortAnswerBytesMax;
    return isLong ? this.forms.inSteps(message, this.text) : undefined;
  }

  private readonly text: MakeForm = (message) => jsonText(this.method.output, message);

  send(stream: Http2Stream, [message]: readonly Framable[]): boolean {
    const body = this.bodyOf(message as Framable);
    this.hasAnswered = respondWhole(stream, 200, `application/${this.codec}`, body, this.more);
    return this.hasAnswered;
  }

  private bodyOf(message: Framable): Buffer {
    const isJson = this.codec === "json";
    if (isJson && message.length > shortAnswerBytesMax) return this.forms.of(message, this.text);
    const [bytes = nothing] = messagesIn(message);
    return Buffer.from(isJson ? jsonOfBytes(this.method.output, bytes) : bytes);
  }

  end(stream: Http2Stream, status: CallStatus | undefined): void {
    if (status !== undefined && !this.hasAnswered) respondWithError(stream, status, this.more);
  }

  endInstead(stream: Http2Stream, status: CallStatus): void {
    this.end(stream, status);
  }
}

/** The flag of the envelope with the end of the stream. */
const endOfStream = 2;

class EnvelopedAnswers implements AnswerFormat {
  private readonly method: Method;
  private readonly codec: Codec;
  private readonly more: Fields;

  constructor(method: Method, codec: Codec, more: Fields) {
    this.method = method;
    this.codec = codec;
    this.more = more;
  }

  begin(stream: Http2Stream): void {
    const head = [
      [":status", "200"],
      ["content-type", `application/connect+${this.codec}`],
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
      ...this.more,
    ] as const;
    stream.respond(encodeHeaders(head));
  }

  send(stream: Http2Stream, messages: readonly Framable[]): boolean {
    if (this.codec === "json") return writeForms(stream, messages.map(this.form));
    const [message, ...others] = messages;
    const isShared = message instanceof PrefixedMessages && others.length === 0;
    return isShared ? stream.writeShared(message.bytes) : stream.write(...framed(messages));
  }

  said(message: Framable): readonly Uint8Array[] {
    return this.codec === "json" ? [this.form(message)] : framedAlone(message);
  }

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = this.codec === "json" && message.length > shortAnswerBytesMax;
    return isLong ? jsonForms.inSteps(message, this.envelopes) : undefined;
  }

  private readonly form = (message: Framable): Buffer => jsonForms.of(message, this.envelopes);

  private readonly envelopes: MakeForm = (message) => jsonEnvelopes(this.method.output, message);

  end(stream: Http2Stream, status: CallStatus | undefined, hasBegun: boolean): void {
    if (!hasBegun) this.begin(stream);
    const end = status === undefined ? {} : { error: errorJson(status) };
    const last = envelope(endOfStream, Buffer.from(JSON.stringify(end)));
    if (stream.write(last)) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  endInstead(stream: Http2Stream, status: CallStatus): void {
    this.end(stream, status, true);
  }
}

/** Encoded messages are of one method each. */
const jsonForms = new SharedForms();

function* jsonEnvelopes(schema: DescMessage, message: Framable): Steps<Buffer> {
  const envelopes: Buffer[] = [];
  for (const bytes of messagesIn(message)) {
    const out = new AnswerText(bytes.length);
    out.add(emptyPrefix);
    yield* writeMessage(schema, bytes, out);
    const form = out.bytes();
    form.writeUInt32BE(form.length - emptyPrefix.length, 1);
    envelopes.push(form);
    if (bytes.length < message.length) yield out.take();
  }
  return envelopes.length === 1 ? (envelopes[0] as Buffer) : Buffer.concat(envelopes);
}

/** Its length is filled in behind it. */
const emptyPrefix = "\0".repeat(prefixBytes);

function* jsonText(schema: DescMessage, message: Framable): Steps<Buffer> {
  const [bytes = nothing] = messagesIn(message);
  const out = new AnswerText(bytes.length);
  yield* writeMessage(schema, bytes, out);
  return out.bytes();
}

function envelope(flags: number, message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(5 + message.length);
  bytes[0] = flags;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}
