// The output of a connection. Answers take turns, a frame each, as far as their own windows, the
// connection's window and the socket allow. The frames of one turn of the event loop are written to
// the socket together: short payloads are copied behind the heads of their frames, long ones are
// sent without a copy.
// Source: RFC 9113, sections 4.1, 5.2 and 6.9.

import type { Socket } from "node:net";
import type { Http2Connection, Http2Options } from "./api.ts";
import { hpackOf, type HeaderBlock } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";
import { flag, Http2Error, sizes, type, uint32 } from "./protocol.ts";

/** The buffer in which frames are gathered. The first one is a part of `connectionBytes`. */
const chunkBytes = 16 * 1024;
/** Longer payloads are not copied. */
export const copiedBytesMax = 2 * 1024;
/**
 * Answers with nothing unsent whose turn comes in one turn of the event loop: together, their
 * handlers must not read more than the windows allow to send.
 */
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
  /** Its turn has come: sends one frame, if anything is unsent. */
  send(): void;
}

/** A connection, as its parts use it. */
export interface OwnConnection extends Http2Connection {
  readonly options: Http2Options & { readonly limits: Http2Limits };
  readonly output: Output;
  /** Tells the client that the connection ends, and which stream is the last. */
  drain(): void;
  drained(): void;
  /** A stream is over. `isAwaited`: the client may not know yet. */
  forget(stream: { readonly id: number; readonly headerBytes: number }, isAwaited: boolean): void;
  /** The client takes what it is sent again: more may be read of it. */
  resume(): void;
  /** Ends the connection, for this reason. */
  destroy(reason: string): void;
  /** Runs work whose failure ends this connection and no more. */
  attempt(work: () => void): void;
}

export class Output {
  /** What the client lets us send: on each new stream at first, and on all streams together. */
  streamWindow: number = sizes.initialWindow;
  sendWindow: number = sizes.initialWindow;
  /** Bytes that the socket has not taken: those that wait here, and those that it is writing. */
  bytes = 0;
  /** Frames with a part of an answer that were sent since this was looked at. */
  partFrames = 0;
  private readonly socket: Socket;
  private readonly connection: OwnConnection;
  /** Answers that wait for their turn. */
  private readonly ready = new Set<Answer>();
  /** Answers that wait for a window. */
  private readonly waiting = new Set<Answer>();
  /** Windows have opened, for some that wait. */
  private hasWidened = false;
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

  constructor(socket: Socket, connection: OwnConnection) {
    this.socket = socket;
    this.connection = connection;
  }

  /** Nothing more is read, because that might make even more output. */
  get isOverfull(): boolean {
    return this.bytes >= 2 * this.connection.options.limits.outputBytesMax;
  }

  private get isFull(): boolean {
    return this.bytes >= this.connection.options.limits.outputBytesMax;
  }

  /** Whether data may be sent at once, because none is before it. */
  get isFree(): boolean {
    return this.ready.size === 0 && !this.isFull;
  }

  /** The answer gets a turn once its windows are open. */
  enqueue(answer: Answer): void {
    (answer.isBlocked ? this.waiting : this.ready).add(answer);
    this.turnSoon();
  }

  /** The answer needs no turn any more. */
  forget(answer: Answer): void {
    this.ready.delete(answer);
    this.waiting.delete(answer);
  }

  /**
   * The client has changed these windows: of answers, or of the connection, which is `this`. It may
   * give thousands of answers what they want byte by byte, so they are looked at once in a turn.
   */
  widen(changed: Iterable<{ sendWindow: number }>, change: number, id = 0): void {
    for (const each of changed) {
      each.sendWindow += change;
      if (each.sendWindow > sizes.windowMax) throw new Http2Error("flowControl", "2^31 - 1", id);
    }
    this.hasWidened = true;
    this.turnSoon();
  }

  private turnSoon(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.turn);
  }

  /** Sends what windows and socket allow by the end of a turn of the event loop. */
  private readonly turn = (): void => {
    this.isScheduled = false;
    if (this.hasWidened || this.ready.size > 0) this.connection.attempt(this.sendSome);
    this.write();
  };

  private readonly sendSome = (): void => {
    const { ready, waiting } = this;
    for (const answer of this.hasWidened ? waiting : []) {
      if (answer.isBlocked) continue;
      waiting.delete(answer);
      ready.add(answer);
    }
    this.hasWidened = false;
    let invitedCount = 0;
    // An answer with more to send is added again, behind the others.
    for (const answer of ready) {
      if (this.isFull) return;
      if (answer.unsentBytes === 0 && ++invitedCount > invitedPerTurn) return this.turnSoon();
      ready.delete(answer);
      if (answer.isBlocked) waiting.add(answer);
      else answer.send();
    }
  };

  /** Adds the head of a frame. Its payload must follow. */
  private head(frameType: number, flags: number, id: number, length: number): void {
    const chunk = this.room(sizes.head);
    chunk.writeUIntBE(length, this.at, 3);
    chunk[this.at + 3] = frameType;
    chunk[this.at + 4] = flags;
    this.at = chunk.writeUInt32BE(id, this.at + 5);
    this.bytes += sizes.head;
    if (this.writingBytes === 0) this.turnSoon();
  }

  /** Adds a frame. */
  frame(frameType: number, flags: number, id: number, payload = none): void {
    this.head(frameType, flags, id, payload.length);
    this.payload(payload);
  }

  /** Adds a frame without flags whose payload are these 32-bit numbers. */
  numbers(frameType: number, id: number, ...values: readonly number[]): void {
    this.frame(frameType, 0, id, uint32(...values));
  }

  /** Adds the head of a frame of an answer's data, whose `payload` must follow. */
  data(answer: Answer, length: number): void {
    answer.sendWindow -= length;
    this.sendWindow -= length;
    this.partFrames++;
    this.head(type.data, 0, answer.id, length);
  }

  /** Adds a part of a payload. `isHeld`: it was drawn from the budget, and is the output's now. */
  payload(bytes: Uint8Array, isHeld = false): void {
    const { length } = bytes;
    this.bytes += length;
    if (length > copiedBytesMax) {
      this.cut();
      this.pieces.push(bytes);
      if (isHeld) this.waitingHeld += length;
      else this.hold(length);
      return;
    }
    const chunk = this.room(length);
    // A few bytes cost less one by one.
    if (length >= 32) chunk.set(bytes, this.at);
    else for (let i = 0; i < length; i++) chunk[this.at + i] = bytes[i] as number;
    this.at += length;
    if (isHeld) this.connection.budget.give(length);
  }

  headers(id: number, headers: HeaderBlock, endStream: boolean): void {
    const encoded = (headers.encoded ??= hpackOf(headers.fields));
    let block = this.hasSentHeaders ? encoded : Buffer.concat([tableOfNothing, encoded]);
    this.hasSentHeaders = true;
    this.partFrames++;
    let frameType: number = type.headers;
    let flags = endStream ? flag.endStream : 0;
    for (; block.length > sizes.payloadMax; block = block.subarray(sizes.payloadMax)) {
      this.frame(frameType, flags, id, block.subarray(0, sizes.payloadMax));
      [frameType, flags] = [type.continuation, 0];
    }
    this.frame(frameType, flags | flag.endHeaders, id, block);
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

  private room(length: number): Buffer {
    if (this.at + length <= this.chunk.length) return this.chunk;
    if (this.chunk.length > 0) {
      this.cut();
      // The full chunk stays until it is sent.
      this.hold(chunkBytes);
    }
    this.from = this.at = 0;
    return (this.chunk = Buffer.allocUnsafeSlow(chunkBytes));
  }

  private hold(bytes: number): void {
    if (this.connection.budget.take(bytes)) this.waitingHeld += bytes;
    else this.connection.destroy("budget");
  }

  private cut(): void {
    if (this.at === this.from) return;
    this.pieces.push(this.chunk.subarray(this.from, this.at));
    this.from = this.at;
  }

  private write(): void {
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
  }

  private readonly written = (): void => {
    const wasOverfull = this.isOverfull;
    if (this.writingHeld > 0) this.connection.budget.give(this.writingHeld);
    this.bytes -= this.writingBytes;
    this.writingHeld = this.writingBytes = 0;
    if (this.isEnded) return;
    if (this.bytes === 0) this.from = this.at = 0;
    if (wasOverfull) this.connection.resume();
    this.turn();
  };
}
