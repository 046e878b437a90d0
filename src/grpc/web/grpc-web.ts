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
} from "../transport/call-format.ts";
import { prefixBytes, PrefixedMessages } from "../transport/message-parts.ts";
import { statusFields, StatusCode, StatusError, type CallStatus } from "../transport/status.ts";
import type { Fields } from "./http-status.ts";

/** The flag of the message with the trailers. */
const trailersFlag = 0x80;

export function grpcWebFormat(isText: boolean, receiveBytesMax: number, more: Fields): CallFormat {
  const answers = new GrpcWebAnswers(isText, more);
  if (!isText) return { answers };
  const wholeBytesMax = Math.ceil(((receiveBytesMax + prefixBytes) * 4) / 3) + 4;
  return { wholeBytesMax, decode: messageOfText, answers };
}

function messageOfText(body: Buffer): Buffer {
  const bytes = Buffer.from(body.toString("latin1"), "base64");
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
    if (this.isText) return writeForms(stream, messages.map(textForm));
    const [message, ...others] = messages;
    // One message may go to many.
    const isShared = message instanceof PrefixedMessages && others.length === 0;
    return isShared ? stream.writeShared(message.bytes) : stream.write(...framed(messages));
  }

  said(message: Framable): readonly Uint8Array[] {
    return this.isText ? [textForm(message)] : framedAlone(message);
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

function textForm(message: Framable): Buffer {
  return textForms.of(message, (each) => inBase64(framedAlone(each)));
}

function inBase64(pieces: readonly Uint8Array[]): Buffer {
  return Buffer.from(Buffer.concat(pieces).toString("base64"), "latin1");
}
