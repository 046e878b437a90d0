// Calls answered straight on their HTTP/2 stream. grpc-js listens, speaks TLS and keeps connections
// alive; what it does for each call and message (interceptors, metadata, its own queues) costs
// about as much as the rest. So calls skip it, unless their requests are compressed: see
// docs/performance.md. Here is what all of them share, the way out; the ways in are direct-one.ts
// and direct-pipe.ts.

import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ServerCall } from "./call.ts";
import { partsOf, type Message } from "./message-parts.ts";
import { StatusCode, StatusError, trailersOf, type CallStatus } from "./status.ts";
import type { UnfinishedRequests } from "./unfinished-requests.ts";

/** Where the answers of a call go. Each of them may be called on a call that is over. */
export interface Sink {
  /** `taken`: once the connection has it, or the call is over. */
  write(message: Message, taken: () => void): void;
  end(): void;
  fail(status: CallStatus): void;
}

/** What a request may weigh, and all that are not complete. */
export interface RequestBounds {
  readonly receiveBytesMax: number;
  readonly unfinished: UnfinishedRequests;
}

/** Before each message: whether it is compressed, and its length in bytes. */
export const prefixBytes = 5;
/** More is not copied behind its prefixes. */
const copiedBytesMax = 16 * 1024;

const answerHeaders: OutgoingHttpHeaders = {
  [constants.HTTP2_HEADER_STATUS]: constants.HTTP_STATUS_OK,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
  "grpc-accept-encoding": "identity,deflate,gzip",
  "grpc-encoding": "identity",
};
/** Of an answer that is nothing but a status. */
export const statusHeaders: OutgoingHttpHeaders = {
  [constants.HTTP2_HEADER_STATUS]: constants.HTTP_STATUS_OK,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
};
const statusOk: OutgoingHttpHeaders = { "grpc-status": "0", "grpc-message": "OK" };

export abstract class DirectCall implements ServerCall, Sink, StreamListener {
  /** Milliseconds until its deadline; undefined: none. */
  readonly timeoutMs: number | undefined;
  protected readonly stream: ServerHttp2Stream;
  private wasCancelled = false;
  private begun = false;
  private isEnded = false;
  /** Messages of this turn, and whom to tell when they are taken. */
  private waiting: Message[] = [];
  private waitingTaken: (() => void)[] = [];
  /** What the answer ends with. */
  trailers: OutgoingHttpHeaders = statusOk;
  private onCancelled: (() => void) | undefined;

  constructor(stream: ServerHttp2Stream, timeoutMs: number | undefined) {
    this.stream = stream;
    this.timeoutMs = timeoutMs;
    tell(stream, this);
  }

  abstract arrived(bytes: Buffer): void;
  abstract complete(): void;
  /** What is held of the request is not needed any more. */
  protected abstract letGo(): void;

  get cancelled(): boolean {
    return this.wasCancelled;
  }

  on(_: "cancelled", listener: () => void): void {
    this.onCancelled = listener;
  }

  getPeer(): string {
    const { remoteAddress, remotePort } = this.stream.session?.socket ?? {};
    return remoteAddress === undefined ? "unknown" : `${remoteAddress}:${remotePort}`;
  }

  /** What is sent in one turn goes out together. */
  write(message: Message, taken: () => void): void {
    if (this.isOver) return taken();
    if (this.waiting.length === 0) process.nextTick(this.flush);
    this.waiting.push(message);
    this.waitingTaken.push(taken);
  }

  end(): void {
    this.finish(undefined);
  }

  fail(status: CallStatus): void {
    this.finish(status);
  }

  /** The only answer, and the end. */
  answer(message: Buffer): void {
    if (this.isOver) return;
    this.begin();
    this.isEnded = true;
    this.put([message], true);
  }

  /** Its answer has ended. */
  protected get ended(): boolean {
    return this.isEnded;
  }

  private get isOver(): boolean {
    return this.ended || this.stream.destroyed || this.stream.closed;
  }

  private begin(): void {
    if (this.begun) return;
    this.begun = true;
    this.stream.respond(answerHeaders, { waitForTrailers: true });
  }

  private readonly flush = (): void => this.send(false);

  /** What waits; with the last of it the call may end. */
  private send(isLast: boolean): void {
    const messages = this.waiting;
    if (messages.length === 0) return;
    const allTaken = this.waitingTaken;
    this.waiting = [];
    this.waitingTaken = [];
    const taken = (): void => {
      for (const each of allTaken) each();
    };
    if (this.stream.destroyed || this.stream.closed) return taken();
    this.begin();
    this.put(messages, isLast, taken);
  }

  /** Little is copied into one piece behind its prefixes; of much only the prefixes are made. */
  private put(messages: readonly Message[], isLast: boolean, taken?: () => void): void {
    let bytes = 0;
    for (const message of messages) bytes += prefixBytes + message.length;
    if (bytes <= copiedBytesMax) {
      const piece = framed(messages, bytes);
      if (isLast) this.stream.end(piece, taken);
      else this.stream.write(piece, taken);
      return;
    }
    this.stream.cork();
    const parts = messages.flatMap((message) => [prefixOf(message), ...partsOf(message)]);
    parts.forEach((piece, i) => {
      this.stream.write(piece, i === parts.length - 1 ? taken : undefined);
    });
    this.stream.uncork();
    if (isLast) this.stream.end();
  }

  private finish(status: CallStatus | undefined): void {
    if (this.isOver) return;
    this.isEnded = true;
    const trailers = status === undefined ? statusOk : headersOf(status);
    if (this.begun || this.waiting.length > 0) {
      this.trailers = trailers;
      if (this.waiting.length > 0) this.send(true);
      else this.stream.end();
    } else {
      this.stream.respond({ ...statusHeaders, ...trailers }, { endStream: true });
    }
  }

  /** The rest of the request, if there is one, need not be sent. */
  protected refuse({ status }: StatusError): void {
    this.letGo();
    this.fail(status);
    if (!this.stream.readableEnded) this.stream.close(constants.NGHTTP2_NO_ERROR);
  }

  closed(): void {
    this.letGo();
    if (this.ended) return;
    this.wasCancelled = true;
    this.onCancelled?.();
  }
}

/** Who is told what comes of a stream. */
interface StreamListener {
  readonly trailers: OutgoingHttpHeaders;
  /** Bytes of the request; also after the answer has ended. */
  arrived(bytes: Buffer): void;
  /** The client has said all. */
  complete(): void;
  /** The last it hears. */
  closed(): void;
}

/**
 * A closed stream lets go of its listener: it may itself be held for a while by memory nobody uses
 * any more (Node's tables of streams lead from each to the next), until all of that is collected.
 */
function tell(stream: ServerHttp2Stream, whom: StreamListener): void {
  let listener: StreamListener | undefined = whom;
  stream.on("data", (bytes: Buffer) => listener?.arrived(bytes));
  stream.on("end", () => listener?.complete());
  stream.on("wantTrailers", () => stream.sendTrailers(listener?.trailers ?? statusOk));
  stream.on("close", () => {
    listener?.closed();
    listener = undefined;
  });
  // Whatever goes wrong with a stream closes it, too.
  stream.on("error", () => {});
}

/** What is wrong with a message, as its prefix at `at` says; else its length in bytes. */
export function lengthOf(bytes: Buffer, at: number, receiveBytesMax: number): StatusError | number {
  if (bytes[at] !== 0)
    return new StatusError(StatusCode.INTERNAL, "compressed without grpc-encoding");
  const length = bytes.readUInt32BE(at + 1);
  if (length <= receiveBytesMax) return length;
  const limit = `receive_bytes_max (${receiveBytesMax})`;
  const message = `the request message has ${length} bytes, more than ${limit}`;
  return new StatusError(StatusCode.RESOURCE_EXHAUSTED, message);
}

export function tooManyUnfinished(): StatusError {
  const message = "too many requests are under way: try again";
  return new StatusError(StatusCode.RESOURCE_EXHAUSTED, message);
}

export function endsWithin(): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, "the request ends within its message");
}

/** The headers of a status: `grpc-status`, `grpc-message` and its details. */
export function headersOf(status: CallStatus): OutgoingHttpHeaders {
  return {
    "grpc-status": `${status.code}`,
    "grpc-message": encodeURI(status.message),
    ...trailersOf(status).toHttp2Headers(),
  };
}

function framed(messages: readonly Message[], bytes: number): Buffer {
  const piece = Buffer.allocUnsafe(bytes);
  let offset = 0;
  for (const message of messages) {
    piece[offset] = 0;
    piece.writeUInt32BE(message.length, offset + 1);
    offset += prefixBytes;
    for (const part of partsOf(message)) {
      piece.set(part, offset);
      offset += part.length;
    }
  }
  return piece;
}

function prefixOf(message: Message): Buffer {
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix[0] = 0;
  prefix.writeUInt32BE(message.length, 1);
  return prefix;
}
