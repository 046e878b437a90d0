// A request by HTTP/1.1 and its answer in the clothes of a stream of HTTP/2, so that what answers
// requests need not know by which of them they came.
// Source: RFC 9112, sections 6.3 and 7.1; RFC 9110, sections 9.3.2, 15.3.5 and 15.4.5.

import type { Socket } from "node:net";
import type { Http2Connection, Http2Stream, StreamHandler } from "../http2/api.ts";
import type { HeaderBlock } from "../http2/hpack-encoder.ts";
import { defaultHttp2Limits } from "../http2/limits.ts";
import { errorCode } from "../http2/protocol.ts";
import { answerHead } from "./answer-head.ts";
import type { RequestHead } from "./request-head.ts";

/** The part of a connection that its streams use. */
export interface StreamConnection extends Http2Connection {
  readonly socket: Socket;
  /** Whether this is the connection's last answer. */
  readonly endsWithAnswer: boolean;
  readonly limits: { readonly idleMs: number; readonly exchangeMs: number };
  finished(stream: Http1Stream): void;
  attempt(work: () => void): void;
}

const { streamWindowBytes } = defaultHttp2Limits;
/** Larger parts of an answer are sent without a copy. */
const copiedBytesMax = 4 * 1024;
const lineEnd = "\r\n";
const lastChunk = "0\r\n\r\n";

export class Http1Stream implements Http2Stream {
  readonly id = 1;
  readonly connection: StreamConnection;
  readonly headers: ReadonlyMap<string, string>;
  unsentBytes = 0;
  isOver = false;
  hasResponded = false;
  /** Nothing of the answer is to come. */
  isAnswered = false;
  /** The client was told that the connection ends with this answer. */
  isLast = false;
  private readonly isHttp10: boolean;
  private handler: StreamHandler | undefined;
  private head = "";
  private isChunked = false;
  private isBodiless = false;
  /** The rest of the request is dropped. */
  private isDropping = false;
  private window = streamWindowBytes;

  constructor(connection: StreamConnection, { headers, isHttp10 }: RequestHead) {
    this.connection = connection;
    this.headers = headers;
    this.isHttp10 = isHttp10;
  }

  get isBlocked(): boolean {
    return false;
  }

  begin(handler: StreamHandler): void {
    this.handler = handler;
  }

  /** A part of the request's body. */
  receive(part: Buffer): void {
    if (this.isDropping || this.isOver) return;
    this.window -= part.length;
    if (this.window <= 0) this.connection.socket.pause();
    if (this.take(part.length)) this.handler?.onData(part);
    else this.refuse();
  }

  tick(nowMs: number): void {
    if (!this.isOver && !this.isAnswered) this.handler?.onTick?.(nowMs, false);
  }

  /** The request is complete. */
  complete(): void {
    if (!this.isDropping && !this.isOver) this.handler?.onEnd();
  }

  release(bytes: number): void {
    this.connection.budget.give(bytes);
  }

  take(bytes: number): boolean {
    return this.connection.budget.take(bytes);
  }

  allow(bytes: number): void {
    const wasClosed = this.window <= 0;
    this.window += bytes;
    if (wasClosed && this.window > 0) this.connection.socket.resume();
  }

  respond({ fields }: HeaderBlock, endStream = false): void {
    if (this.isOver || this.hasResponded) return;
    this.hasResponded = true;
    const status = fields[0]?.[1];
    const hasLength = fields.some(([name]) => name === "content-length");
    const isEmpty = status === "204" || status === "304";
    this.isBodiless = isEmpty || endStream || this.headers.get(":method") === "HEAD";
    this.isChunked = !this.isBodiless && !hasLength && !this.isHttp10;
    const { endsWithAnswer, limits } = this.connection;
    this.isLast = endsWithAnswer;
    const keptSeconds = Math.floor(limits.idleMs / 1_000);
    const more: [string, string][] = this.isChunked ? [["transfer-encoding", "chunked"]] : [];
    if (endStream && !hasLength && !isEmpty) more.push(["content-length", "0"]);
    const all = more.length === 0 ? fields : [...fields, ...more];
    this.head = answerHead(all, endsWithAnswer ? "close" : { keptSeconds });
    if (endStream) this.end();
    // With the first part of the body, if that is there by then.
    else queueMicrotask(this.sendHead);
  }

  write(...pieces: readonly Uint8Array[]): boolean {
    if (this.isOver || this.isAnswered || this.isBodiless) return true;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    if (bytes === 0) return true;
    if (!this.take(bytes)) return false;
    this.unsentBytes += bytes;
    const before = this.takeHead() + (this.isChunked ? sizeOf(bytes) : "");
    const after = this.isChunked ? lineEnd : "";
    const { socket } = this.connection;
    const sent = this.whenSent(bytes);
    if (bytes <= copiedBytesMax) {
      socket.write(joined(before, pieces, after, bytes), sent);
      return true;
    }
    const parts = [before, ...pieces, after].filter(({ length }) => length > 0);
    socket.cork();
    for (const [i, part] of parts.entries()) {
      const isLast = i === parts.length - 1;
      socket.write(part, "latin1", isLast ? sent : undefined);
    }
    socket.uncork();
    return true;
  }

  writeShared(bytes: Uint8Array): boolean {
    const { isOver, isAnswered, isChunked, head } = this;
    const isPlain = isOver || isAnswered || !isChunked || head !== "" || bytes.length === 0;
    if (isPlain) return this.write(bytes);
    if (!this.take(bytes.length)) return false;
    this.unsentBytes += bytes.length;
    this.connection.socket.write(chunkOf(bytes), this.whenSent(bytes.length));
    return true;
  }

  /** What the system has, it does not give back. */
  takeBack(): readonly Uint8Array[] {
    return [];
  }

  awaitWindow(): void {}

  endInstead(): void {
    this.reset();
  }

  end(): void {
    if (this.isOver || this.isAnswered) return;
    this.isAnswered = true;
    this.drop();
    const { socket, limits } = this.connection;
    const last = this.takeHead() + (this.isChunked ? lastChunk : "");
    if (last !== "") socket.write(last, "latin1", this.finish);
    else if (this.unsentBytes === 0) this.finish();
    // The client has to go on taking the answer.
    if (socket.writableLength > 0) socket.setTimeout(limits.exchangeMs);
  }

  reset(): void {
    this.connection.socket.destroy();
  }

  /** The connection has to let go of something. */
  refuse(): void {
    // The answer is complete, but the client does not take it.
    if (this.isAnswered) return this.reset();
    this.drop();
    this.handler?.onRefused();
  }

  /** The connection is gone, or can go on no longer. */
  lost(): void {
    this.connection.budget.give(this.unsentBytes);
    this.unsentBytes = 0;
    const wasOpen = !this.isOver && !this.isAnswered;
    this.isOver = true;
    if (wasOpen) this.connection.attempt(() => this.handler?.onReset(errorCode.cancel));
  }

  private readonly sendHead = (): void => {
    const head = this.takeHead();
    if (head !== "" && !this.isOver) this.connection.socket.write(head, "latin1");
  };

  private takeHead(): string {
    const { head } = this;
    this.head = "";
    return head;
  }

  private drop(): void {
    this.isDropping = true;
    this.allow(streamWindowBytes);
  }

  private whenSent(bytes: number): (error?: Error | null) => void {
    return (error) => (error ? undefined : this.sent(bytes));
  }

  private sent(bytes: number): void {
    if (this.unsentBytes === 0) return;
    this.unsentBytes -= bytes;
    this.connection.budget.give(bytes);
    if (this.isOver) return;
    if (!this.isAnswered) this.connection.attempt(() => this.handler?.onSent());
    else if (this.unsentBytes === 0 && !this.isChunked) this.finish();
  }

  private readonly finish = (error?: Error | null): void => {
    if (this.isOver || error) return;
    this.isOver = true;
    const { socket } = this.connection;
    if (socket.timeout !== undefined && socket.timeout > 0) socket.setTimeout(0);
    this.connection.finished(this);
  };
}

/** Bytes that many are sent, as the chunk that they are to each of them. */
const chunks = new WeakMap<Uint8Array, Buffer>();

function chunkOf(bytes: Uint8Array): Buffer {
  let chunk = chunks.get(bytes);
  if (chunk === undefined) {
    chunk = joined(sizeOf(bytes.length), [bytes], lineEnd, bytes.length);
    chunks.set(bytes, chunk);
  }
  return chunk;
}

function sizeOf(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}

function joined(
  before: string,
  pieces: readonly Uint8Array[],
  after: string,
  bytes: number,
): Buffer {
  const buffer = Buffer.allocUnsafe(before.length + bytes + after.length);
  let at = buffer.write(before, "latin1");
  for (const piece of pieces) {
    buffer.set(piece, at);
    at += piece.length;
  }
  buffer.write(after, at, "latin1");
  return buffer;
}
