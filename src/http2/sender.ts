// Flow control of the output: the streams of a connection take turns, a frame each, as far as their
// own windows, the connection's window and the socket allow.
// Source: RFC 9113, sections 5.2 and 6.9.

import type { Budget } from "./api.ts";
import { hpackOf, type HeaderBlock } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";
import { copiedBytesMax, type Output } from "./output.ts";
import {
  flag,
  Http2Error,
  initialWindowBytes,
  payloadBytesMax,
  type,
  windowBytesMax,
} from "./protocol.ts";

/** How many streams get `onSent` in one turn of the event loop. */
const invitedPerTurn = 8;

/** The part of one stream's answer that waits to be sent. */
export interface Answer {
  readonly id: number;
  readonly isOver: boolean;
  sendWindow: number;
  head: HeaderBlock | undefined;
  readonly pieces: Uint8Array[];
  /** How much of the first piece was sent. */
  firstPieceSent: number;
  unsentBytes: number;
  /** Some of it was sent since this was looked at. */
  hasSent: boolean;
  readonly trailers: HeaderBlock | undefined;
  readonly isEnding: boolean;
  isQueued: boolean;
  /** Whether it waits for windows without having anything to send. */
  isAwaiting: boolean;
  onSent(): void;
  onAllSent(): void;
}

/** The part of a connection that answers use. */
export interface SendingConnection {
  readonly limits: Http2Limits;
  readonly budget: Budget;
  readonly output: Output;
  /**
   * The frames that carry no part of a request or an answer that the client may still send. Each
   * frame that carries one adds to it.
   */
  controlFramesLeft: number;
  /** Runs work whose failure ends this connection and no more. */
  attempt(work: () => void): void;
}

export class Sender {
  /** The initial window of new streams, which the client sets. */
  streamWindow = initialWindowBytes;
  /** Of the connection. */
  window = initialWindowBytes;
  private readonly connection: SendingConnection;
  private readonly output: Output;
  private readonly outputBytesMax: number;
  /** The answers to send, in turn from `next` on, and those that the connection's window blocks. */
  private readonly ready: Answer[] = [];
  private next = 0;
  private blocked = new Set<Answer>();
  /** Answers without anything to send that wait for the connection's window. */
  private readonly awaiting = new Set<Answer>();
  private isInviting = false;
  private isPumping = false;
  private hasSentHeaders = false;

  constructor(connection: SendingConnection) {
    this.connection = connection;
    this.output = connection.output;
    this.outputBytesMax = connection.limits.outputBytesMax;
  }

  /** Sends what a stream has to send, or as much as may be sent now. */
  wake(stream: Answer): void {
    // Headers and trailers need no window.
    if (stream.unsentBytes === 0 && this.isNext(stream)) this.send(stream);
    else {
      this.enqueue(stream);
      this.pump();
    }
  }

  /** Sends a little data at once if nothing is before it. Otherwise returns false. */
  sendNow(stream: Answer, pieces: readonly Uint8Array[], bytes: number): boolean {
    const fits = bytes <= Math.min(this.window, stream.sendWindow, copiedBytesMax);
    if (!fits || stream.unsentBytes > 0 || !this.isNext(stream)) return false;
    this.frame(stream, bytes);
    for (const piece of pieces) this.output.payload(piece);
    return true;
  }

  pump(): void {
    if (this.isPumping) return;
    this.isPumping = true;
    while (this.next < this.ready.length && this.output.bytes < this.outputBytesMax) {
      const stream = this.ready[this.next++] as Answer;
      stream.isQueued = false;
      if (!stream.isOver) this.send(stream);
      if (this.next < this.ready.length && this.next < 1_000) continue;
      if (this.next === this.ready.length) this.ready.length = 0;
      else this.ready.splice(0, this.next);
      this.next = 0;
    }
    this.isPumping = false;
  }

  /** The client has enlarged the connection's window. */
  widen(increment: number): void {
    this.window += increment;
    if (this.window > windowBytesMax) throw overflow(0);
    const { blocked } = this;
    this.blocked = new Set();
    for (const stream of blocked) {
      stream.isQueued = false;
      this.enqueue(stream);
    }
    this.pump();
    this.inviteSoon();
  }

  widenStream(stream: Answer, increment: number): void {
    stream.sendWindow += increment;
    if (stream.sendWindow > windowBytesMax) throw overflow(stream.id);
    if (stream.unsentBytes > 0) this.wake(stream);
    this.inviteSoon(stream);
  }

  /** The client has changed the windows of all streams. `pump` sends what they allow. */
  changeStreamWindow(size: number, streams: Iterable<Answer>): void {
    if (size > windowBytesMax) throw overflow(0);
    const change = size - this.streamWindow;
    this.streamWindow = size;
    for (const stream of streams) {
      stream.sendWindow += change;
      if (stream.sendWindow > windowBytesMax) throw overflow(0);
      if (change > 0 && stream.unsentBytes > 0) this.enqueue(stream);
      this.inviteSoon(stream);
    }
  }

  /** The stream is over. */
  drop(stream: Answer): void {
    if (stream.isAwaiting) this.awaiting.delete(stream);
    if (stream.unsentBytes > 0 || stream.isQueued) this.discard(stream);
  }

  /** Drops what the stream has not sent. */
  discard(stream: Answer): void {
    this.connection.budget.give(stream.unsentBytes);
    stream.unsentBytes = 0;
    stream.pieces.length = 0;
    stream.firstPieceSent = 0;
    // Its trailers need no window, only a turn.
    if (this.blocked.delete(stream)) stream.isQueued = false;
  }

  /** Calls the stream's `onSent` when both windows are open. */
  await(stream: Answer): void {
    stream.isAwaiting = true;
    if (stream.sendWindow > 0) this.awaiting.add(stream);
  }

  /**
   * Calls `onSent` of a few waiting streams in each turn, because together they must not read more
   * than the windows allow to send.
   */
  private invite(): void {
    this.isInviting = false;
    let count = 0;
    for (const stream of this.awaiting) {
      if (this.window <= 0) return;
      if (++count > invitedPerTurn) return this.inviteSoon();
      this.awaiting.delete(stream);
      if (stream.sendWindow <= 0) continue;
      stream.isAwaiting = false;
      stream.onSent();
    }
  }

  private inviteSoon(stream?: Answer): void {
    if (stream?.isAwaiting === true && stream.sendWindow > 0) this.awaiting.add(stream);
    if (this.isInviting || this.awaiting.size === 0) return;
    this.isInviting = true;
    setImmediate(() => this.connection.attempt(() => this.invite()));
  }

  /** Whether nothing is before what the stream has to send. */
  private isNext(stream: Answer): boolean {
    const isBehind = stream.isQueued || this.isPumping || this.next < this.ready.length;
    return !isBehind && this.output.bytes < this.outputBytesMax;
  }

  private enqueue(stream: Answer): void {
    if (stream.isQueued) return;
    stream.isQueued = true;
    this.ready.push(stream);
  }

  private send(stream: Answer): void {
    const { head, trailers } = stream;
    if (head !== undefined) {
      const isAll = stream.isEnding && trailers === undefined && stream.unsentBytes === 0;
      stream.head = undefined;
      this.headers(stream.id, head, isAll);
      if (isAll) return stream.onAllSent();
    }
    if (stream.unsentBytes > 0 && !this.data(stream)) return;
    if (stream.isOver) return;
    if (stream.unsentBytes > 0) return this.enqueue(stream);
    if (!stream.isEnding) return;
    if (stream.trailers !== undefined) this.headers(stream.id, stream.trailers, true);
    else this.output.frame(type.data, flag.endStream, stream.id, 0);
    stream.onAllSent();
  }

  private headers(id: number, headers: HeaderBlock, endStream: boolean): void {
    const block = (headers.encoded ??= hpackOf(headers.fields));
    // After this, the client may change the size of the table: we do not use it.
    const bytes = this.hasSentHeaders ? block : Buffer.concat([tableOfNothing, block]);
    this.hasSentHeaders = true;
    this.output.headers(id, bytes, endStream);
    this.connection.controlFramesLeft += this.connection.limits.controlFramesEarned;
  }

  /** The head of a frame of data. */
  private frame(stream: Answer, bytes: number): void {
    this.window -= bytes;
    stream.sendWindow -= bytes;
    this.output.frame(type.data, 0, stream.id, bytes);
    this.connection.controlFramesLeft += this.connection.limits.controlFramesEarned;
  }

  /** Sends one frame of the waiting data. False: a window is closed. */
  private data(stream: Answer): boolean {
    const { pieces, sendWindow } = stream;
    const bytes = Math.min(stream.unsentBytes, sendWindow, this.window, payloadBytesMax);
    if (bytes <= 0) {
      stream.isQueued = sendWindow > 0;
      if (stream.isQueued) this.blocked.add(stream);
      return false;
    }
    this.frame(stream, bytes);
    stream.unsentBytes -= bytes;
    stream.hasSent = true;
    let count = 0;
    for (let left = bytes; left > 0;) {
      const piece = pieces[count] as Uint8Array;
      const from = stream.firstPieceSent;
      const to = Math.min(piece.length, from + left);
      if (this.output.payload(piece, from, to)) this.connection.budget.give(to - from);
      left -= to - from;
      stream.firstPieceSent = to === piece.length ? 0 : to;
      if (to === piece.length) count++;
    }
    pieces.splice(0, count);
    stream.onSent();
    return true;
  }
}

/** A change of the dynamic table's size to 0. */
const tableOfNothing = Buffer.from([0x20]);

function overflow(id: number): Http2Error {
  return new Http2Error("flowControl", "a window of more than 2^31 - 1 bytes", id);
}
