// One request and its answer: the flow control of the request, and the states of both sides.
// Source: RFC 9113, section 5.1.

import type { Http2Connection, Http2Stream, StreamHandler } from "./api.ts";
import type { HeaderBlock } from "./hpack-encoder.ts";
import { errorCode, Http2Error, type } from "./protocol.ts";
import type { RequestHead } from "./request-headers.ts";
import type { Answer, Sender, SendingConnection } from "./sender.ts";

/** The part of a connection that its streams use. */
export interface StreamConnection extends Http2Connection, SendingConnection {
  readonly sender: Sender;
  /** The stream is over. `isAwaited`: the client may not know yet. */
  forget(stream: Stream, isAwaited: boolean): void;
}

export class Stream implements Http2Stream, Answer {
  readonly id: number;
  readonly connection: StreamConnection;
  readonly headers: ReadonlyMap<string, string>;
  readonly headerBytes: number;
  isOver = false;
  /** What waits to be sent: see `Answer`. */
  sendWindow: number;
  head: HeaderBlock | undefined;
  readonly pieces: Uint8Array[] = [];
  firstPieceSent = 0;
  unsentBytes = 0;
  hasSent = false;
  trailers: HeaderBlock | undefined;
  isEnding = false;
  isQueued = false;
  isAwaiting = false;
  /** Set when `onStream` has returned it. */
  handler: StreamHandler | undefined;
  /** The client has ended the request. */
  hasEnded = false;
  /** Bytes drawn from the budget, without the unsent bytes. */
  private drawnBytes = 0;
  private isRefused = false;
  /** Bytes that the client may send, and bytes to return to its window. */
  private window: number;
  private returnedBytes = 0;
  /** The missing bytes of a request with a content length. -1: it has none. */
  private awaitedBytes: number;
  /** The rest of the request is dropped. `droppedBytes` of it were. */
  private isDropping = false;
  private droppedBytes = 0;
  private dropTimer: NodeJS.Timeout | undefined;
  private hasAnswered = false;

  constructor(id: number, connection: StreamConnection, head: RequestHead) {
    this.sendWindow = connection.sender.streamWindow;
    this.id = id;
    this.connection = connection;
    this.headers = head.headers;
    this.headerBytes = head.bytes;
    this.awaitedBytes = head.contentLength;
    this.window = connection.limits.streamWindowBytes;
  }

  /** The bytes that the end of the stream would free, now or soon. */
  get heldBytes(): number {
    return this.isRefused ? 0 : this.drawnBytes + this.unsentBytes;
  }

  get isBlocked(): boolean {
    return this.sendWindow <= 0 || this.connection.sender.window <= 0;
  }

  awaitWindow(): void {
    if (!this.isOver) this.connection.sender.await(this);
  }

  take(bytes: number): boolean {
    if (!this.connection.budget.take(bytes)) return false;
    this.drawnBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.drawnBytes -= bytes;
    this.connection.budget.give(bytes);
  }

  /** Tells the handler to release everything and to refuse the request. */
  refuse(): void {
    if (this.isRefused) return;
    this.isRefused = true;
    this.isDropping = true;
    this.handler?.onRefused();
  }

  allow(bytes: number): void {
    if (this.isOver || this.hasEnded) return;
    this.returnedBytes += bytes;
    if (this.returnedBytes < this.connection.limits.streamWindowBytes / 2) return;
    this.window += this.returnedBytes;
    this.connection.output.numbers(type.windowUpdate, 0, this.id, this.returnedBytes);
    this.returnedBytes = 0;
  }

  respond(headers: HeaderBlock, endStream = false): void {
    if (this.isOver) return;
    this.head = headers;
    if (endStream) this.end();
    else this.connection.sender.wake(this);
  }

  write(...pieces: readonly Uint8Array[]): boolean {
    if (this.isOver || this.isEnding) return true;
    const { budget, sender } = this.connection;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    if (bytes === 0 || sender.sendNow(this, pieces, bytes)) return true;
    if (!budget.take(bytes)) return false;
    for (const piece of pieces) if (piece.length > 0) this.pieces.push(piece);
    this.unsentBytes += bytes;
    sender.wake(this);
    return true;
  }

  writeShared(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  takeBack(): readonly Uint8Array[] {
    const [first, ...others] = this.pieces;
    const left = first === undefined ? [] : [first.subarray(this.firstPieceSent), ...others];
    if (!this.isOver) this.connection.sender.discard(this);
    return left;
  }

  tick(nowMs: number): void {
    const isUntaken = this.unsentBytes > 0 && this.isBlocked && !this.hasSent;
    this.hasSent = false;
    if (!this.hasAnswered) this.handler?.onTick?.(nowMs, isUntaken);
  }

  endInstead(trailers: HeaderBlock): void {
    if (this.isOver) return;
    this.connection.sender.discard(this);
    this.isEnding = false;
    this.end(trailers);
  }

  end(trailers?: HeaderBlock): void {
    if (this.isOver || this.isEnding) return;
    this.trailers = trailers;
    this.isEnding = true;
    this.connection.sender.wake(this);
  }

  reset(code: number): void {
    if (this.isOver) return;
    this.sendReset(code);
    this.finish(true);
  }

  /** Data from the client; `flowBytes` with padding. */
  receive(part: Buffer, flowBytes: number, endStream: boolean): void {
    const bytes = part.length;
    if (this.hasEnded) throw new Http2Error("streamClosed", "DATA behind the end", this.id);
    this.window -= flowBytes;
    if (this.window < 0) throw new Http2Error("flowControl", "streamWindowBytes", this.id);
    if (this.awaitedBytes >= 0 && (this.awaitedBytes -= bytes) < 0) throw this.wrongLength();
    if (flowBytes > bytes) this.allow(flowBytes - bytes);
    if (bytes > 0 && !this.isDropping) {
      if (this.take(bytes)) this.handler?.onData(part);
      else {
        this.refuse();
        this.drop(bytes);
      }
    } else if (bytes > 0) this.drop(bytes);
    if (endStream && !this.isOver) this.complete();
  }

  /** The client has ended the request. */
  complete(): void {
    if (this.hasEnded) throw new Http2Error("streamClosed", "a second end", this.id);
    if (this.awaitedBytes > 0) throw this.wrongLength();
    this.hasEnded = true;
    if (this.hasAnswered) this.finish(false);
    else if (!this.isDropping) this.handler?.onEnd();
  }

  /** Ends the stream without its caller. `isAwaited`: the client may not know yet. */
  lose(code: number, isAwaited: boolean): void {
    if (this.isOver) return;
    this.finish(isAwaited);
    if (!this.hasAnswered) this.handler?.onReset(code);
  }

  onSent(): void {
    this.handler?.onSent();
  }

  onAllSent(): void {
    this.hasAnswered = true;
    if (this.hasEnded) return this.finish(false);
    // A reset right behind the answer would overtake the answer in some proxies.
    this.isDropping = true;
    const { drainMs } = this.connection.limits;
    this.dropTimer = setTimeout(() => this.reset(errorCode.noError), drainMs);
  }

  /** Drops the rest of the request for a while, so that the client reads our answer. */
  private drop(bytes: number): void {
    this.droppedBytes += bytes;
    if (this.droppedBytes <= this.connection.limits.drainBytesMax) return this.allow(bytes);
    const code = this.hasAnswered ? errorCode.noError : errorCode.enhanceYourCalm;
    this.sendReset(code);
    this.lose(code, true);
  }

  private sendReset(code: number): void {
    this.connection.output.numbers(type.resetStream, 0, this.id, code);
  }

  private wrongLength(): Http2Error {
    return new Http2Error("protocol", "another length than content-length", this.id);
  }

  private finish(isAwaited: boolean): void {
    this.isOver = true;
    clearTimeout(this.dropTimer);
    this.connection.sender.drop(this);
    this.connection.forget(this, isAwaited);
  }
}
