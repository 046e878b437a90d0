// How a protocol says the requests and the answers of calls: gRPC here, others in src/grpc/web. A
// call is the same in each of them.

import { atOnce, type Steps } from "../../domain/steps.ts";
import { encodeHeaders, type HeaderBlock } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import {
  prefixBytes,
  prefixed,
  PrefixedMessages,
  writePrefix,
  type Message,
} from "./message-parts.ts";
import { statusFields, type CallStatus } from "./status.ts";

/** A message that is sent now. */
export type Framable = Uint8Array | Message | PrefixedMessages;

export interface CallFormat {
  /** The body of the request is its one message, without a prefix. Of so many bytes at most. */
  readonly wholeBytesMax?: number;
  /** A message of the request in protobuf. Throws what the call fails with. Absent: it is that. */
  readonly decode?: (message: Buffer) => Buffer;
  /** As `decode`, of a long message. Absent: it is never so long that steps are needed. */
  readonly decodeInSteps?: (message: Buffer) => Steps<Buffer>;
  readonly answers: AnswerFormat;
}

/** Makes another form of a message: always the same of the same. */
export type MakeForm = (message: Framable) => Steps<Buffer>;

/** Messages in another form, made once for all calls that are sent the same message. */
export class SharedForms {
  private readonly forms = new WeakMap<Framable, Buffer>();
  /** Those of which some steps are done, by whichever call. */
  private readonly making = new WeakMap<Framable, Steps<Buffer>>();

  of(message: Framable, make: MakeForm): Buffer {
    return this.forms.get(message) ?? atOnce(this.made(message, make));
  }

  /** Makes the form in steps, so that `of` finds it. Undefined: it is there. */
  inSteps(message: Framable, make: MakeForm): Steps<Buffer> | undefined {
    return this.forms.has(message) ? undefined : this.made(message, make);
  }

  /** Several calls may want it at a time: each does the next step. */
  private *made(message: Framable, make: MakeForm): Steps<Buffer> {
    for (;;) {
      const form = this.forms.get(message);
      if (form !== undefined) return form;
      const making = this.making.get(message) ?? make(message);
      this.making.set(message, making);
      const next = this.nextOf(message, making);
      if (next.done === true) this.forms.set(message, next.value);
      else yield next.value;
    }
  }

  private nextOf(message: Framable, making: Steps<Buffer>): IteratorResult<number, Buffer> {
    try {
      return making.next();
    } catch (error) {
      this.making.delete(message);
      throw error;
    }
  }
}

/** Writes forms of messages together. */
export function writeForms(stream: Http2Stream, forms: readonly Buffer[]): boolean {
  const [form, ...others] = forms;
  if (form === undefined || others.length > 0) return stream.write(...forms);
  return stream.writeShared(form);
}

export interface AnswerFormat {
  /**
   * Makes what goes out of a long message, in steps, so that `send` and `said` take little time.
   * Undefined: they do as it is. Absent: they always do.
   */
  longForm?(message: Framable): Steps<Buffer> | undefined;
  /**
   * A message as it goes out, always in the same bytes, so that what is sent of it can be counted,
   * and what is not made again. Absent: it depends on what was sent before.
   */
  said?(message: Framable): readonly Uint8Array[];
  /** What is sent before the first message. */
  readonly opening?: Buffer;
  /** The answer begins. */
  begin(stream: Http2Stream): void;
  /** False: the budget has no room, and nothing was sent. */
  send(stream: Http2Stream, messages: readonly Framable[]): boolean;
  /** The answer ends. Undefined: with OK. `hasBegun`: `begin` was called. */
  end(stream: Http2Stream, status: CallStatus | undefined, hasBegun: boolean): void;
  /** Ends an answer that has begun, without what is unsent of it: between two messages. */
  endInstead(stream: Http2Stream, status: CallStatus): void;
}

/** Longer messages are not copied. */
const smallBytesMax = 1_024;

const plain = [
  [":status", "200"],
  ["content-type", "application/grpc+proto"],
] as const;
/** The encodings that requests may be compressed with. */
export const acceptedEncodings = "identity,deflate,gzip";

const answerHead = encodeHeaders([
  ...plain,
  ["grpc-encoding", "identity"],
  ["grpc-accept-encoding", acceptedEncodings],
]);
const okTrailers = encodeHeaders([["grpc-status", "0"]]);
const nothingButOk = encodeHeaders([...plain, ["grpc-status", "0"]]);

export const grpcFormat: CallFormat = {
  answers: {
    said: framedAlone,
    begin: (stream) => stream.respond(answerHead),
    send: (stream, messages) => stream.write(...framed(messages)),
    end(stream, status, hasBegun) {
      if (hasBegun) stream.end(status === undefined ? okTrailers : trailersOf(status));
      else stream.respond(status === undefined ? nothingButOk : statusOnly(status), true);
    },
    endInstead: (stream, status) => stream.endInstead(trailersOf(status)),
  },
};

/** Answers with a status alone. */
export function statusOnly(status: CallStatus, more: [string, string][] = []): HeaderBlock {
  return encodeHeaders([...plain, ...statusFields(status), ...more]);
}

function trailersOf(status: CallStatus): HeaderBlock {
  return encodeHeaders(statusFields(status));
}

/** Small messages become one piece: what is written piece by piece costs more than a copy. */
export function framed(messages: readonly Framable[]): readonly Uint8Array[] {
  const [first] = messages;
  if (messages.length === 1 && first instanceof PrefixedMessages) return [first.bytes];
  for (const message of messages) {
    const isSmall = message instanceof Uint8Array && message.length <= smallBytesMax;
    if (!isSmall) return messages.flatMap(framedAlone);
  }
  return [prefixed(messages as readonly Uint8Array[])];
}

export function framedAlone(message: Framable): readonly Uint8Array[] {
  if (message instanceof PrefixedMessages) return [message.bytes];
  const prefix = Buffer.allocUnsafe(prefixBytes);
  writePrefix(prefix, 0, message.length);
  return "parts" in message ? [prefix, ...message.parts] : [prefix, message];
}

/** The messages themselves, without prefixes. */
export function messagesIn(framable: Framable): Uint8Array[] {
  if (framable instanceof PrefixedMessages) return unprefixed(framable.bytes);
  return [framable instanceof Uint8Array ? framable : Buffer.concat(framable.parts)];
}

function unprefixed(bytes: Buffer): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + prefixBytes + bytes.readUInt32BE(at + 1);
    messages.push(bytes.subarray(at + prefixBytes, end));
    at = end;
  }
  return messages;
}
