// The output of a connection. Frames of one turn are gathered and written to the socket together.
// Short payloads are copied behind the heads of their frames. Long ones are sent without a copy.

import type { Socket } from "node:net";
import type { Budget } from "./api.ts";
import { flag, headBytes, payloadBytesMax, type } from "./protocol.ts";

/** The buffer in which frames are gathered. The first one is a part of `connectionBytes`. */
const chunkBytes = 16 * 1024;
/** Longer payloads are not copied. */
export const copiedBytesMax = 2 * 1024;

export class Output {
  private readonly socket: Socket;
  private readonly budget: Budget;
  private readonly onTaken: () => void;
  private readonly onOverdraft: () => void;
  private chunk: Buffer | undefined;
  /** The part of the chunk from `from` to `at` is in no piece yet. */
  private from = 0;
  private at = 0;
  private pieces: Uint8Array[] = [];
  /** Bytes that the socket has not taken: those that wait here, and those that it is writing. */
  bytes = 0;
  private writingBytes = 0;
  /** How much of what waits, and of what is being written, the budget counts. */
  private waitingHeld = 0;
  private writingHeld = 0;
  private isScheduled = false;
  private isEnded = false;

  /**
   * `onTaken`: the socket has taken what it was given. `onOverdraft`: the budget has no room for
   * the output that the client does not read.
   */
  constructor(socket: Socket, budget: Budget, onTaken: () => void, onOverdraft: () => void) {
    this.socket = socket;
    this.budget = budget;
    this.onTaken = onTaken;
    this.onOverdraft = onOverdraft;
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
    setImmediate(this.flush);
  }

  /** Adds a part of a payload. True: it was copied. False: its budget passes to the output. */
  payload(bytes: Uint8Array, from = 0, to = bytes.length): boolean {
    const length = to - from;
    this.bytes += length;
    if (length > copiedBytesMax) {
      this.cut();
      this.pieces.push(bytes.subarray(from, to));
      this.waitingHeld += length;
      return false;
    }
    const chunk = this.room(length);
    // A few bytes cost less one by one.
    if (length < 32)
      for (let i = 0; i < length; i++) chunk[this.at + i] = bytes[from + i] as number;
    else chunk.set(length === bytes.length ? bytes : bytes.subarray(from, to), this.at);
    this.at += length;
    return true;
  }

  /** A frame whose payload is these 32-bit numbers. */
  numbers(frameType: number, flags: number, id: number, ...values: readonly number[]): void {
    const payload = Buffer.allocUnsafe(values.length * 4);
    for (let i = 0; i < values.length; i++) payload.writeUInt32BE(values[i] as number, i * 4);
    this.whole(frameType, flags, id, payload);
  }

  whole(frameType: number, flags: number, id: number, payload: Buffer): void {
    this.frame(frameType, flags, id, payload.length);
    this.payload(payload);
  }

  /** Adds headers, as copies, which need no budget of their own. */
  headers(id: number, block: Buffer, endStream: boolean): void {
    let at = 0;
    do {
      const end = Math.min(block.length, at + payloadBytesMax);
      const flags = end === block.length ? flag.endHeaders : 0;
      if (at > 0) this.frame(type.continuation, flags, id, end - at);
      else this.frame(type.headers, endStream ? flags | flag.endStream : flags, id, end);
      for (; at < end; at += copiedBytesMax) {
        this.payload(block, at, Math.min(end, at + copiedBytesMax));
      }
    } while (at < block.length);
  }

  /** Sends what waits, then closes the sending side. */
  end(): void {
    this.write();
    this.isEnded = true;
    this.socket.end();
  }

  /** The socket is gone. */
  close(): void {
    this.isEnded = true;
    this.budget.give(this.waitingHeld + this.writingHeld);
    this.waitingHeld = this.writingHeld = 0;
    this.pieces = [];
    this.chunk = undefined;
  }

  /** Frees the chunk of an idle connection. */
  rest(): void {
    if (this.bytes === 0) this.chunk = undefined;
  }

  private room(length: number): Buffer {
    if (this.chunk !== undefined && this.at + length <= chunkBytes) return this.chunk;
    if (this.chunk !== undefined) {
      this.cut();
      // The full chunk stays until it is sent.
      if (this.budget.take(chunkBytes)) this.waitingHeld += chunkBytes;
      else this.onOverdraft();
    }
    this.from = this.at = 0;
    return (this.chunk = Buffer.allocUnsafeSlow(chunkBytes));
  }

  private cut(): void {
    if (this.chunk === undefined || this.at === this.from) return;
    this.pieces.push(this.chunk.subarray(this.from, this.at));
    this.from = this.at;
  }

  private readonly flush = (): void => {
    this.isScheduled = false;
    if (this.writingBytes === 0) this.write();
  };

  private write(): void {
    this.cut();
    const { pieces, socket } = this;
    const last = pieces.pop();
    if (last === undefined || this.isEnded) return;
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
    if (this.writingHeld > 0) this.budget.give(this.writingHeld);
    this.bytes -= this.writingBytes;
    this.writingHeld = this.writingBytes = 0;
    if (this.isEnded) return;
    if (this.bytes === 0) this.from = this.at = 0;
    this.onTaken();
    this.flush();
  };
}
