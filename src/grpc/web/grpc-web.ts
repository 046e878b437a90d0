// gRPC-Web: gRPC for what cannot read trailers, which come as the last message. As text, everything
// is in base64. Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import {
  framed,
  framedAlone,
  SharedForms,
  writeForms,
  type AnswerFormat,
  type CallFormat,
  type Framable,
  type MakeForm,
} from "../transport/call-format.ts";
import { prefixBytes, PrefixedMessages } from "../transport/message-parts.ts";
import { statusFields, StatusCode, StatusError, type CallStatus } from "../transport/status.ts";
import { atOnce, Effort, type Steps } from "../../domain/steps.ts";
import { AnswerText, shortAnswerBytesMax } from "./answer-text.ts";
import type { Fields } from "./http-status.ts";

/** The flag of the message with the trailers. */
const trailersFlag = 0x80;

export function grpcWebFormat(isText: boolean, receiveBytesMax: number, more: Fields): CallFormat {
  const answers = new GrpcWebAnswers(isText, more);
  if (!isText) return { answers };
  const wholeBytesMax = Math.ceil(((receiveBytesMax + prefixBytes) * 4) / 3) + 4;
  const decode = (body: Buffer): Buffer => atOnce(messageOfText(body));
  return { wholeBytesMax, decode, decodeInSteps: messageOfText, answers };
}

/** Characters that are decoded together, and what each costs, as the scheduler counts. */
const pieceChars = 64 * 1024;
const charShare = 1 / 16;

function* messageOfText(body: Buffer): Steps<Buffer> {
  const decoded = Buffer.allocUnsafeSlow(Math.ceil((body.length * 3) / 4));
  const effort = new Effort();
  let length = 0;
  /** Behind the last group of four. */
  let rest = "";
  for (let from = 0; from < body.length; from += pieceChars) {
    const piece = body.toString("latin1", from, from + pieceChars).replaceAll(/\s+/g, "");
    const text = rest + piece;
    const end = text.length - (text.length % 4);
    length += decoded.write(text.slice(0, end), length, "base64");
    rest = text.slice(end);
    if (effort.spend(pieceChars * charShare)) yield effort.take();
  }
  length += decoded.write(rest, length, "base64");
  const bytes = decoded.subarray(0, length);
  const isWhole =
    bytes.length >= prefixBytes && bytes.length === prefixBytes + bytes.readUInt32BE(1);
  if (isWhole && bytes[0] === 0) return bytes.subarray(prefixBytes);
  const message = "the request is not one uncompressed gRPC-Web message in base64";
  throw new StatusError(StatusCode.INVALID_ARGUMENT, message);
}

class GrpcWebAnswers implements AnswerFormat {
  private readonly isText: boolean;
  private readonly more: Fields;

  constructor(isText: boolean, more: Fields) {
    this.isText = isText;
    this.more = more;
  }

  begin(stream: Http2Stream): void {
    const head = [
      [":status", "200"],
      ["content-type", `application/grpc-web${this.isText ? "-text" : ""}+proto`],
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
      ...this.more,
    ] as const;
    stream.respond(encodeHeaders(head));
  }

  send(stream: Http2Stream, messages: readonly Framable[]): boolean {
    if (this.isText) return writeForms(stream, messages.map(formOf));
    const [message, ...others] = messages;
    // One message may go to many.
    const isShared = message instanceof PrefixedMessages && others.length === 0;
    return isShared ? stream.writeShared(message.bytes) : stream.write(...framed(messages));
  }

  said(message: Framable): readonly Uint8Array[] {
    return this.isText ? [formOf(message)] : framedAlone(message);
  }

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = this.isText && message.length > shortAnswerBytesMax;
    return isLong ? textForms.inSteps(message, textForm) : undefined;
  }

  end(stream: Http2Stream, status: CallStatus | undefined, hasBegun: boolean): void {
    if (!hasBegun) this.begin(stream);
    const fields = status === undefined ? [["grpc-status", "0"]] : statusFields(status);
    const text = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const last = Buffer.allocUnsafe(prefixBytes + Buffer.byteLength(text, "latin1"));
    last[0] = trailersFlag;
    last.writeUInt32BE(last.length - prefixBytes, 1);
    last.write(text, prefixBytes, "latin1");
    if (stream.write(this.isText ? inBase64([last]) : last)) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  endInstead(stream: Http2Stream, status: CallStatus): void {
    this.end(stream, status, true);
  }
}

const textForms = new SharedForms();

const textForm: MakeForm = function* (message) {
  const bytes = Buffer.concat(framedAlone(message));
  const out = new AnswerText(bytes.length);
  yield* out.addBase64(bytes);
  return out.bytes();
};

function formOf(message: Framable): Buffer {
  return textForms.of(message, textForm);
}

function inBase64(pieces: readonly Uint8Array[]): Buffer {
  return Buffer.from(Buffer.concat(pieces).toString("base64"), "latin1");
}
