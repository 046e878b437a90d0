// The output of a connection. Answers take turns, a frame each, as far as their own windows, the
// connection's window and the socket allow. The frames of one turn of the event loop are written to
// the socket together: short payloads are copied behind the heads of their frames, long ones are
// sent without a copy.
// Source: RFC 9113, sections 4.1, 5.2 and 6.9.

import type { Socket } from "node:net";
import type { Budget } from "./api.ts";
import { hpackOf, type HeaderBlock } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";
import {
  flag,
  headBytes,
  Http2Error,
  initialWindowBytes,
  payloadBytesMax,
  type,
  windowBytesMax,
} from "./protocol.ts";

/** The buffer in which frames are gathered. The first one is a part of `connectionBytes`. */
const chunkBytes = 16 * 1024;
/** Longer payloads are not copied. */
export const copiedBytesMax = 2 * 1024;
/** How many answers get `onSent` in one turn of the event loop because windows have opened. */
const invitedPerTurn = 8;
const none: Buffer = Buffer.alloc(0);
/** A change of the dynamic table's size to 0: the client may change it, but we do not use it. */
const tableOfNothing = Buffer.from([0x20]);

/** The answer of one stream, as its place in the order needs it. */
export interface Answer {
  readonly id: number;
  /** What the client lets us send of it. */
  sendWindow: number;
  readonly unsentBytes: number;
  readonly isBlocked: boolean;
  /** Its turn has come. */
  send(): void;
  onSent(): void;
}

/** The part of a connection that its output uses. */
export interface SendingConnection {
  readonly limits: Http2Limits;
  readonly budget: Budget;
  /** The client takes what it is sent again: more may be read of it. */
  resume(): void;
  /** Ends the connection, for this reason. */
  destroy(reason: string): void;
  /** Runs work whose failure ends this connection and no more. */
  attempt(work: () => void): void;
}

export class Output {
  /** What the client lets us send: on each new stream at first, and on all streams together. */
  streamWindow = initialWindowBytes;
  sendWindow = initialWindowBytes;
  /** Bytes that the socket has not taken: those that wait here, and those that it is writing. */
  bytes = 0;
  private readonly socket: Socket;
  private readonly connection: SendingConnection;
  private readonly bytesMax: number;
  /** Answers that wait for their turn, and those that wait for the connection's window. */
  private readonly ready = new Set<Answer>();
  readonly blocked = new Set<Answer>();
  /** Answers with nothing to send that get `onSent` when a window opens and both are open. */
  readonly awaiting = new Set<Answer>();
  /** Frames with a part of an answer that were sent since this was looked at. */
  partFrames = 0;
  private isPumping = false;
  private isInviting = false;
  private chunk = none;
  /** The part of the chunk from `from` to `at` is in no piece yet. */
  private from = 0;
  private at = 0;
  private pieces: Uint8Array[] = [];
  private writingBytes = 0;
  /** How much of what waits, and of what is being written, the budget counts. */
  private waitingHeld = 0;
  private writingHeld = 0;
  private hasSentHeaders = false;
  private isScheduled = false;
  private isEnded = false;

  constructor(socket: Socket, connection: SendingConnection) {
    this.socket = socket;
    this.connection = connection;
    this.bytesMax = connection.limits.outputBytesMax;
  }

  /** Nothing more is read, because that might make even more output. */
  get isOverfull(): boolean {
    return this.bytes >= 2 * this.bytesMax;
  }

  /** Whether an answer may be sent at once, because nothing is before it. */
  get isFree(): boolean {
    return this.ready.size === 0 && !this.isPumping && this.bytes < this.bytesMax;
  }

  /** The answer is sent when its turn comes. */
  enqueue(answer: Answer): void {
    if (!this.blocked.has(answer)) this.ready.add(answer);
    this.pump();
  }

  pump(): void {
    if (this.isPumping) return;
    this.isPumping = true;
    // An answer with more to send is added again, behind the others.
    for (const answer of this.ready) {
      if (this.bytes >= this.bytesMax) break;
      this.ready.delete(answer);
      answer.send();
    }
    this.isPumping = false;
  }

  /** The answer is over. */
  forget(answer: Answer): void {
    this.ready.delete(answer);
    this.blocked.delete(answer);
    this.awaiting.delete(answer);
  }

  /** The client has enlarged the window of an answer; undefined: of the connection. */
  widen(answer: Answer | undefined, increment: number): void {
    const widened = answer ?? this;
    widened.sendWindow += increment;
    if (widened.sendWindow > windowBytesMax) throw overflow(answer?.id);
    if (answer === undefined) {
      for (const each of this.blocked) this.ready.add(each);
      this.blocked.clear();
    } else if (answer.unsentBytes > 0) this.enqueue(answer);
    this.pump();
    this.inviteSoon();
  }

  /** The client has changed the windows of all streams. `pump` sends what they allow. */
  changeStreamWindow(size: number, answers: Iterable<Answer>): void {
    if (size > windowBytesMax) throw overflow();
    const change = size - this.streamWindow;
    this.streamWindow = size;
    for (const answer of answers) {
      answer.sendWindow += change;
      if (answer.sendWindow > windowBytesMax) throw overflow();
      const mayGoOn = change > 0 && answer.unsentBytes > 0 && !this.blocked.has(answer);
      if (mayGoOn) this.ready.add(answer);
    }
    this.inviteSoon();
  }

  /** Adds the head of a frame. Its payload must follow. */
  frame(frameType: number, flags: number, id: number, length: number): void {
    const chunk = this.room(headBytes);
    chunk.writeUIntBE(length, this.at, 3);
    chunk[this.at + 3] = frameType;
    chunk[this.at + 4] = flags;
    this.at = chunk.writeUInt32BE(id, this.at + 5);
    this.bytes += headBytes;
    if (this.isScheduled || this.writingBytes > 0) return;
    this.isScheduled = true;
    setImmediate(this.write);
  }

  /** Adds the head of a frame of an answer's data. */
  data(answer: Answer, length: number): void {
    answer.sendWindow -= length;
    this.sendWindow -= length;
    this.partFrames++;
    this.frame(type.data, 0, answer.id, length);
  }

  /** Adds a part of a payload. `isHeld`: unless it is copied, its budget passes to the output. */
  payload(bytes: Uint8Array, from = 0, to = bytes.length, isHeld = false): void {
    const length = to - from;
    this.bytes += length;
    if (length > copiedBytesMax) {
      this.cut();
      this.pieces.push(bytes.subarray(from, to));
      if (isHeld) this.waitingHeld += length;
      return;
    }
    const chunk = this.room(length);
    // A few bytes cost less one by one.
    if (length < 32)
      for (let i = 0; i < length; i++) chunk[this.at + i] = bytes[from + i] as number;
    else chunk.set(length === bytes.length ? bytes : bytes.subarray(from, to), this.at);
    this.at += length;
    if (isHeld) this.connection.budget.give(length);
  }

  /** A frame without flags whose payload is these 32-bit numbers. */
  numbers(frameType: number, id: number, ...values: readonly number[]): void {
    this.frame(frameType, 0, id, values.length * 4);
    const chunk = this.room(values.length * 4);
    for (const value of values) this.at = chunk.writeUInt32BE(value, this.at);
    this.bytes += values.length * 4;
  }

  settings(settings: readonly (readonly [name: number, value: number])[]): void {
    const payload = Buffer.alloc(settings.length * 6);
    for (const [i, [name, value]] of settings.entries()) {
      payload.writeUInt32BE(value, payload.writeUInt16BE(name, i * 6));
    }
    this.whole(type.settings, 0, 0, payload);
  }

  whole(frameType: number, flags: number, id: number, payload: Buffer): void {
    this.frame(frameType, flags, id, payload.length);
    this.payload(payload);
  }

  headers(id: number, headers: HeaderBlock, endStream: boolean): void {
    const encoded = (headers.encoded ??= hpackOf(headers.fields));
    const block = this.hasSentHeaders ? encoded : Buffer.concat([tableOfNothing, encoded]);
    this.hasSentHeaders = true;
    this.partFrames++;
    let at = 0;
    do {
      const end = Math.min(block.length, at + payloadBytesMax);
      const flags = end === block.length ? flag.endHeaders : 0;
      if (at > 0) this.frame(type.continuation, flags, id, end - at);
      else this.frame(type.headers, endStream ? flags | flag.endStream : flags, id, end);
      // As copies, which are drawn from the budget with their chunk.
      for (; at < end; at += copiedBytesMax) {
        this.payload(block, at, Math.min(end, at + copiedBytesMax));
      }
      at = end;
    } while (at < block.length);
  }

  /** Sends what waits, then closes the sending side. */
  end(): void {
    // What is being written counts with what follows it.
    this.writingBytes = 0;
    this.write();
    this.isEnded = true;
    this.socket.end();
  }

  /** The socket is gone. */
  close(): void {
    this.isEnded = true;
    this.connection.budget.give(this.waitingHeld + this.writingHeld);
    this.waitingHeld = this.writingHeld = 0;
    this.pieces = [];
    this.chunk = none;
  }

  /** Frees the chunk of an idle connection. */
  rest(): void {
    if (this.bytes === 0) this.chunk = none;
  }

  /**
   * Calls `onSent` of a few answers in each turn, because together they must not read more than the
   * windows allow to send.
   */
  private invite(): void {
    this.isInviting = false;
    let count = 0;
    for (const answer of this.awaiting) {
      if (this.sendWindow <= 0) return;
      if (answer.isBlocked) continue;
      if (++count > invitedPerTurn) return this.inviteSoon();
      this.awaiting.delete(answer);
      answer.onSent();
    }
  }

  private inviteSoon(): void {
    if (this.isInviting || this.awaiting.size === 0) return;
    this.isInviting = true;
    setImmediate(() => this.connection.attempt(() => this.invite()));
  }

  private room(length: number): Buffer {
    if (this.at + length <= this.chunk.length) return this.chunk;
    if (this.chunk.length > 0) {
      this.cut();
      // The full chunk stays until it is sent.
      if (this.connection.budget.take(chunkBytes)) this.waitingHeld += chunkBytes;
      else this.connection.destroy("budget");
    }
    this.from = this.at = 0;
    return (this.chunk = Buffer.allocUnsafeSlow(chunkBytes));
  }

  private cut(): void {
    if (this.at === this.from) return;
    this.pieces.push(this.chunk.subarray(this.from, this.at));
    this.from = this.at;
  }

  private readonly write = (): void => {
    this.isScheduled = false;
    if (this.writingBytes > 0 || this.isEnded) return;
    this.cut();
    const { pieces, socket } = this;
    const last = pieces.pop();
    if (last === undefined) return;
    this.pieces = [];
    this.writingBytes = this.bytes;
    this.writingHeld += this.waitingHeld;
    this.waitingHeld = 0;
    if (pieces.length > 0) socket.cork();
    for (const piece of pieces) socket.write(piece);
    socket.write(last, this.written);
    if (pieces.length > 0) socket.uncork();
  };

  private readonly written = (): void => {
    const wasOverfull = this.isOverfull;
    if (this.writingHeld > 0) this.connection.budget.give(this.writingHeld);
    this.bytes -= this.writingBytes;
    this.writingHeld = this.writingBytes = 0;
    if (this.isEnded) return;
    if (this.bytes === 0) this.from = this.at = 0;
    if (this.ready.size > 0) this.connection.attempt(() => this.pump());
    if (wasOverfull) this.connection.resume();
    this.write();
  };
}

function overflow(id = 0): Http2Error {
  return new Http2Error("flowControl", "a window of more than 2^31 - 1 bytes", id);
}
