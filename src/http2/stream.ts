// One request and its answer: the states of both sides, the flow control of the request, and what
// of the answer waits to be sent.
// Source: RFC 9113, section 5.1.

import type { Http2Stream, StreamHandler } from "./api.ts";
import type { HeaderBlock } from "./hpack-encoder.ts";
import { copiedBytesMax, type Answer, type OwnConnection } from "./output.ts";
import { errorCode, flag, Http2Error, sizes, type } from "./protocol.ts";
import type { RequestHead } from "./request-headers.ts";

export class Stream implements Http2Stream, Answer {
  readonly id: number;
  readonly connection: OwnConnection;
  readonly headers: ReadonlyMap<string, string>;
  readonly headerBytes: number;
  isOver = false;
  /** Set when `onStream` has returned it. */
  handler: StreamHandler | undefined;
  /** What the client lets us send. */
  sendWindow: number;
  /** What is unsent of the answer. Behind it come the trailers, if it `isEnding`. */
  private readonly pieces: Uint8Array[] = [];
  unsentBytes = 0;
  private isEnding = false;
  private trailers: HeaderBlock | undefined;
  private hasAnswered = false;
  /** Something was sent since the last tick. */
  private hasSent = false;
  /** The client has ended the request. */
  hasEnded = false;
  /** Bytes drawn from the budget, without the unsent bytes. */
  private drawnBytes = 0;
  /** Bytes that the client may send, and bytes to return to its window. */
  private window: number;
  private returnedBytes = 0;
  /** The missing bytes of a request with a content length. NaN: it has none. */
  private awaitedBytes: number;
  /** The rest of the request is dropped. `droppedBytes` of it were. */
  private isDropping = false;
  private droppedBytes = 0;
  private dropTimer: NodeJS.Timeout | undefined;

  constructor(id: number, connection: OwnConnection, head: RequestHead) {
    this.id = id;
    this.connection = connection;
    this.headers = head.headers;
    this.headerBytes = head.bytes;
    this.awaitedBytes = head.contentLength;
    this.window = connection.options.limits.streamWindowBytes;
    this.sendWindow = connection.output.streamWindow;
  }

  /** The bytes that the end of the stream would free, now or soon. */
  get heldBytes(): number {
    return this.isDropping ? 0 : this.drawnBytes + this.unsentBytes;
  }

  get isBlocked(): boolean {
    return this.sendWindow <= 0 || this.connection.output.sendWindow <= 0;
  }

  awaitWindow(): void {
    if (!this.isOver) this.connection.output.enqueue(this);
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
    if (this.isDropping) return;
    this.isDropping = true;
    this.handler?.onRefused();
  }

  allow(bytes: number): void {
    if (this.isOver || this.hasEnded) return;
    this.returnedBytes += bytes;
    if (this.returnedBytes < this.connection.options.limits.streamWindowBytes / 2) return;
    this.window += this.returnedBytes;
    this.connection.output.numbers(type.windowUpdate, this.id, this.returnedBytes);
    this.returnedBytes = 0;
  }

  respond(headers: HeaderBlock, endStream = false): void {
    if (endStream) this.end(headers);
    else if (!this.isOver) this.connection.output.headers(this.id, headers, false);
  }

  write(...pieces: readonly Uint8Array[]): boolean {
    if (this.isOver || this.isEnding) return true;
    const { budget, output } = this.connection;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    if (bytes === 0) return true;
    const atOnceMax = Math.min(copiedBytesMax, this.sendWindow, output.sendWindow);
    if (bytes <= atOnceMax && this.unsentBytes === 0 && output.isFree) {
      output.data(this, bytes);
      for (const piece of pieces) output.payload(piece);
      return true;
    }
    if (!budget.take(bytes)) return false;
    for (const piece of pieces) if (piece.length > 0) this.pieces.push(piece);
    this.unsentBytes += bytes;
    output.enqueue(this);
    return true;
  }

  writeShared(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  takeBack(): readonly Uint8Array[] {
    const left = [...this.pieces];
    this.discard();
    return left;
  }

  tick(nowMs: number): void {
    const isUntaken = this.unsentBytes > 0 && this.isBlocked && !this.hasSent;
    this.hasSent = false;
    if (!this.hasAnswered) this.handler?.onTick?.(nowMs, isUntaken);
  }

  endInstead(trailers: HeaderBlock): void {
    if (this.isOver) return;
    this.discard();
    this.isEnding = false;
    this.end(trailers);
  }

  end(trailers?: HeaderBlock): void {
    if (this.isOver || this.isEnding) return;
    this.trailers = trailers;
    this.isEnding = true;
    if (this.unsentBytes === 0) this.sendEnd();
  }

  reset(code: number): void {
    if (this.isOver) return;
    this.connection.output.numbers(type.resetStream, this.id, code);
    this.finish(true);
  }

  /** Data from the client; `flowBytes` with padding. */
  receive(part: Buffer, flowBytes: number, endStream: boolean): void {
    const bytes = part.length;
    if (this.hasEnded) throw new Http2Error("streamClosed", "DATA behind the end", this.id);
    this.window -= flowBytes;
    if (this.window < 0) throw new Http2Error("flowControl", "streamWindowBytes", this.id);
    if ((this.awaitedBytes -= bytes) < 0) throw this.wrongLength();
    if (flowBytes > bytes) this.allow(flowBytes - bytes);
    if (bytes > 0 && !this.isDropping && !this.take(bytes)) this.refuse();
    if (this.isDropping) this.drop(bytes);
    else if (bytes > 0) this.handler?.onData(part);
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

  send(): void {
    if (this.unsentBytes === 0) return this.handler?.onSent();
    const { pieces, sendWindow } = this;
    const { output } = this.connection;
    const bytes = Math.min(this.unsentBytes, sendWindow, output.sendWindow, sizes.payloadMax);
    output.data(this, bytes);
    this.unsentBytes -= bytes;
    this.hasSent = true;
    let count = 0;
    for (let left = bytes; left > 0;) {
      const piece = pieces[count] as Uint8Array;
      const part = piece.length <= left ? piece : piece.subarray(0, left);
      output.payload(part, true);
      if (part === piece) count++;
      else pieces[count] = piece.subarray(left);
      left -= part.length;
    }
    pieces.splice(0, count);
    if (this.unsentBytes > 0) output.enqueue(this);
    else if (this.isEnding) return this.sendEnd();
    this.handler?.onSent();
  }

  /** A reset right behind the answer would overtake the answer in some proxies. */
  private sendEnd(): void {
    const { output, options } = this.connection;
    if (this.trailers === undefined) output.frame(type.data, flag.endStream, this.id);
    else output.headers(this.id, this.trailers, true);
    this.hasAnswered = true;
    if (this.hasEnded) return this.finish(false);
    this.isDropping = true;
    this.dropTimer = setTimeout(() => this.reset(errorCode.noError), options.limits.drainMs);
  }

  /** Drops what is not sent. */
  private discard(): void {
    this.connection.output.forget(this);
    if (this.unsentBytes > 0) this.connection.budget.give(this.unsentBytes);
    this.unsentBytes = this.pieces.length = 0;
  }

  /** Drops the rest of the request for a while, so that the client reads our answer. */
  private drop(bytes: number): void {
    this.droppedBytes += bytes;
    const { drainBytesMax } = this.connection.options.limits;
    if (this.droppedBytes <= drainBytesMax) return this.allow(bytes);
    const code = this.hasAnswered ? "noError" : "enhanceYourCalm";
    throw new Http2Error(code, "drainBytesMax", this.id);
  }

  private wrongLength(): Http2Error {
    return new Http2Error("protocol", "another length than content-length", this.id);
  }

  private finish(isAwaited: boolean): void {
    this.isOver = true;
    clearTimeout(this.dropTimer);
    this.discard();
    this.connection.forget(this, isAwaited);
  }
}
