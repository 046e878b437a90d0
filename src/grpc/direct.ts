// Unary and server-streaming calls, answered straight on their HTTP/2 stream. grpc-js listens,
// speaks TLS and keeps connections alive; what it does for each call (interceptors, metadata, its
// own queues) costs about as much as the rest of the call. So these calls skip it, unless their
// request is compressed: see docs/performance.md. One request message, its answers, a status.

import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { status as Code } from "@grpc/grpc-js";
import type { ServerCall } from "./call.ts";
import { StatusError, trailersOf, type CallStatus } from "./status.ts";
import type { UnfinishedRequests } from "./unfinished-requests.ts";

/** Where the answers of a call go. Each of them may be called on a call that is over. */
export interface Sink {
  /** `taken`: once the connection has it, or the call is over. */
  write(message: Buffer, taken: () => void): void;
  end(): void;
  fail(status: CallStatus): void;
}

/** Takes up a call whose request is complete. Must not throw. */
export type DirectMethod = (request: Buffer, call: DirectCall) => void;

/** What a request may weigh, and all that are not complete. */
export interface RequestBounds {
  readonly receiveBytesMax: number;
  readonly unfinished: UnfinishedRequests;
}

const prefixBytes = 5;
/** More is not copied behind its prefixes. */
const copiedBytesMax = 16 * 1024;
const nothing = Buffer.alloc(0);

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

export class DirectCall implements ServerCall, Sink {
  /** Milliseconds until its deadline; undefined: none. */
  readonly timeoutMs: number | undefined;
  #cancelled = false;
  readonly #stream: ServerHttp2Stream;
  readonly #run: DirectMethod;
  readonly #bounds: RequestBounds;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** Of the parts that are held. */
  #heldBytes = 0;
  /** Of the request with its prefix; 0: not known yet. */
  #bytesAwaited = 0;
  #begun = false;
  #ended = false;
  /** Messages of this turn, and whom to tell when they are taken. */
  #waiting: Buffer[] = [];
  #waitingTaken: (() => void)[] = [];
  #trailers: OutgoingHttpHeaders = statusOk;
  #onCancelled: (() => void) | undefined;

  constructor(
    stream: ServerHttp2Stream,
    run: DirectMethod,
    timeoutMs: number | undefined,
    bounds: RequestBounds,
  ) {
    this.#stream = stream;
    this.#run = run;
    this.timeoutMs = timeoutMs;
    this.#bounds = bounds;
    stream.on("data", (bytes: Buffer) => this.#arrived(bytes));
    stream.on("end", () => this.#complete());
    stream.on("close", () => this.#closed());
    // Whatever goes wrong with a stream closes it, too.
    stream.on("error", () => {});
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  on(_: "cancelled", listener: () => void): void {
    this.#onCancelled = listener;
  }

  getPeer(): string {
    const { remoteAddress, remotePort } = this.#stream.session?.socket ?? {};
    return remoteAddress === undefined ? "unknown" : `${remoteAddress}:${remotePort}`;
  }

  /** What is sent in one turn goes out together. */
  write(message: Buffer, taken: () => void): void {
    if (this.#isOver) return taken();
    if (this.#waiting.length === 0) process.nextTick(this.#flush);
    this.#waiting.push(message);
    this.#waitingTaken.push(taken);
  }

  end(): void {
    this.#finish(undefined);
  }

  fail(status: CallStatus): void {
    this.#finish(status);
  }

  /** The only answer, and the end. */
  answer(message: Buffer): void {
    if (this.#isOver) return;
    this.#begin();
    this.#ended = true;
    this.#put([message], true);
  }

  get #isOver(): boolean {
    return this.#ended || this.#stream.destroyed || this.#stream.closed;
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#stream.on("wantTrailers", () => this.#stream.sendTrailers(this.#trailers));
    this.#stream.respond(answerHeaders, { waitForTrailers: true });
  }

  readonly #flush = (): void => this.#send(false);

  /** What waits; with the last of it the call may end. */
  #send(isLast: boolean): void {
    const messages = this.#waiting;
    if (messages.length === 0) return;
    const allTaken = this.#waitingTaken;
    this.#waiting = [];
    this.#waitingTaken = [];
    const taken = (): void => {
      for (const each of allTaken) each();
    };
    if (this.#stream.destroyed || this.#stream.closed) return taken();
    this.#begin();
    this.#put(messages, isLast, taken);
  }

  /** Little is copied into one piece behind its prefixes; of much only the prefixes are made. */
  #put(messages: readonly Buffer[], isLast: boolean, taken?: () => void): void {
    let bytes = 0;
    for (const message of messages) bytes += prefixBytes + message.length;
    if (bytes <= copiedBytesMax) {
      const piece = framed(messages, bytes);
      if (isLast) this.#stream.end(piece, taken);
      else this.#stream.write(piece, taken);
      return;
    }
    this.#stream.cork();
    messages.forEach((message, i) => {
      this.#stream.write(prefixOf(message));
      this.#stream.write(message, i === messages.length - 1 ? taken : undefined);
    });
    this.#stream.uncork();
    if (isLast) this.#stream.end();
  }

  #finish(status: CallStatus | undefined): void {
    if (this.#isOver) return;
    this.#ended = true;
    const trailers = status === undefined ? statusOk : headersOf(status);
    if (this.#begun || this.#waiting.length > 0) {
      this.#trailers = trailers;
      if (this.#waiting.length > 0) this.#send(true);
      else this.#stream.end();
    } else {
      this.#stream.respond({ ...statusHeaders, ...trailers }, { endStream: true });
    }
  }

  #arrived(bytes: Buffer): void {
    if (this.#ended) return;
    const hasRoom = this.#bounds.unfinished.grow(this.#heldBytes, bytes.length);
    this.#heldBytes += bytes.length;
    if (!hasRoom) {
      return this.#refuse(Code.RESOURCE_EXHAUSTED, "too many requests are under way: try again");
    }
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytesAwaited === 0 && this.#bytes >= prefixBytes) {
      const prefix = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts);
      this.#bytesAwaited = prefixBytes + prefix.readUInt32BE(1);
      if (prefix[0] !== 0) return this.#refuse(Code.INTERNAL, "compressed without grpc-encoding");
      const length = this.#bytesAwaited - prefixBytes;
      const { receiveBytesMax } = this.#bounds;
      if (length > receiveBytesMax) {
        const limit = `receive_bytes_max (${receiveBytesMax})`;
        const message = `the request message has ${length} bytes, more than ${limit}`;
        return this.#refuse(Code.RESOURCE_EXHAUSTED, message);
      }
    }
    if (this.#bytesAwaited > 0 && this.#bytes > this.#bytesAwaited) {
      this.#refuse(Code.UNIMPLEMENTED, "more than one request message");
    }
  }

  #complete(): void {
    if (this.#ended) return;
    if (this.#bytes === 0) return this.#refuse(Code.UNIMPLEMENTED, "no request message");
    if (this.#bytes !== this.#bytesAwaited) {
      return this.#refuse(Code.INVALID_ARGUMENT, "the request ends within its message");
    }
    const bytes = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#letGo();
    this.#run((bytes ?? nothing).subarray(prefixBytes), this);
  }

  #letGo(): void {
    this.#parts = [];
    this.#bounds.unfinished.letGo(this.#heldBytes);
    this.#heldBytes = 0;
  }

  /** The rest of the request, if there is one, need not be sent. */
  #refuse(code: Code, message: string): void {
    this.#letGo();
    this.fail(new StatusError(code, message).status);
    if (!this.#stream.readableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #closed(): void {
    this.#letGo();
    if (this.#ended) return;
    this.#cancelled = true;
    this.#onCancelled?.();
  }
}

/** The headers of a status: `grpc-status`, `grpc-message` and its details. */
export function headersOf(status: CallStatus): OutgoingHttpHeaders {
  return {
    "grpc-status": `${status.code}`,
    "grpc-message": encodeURI(status.message),
    ...trailersOf(status).toHttp2Headers(),
  };
}

function framed(messages: readonly Buffer[], bytes: number): Buffer {
  const piece = Buffer.allocUnsafe(bytes);
  let offset = 0;
  for (const message of messages) {
    piece[offset] = 0;
    piece.writeUInt32BE(message.length, offset + 1);
    piece.set(message, offset + prefixBytes);
    offset += prefixBytes + message.length;
  }
  return piece;
}

function prefixOf(message: Buffer): Buffer {
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix[0] = 0;
  prefix.writeUInt32BE(message.length, 1);
  return prefix;
}
