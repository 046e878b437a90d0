// The incoming frames of a connection: their requests, and the rules that a client must keep.
// Source: RFC 9113, sections 4 to 6.

import type { Http2Options } from "./api.ts";
import { HeaderDecoder } from "./hpack-decoder.ts";
import { encodeHeaders } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";
import {
  drainPing,
  errorCode,
  flag,
  headBytes,
  Http2Error,
  initialWindowBytes,
  payloadBytesMax,
  setting,
  type,
  windowBytesMax,
} from "./protocol.ts";
import { areTrailers, requestHead, type RequestHead } from "./request-headers.ts";
import { Stream, type StreamConnection } from "./stream.ts";

/** The part of a connection that frames change. */
export interface ReceivingConnection extends StreamConnection {
  readonly mayOpen: boolean;
  /** The client has acknowledged the drain, and opens no more streams. */
  drained(): void;
  /** The client opens no more streams. */
  last(): void;
}

/** The part of a header block that has arrived. */
interface Block {
  readonly id: number;
  readonly endStream: boolean;
  readonly dependsOnItself: boolean;
  bytes: Buffer;
  continuations: number;
}

const none: Buffer = Buffer.alloc(0);
const headersTooLarge = encodeHeaders([[":status", "431"]]);
/** The length of the payload, by frame type, where it is fixed. */
const fixedBytes: Readonly<Record<number, number>> = {
  [type.priority]: 5,
  [type.resetStream]: 4,
  [type.ping]: 8,
  [type.windowUpdate]: 4,
};
/** Frames of the connection; all others but WINDOW_UPDATE are of streams. */
const connectionTypes: ReadonlySet<number> = new Set([type.settings, type.ping, type.goAway]);
const awaitedCount = 1_024;

export class Receiver {
  readonly streams = new Map<number, Stream>();
  /** The client's SETTINGS are there, and it has acknowledged ours. */
  isSettled = false;
  isAcknowledged = false;
  lastId = 0;
  private readonly connection: ReceivingConnection;
  private readonly options: Http2Options;
  private readonly limits: Http2Limits;
  private readonly decoder: HeaderDecoder<RequestHead>;
  /** A copy of the beginning of a frame. A view would keep the socket's whole buffer. */
  private held = none;
  private isStopped = false;
  private block: Block | undefined;
  private openedCount = 0;
  /** Streams that ended before the client knew. More frames of them may arrive. */
  private readonly awaited = new Set<number>();
  /** Bytes that the client may send, and bytes to return to its window. */
  private window = initialWindowBytes;
  private returnedBytes = 0;
  private resetsLeft: number;
  /** Frames without a part of a request or an answer. Each frame with one adds to what is left. */
  private controlFramesLeft: number;
  /** Whether frames have arrived since the last check. */
  private hasMoved = false;

  constructor(connection: ReceivingConnection, options: Http2Options) {
    this.connection = connection;
    this.options = options;
    this.limits = connection.limits;
    this.decoder = new HeaderDecoder(this.limits, requestHead);
    this.resetsLeft = this.limits.resetsBurst;
    this.controlFramesLeft = this.limits.controlFramesBurst;
  }

  /** A frame or a header block has begun, and nothing of it has arrived since the last check. */
  isStuck(): boolean {
    const { hasMoved } = this;
    this.hasMoved = false;
    return !hasMoved && (this.block !== undefined || this.held.length > 0);
  }

  /** Refills the allowances for this many seconds. */
  refill(seconds: number): void {
    const { limits, connection } = this;
    const { controlFramesBurst, controlFramesPerSecond, controlFramesEarned } = limits;
    const earned = connection.output.partFrames * controlFramesEarned;
    connection.output.partFrames = 0;
    const left = this.controlFramesLeft + earned + controlFramesPerSecond * seconds;
    this.controlFramesLeft = Math.min(controlFramesBurst, left);
    const resetsLeft = this.resetsLeft + limits.resetsPerSecond * seconds;
    this.resetsLeft = Math.min(limits.resetsBurst, resetsLeft);
  }

  /** Returns this many bytes to the client's window of the connection. */
  giveBack(bytes: number): void {
    this.returnedBytes += bytes;
    if (this.returnedBytes < this.limits.connectionWindowBytes / 2) return;
    this.window += this.returnedBytes;
    this.connection.output.numbers(type.windowUpdate, 0, this.returnedBytes);
    this.returnedBytes = 0;
  }

  /** Remembers a stream that is over, because the client may not know. */
  await(id: number): void {
    this.awaited.add(id);
    const [oldest] = this.awaited.size > awaitedCount ? this.awaited : [];
    if (oldest !== undefined) this.awaited.delete(oldest);
  }

  /** Throws an `Http2Error` of the connection, or what a handler threw. */
  read(read: Buffer): void {
    for (let at = 0; at < read.length && !this.isStopped;) {
      const { held } = this;
      const bytes = held.length === 0 ? frameBytes(read, at) : 0;
      if (bytes > 0 && at + bytes <= read.length) {
        this.frame(read.subarray(at, at + bytes));
        at += bytes;
        continue;
      }
      // First the head of the frame is put together, then the rest.
      const to = Math.min(read.length, at + (frameBytes(held, 0) || headBytes) - held.length);
      const more = Buffer.concat([held, read.subarray(at, to)]);
      at = to;
      this.held = more.length === frameBytes(more, 0) ? none : more;
      if (this.held === none) this.frame(more);
    }
  }

  stop(): void {
    this.isStopped = true;
    this.held = none;
    this.connection.budget.give(this.block?.bytes.length ?? 0);
    this.block = undefined;
  }

  private frame(frame: Buffer): void {
    const [kind, flags] = [frame[3] as number, frame[4] as number];
    const id = frame.readUInt32BE(5) & windowBytesMax;
    const payload = frame.subarray(headBytes);
    this.hasMoved = true;
    if (this.block !== undefined && (kind !== type.continuation || id !== this.block.id)) {
      throw violation("a frame inside a block of headers");
    }
    if (!this.isSettled && kind !== type.settings) throw violation("no SETTINGS");
    if (payload.length !== (fixedBytes[kind] ?? payload.length)) throw frameSize();
    const isKnown = kind <= type.continuation && kind !== type.windowUpdate;
    if (isKnown && connectionTypes.has(kind) !== (id === 0)) throw violation("stream");
    try {
      this.handle(kind, flags, id, payload);
    } catch (error) {
      if (!(error instanceof Http2Error) || error.id === 0) throw error;
      this.spendReset();
      this.connection.output.numbers(type.resetStream, id, error.code);
      const stream = this.streams.get(id);
      if (stream === undefined) this.await(id);
      else stream.lose(error.code, true);
    }
  }

  private handle(kind: number, flags: number, id: number, payload: Buffer): void {
    switch (kind) {
      case type.data:
        return this.data(flags, id, payload);
      case type.headers:
        return this.headers(flags, id, payload);
      case type.continuation:
        if (this.block === undefined) throw violation("CONTINUATION of nothing");
        if (++this.block.continuations > this.limits.continuationsMax) {
          throw beyond("continuationsMax");
        }
        return this.extend(this.block, payload, flags);
      case type.resetStream:
        return this.reset(id, payload.readUInt32BE(0));
      case type.pushPromise:
        throw violation("PUSH_PROMISE from a client");
      case type.goAway:
        if (payload.length < 8) throw frameSize();
        return this.connection.last();
    }
    this.spend(1);
    switch (kind) {
      case type.priority:
        if (dependency(payload) === id) throw violation("depends on itself", id);
        break;
      case type.settings:
        this.settings(flags, payload);
        break;
      case type.ping:
        if ((flags & flag.ack) === 0) {
          this.connection.output.whole(type.ping, flag.ack, 0, payload);
        } else if (payload.readUInt32BE(4) === drainPing) this.connection.drained();
        break;
      case type.windowUpdate:
        this.widen(id, payload.readUInt32BE(0) & windowBytesMax);
        break;
    }
  }

  private data(flags: number, id: number, payload: Buffer): void {
    const part = (flags & flag.padded) === 0 ? payload : unpadded(payload);
    this.window -= payload.length;
    if (this.window < 0) throw new Http2Error("flowControl", "connectionWindowBytes");
    // At once, because the stream's window and the budget bound what is held of the stream.
    this.giveBack(payload.length);
    const endStream = (flags & flag.endStream) !== 0;
    const stream = this.streams.get(id);
    const isUseful = stream !== undefined && (part.length > 0 || endStream);
    this.spend(isUseful ? -this.limits.controlFramesEarned : 1);
    if (stream !== undefined) stream.receive(part, payload.length, endStream);
    else if (!this.isLate(id)) {
      this.connection.output.numbers(type.resetStream, id, errorCode.streamClosed);
    }
  }

  private headers(flags: number, id: number, payload: Buffer): void {
    const part = (flags & flag.padded) === 0 ? payload : unpadded(payload);
    const priorityBytes = (flags & flag.priority) === 0 ? 0 : 5;
    if (part.length < priorityBytes) throw frameSize();
    const dependsOnItself = priorityBytes > 0 && dependency(part) === id;
    const endStream = (flags & flag.endStream) !== 0;
    this.block = { id, endStream, dependsOnItself, bytes: none, continuations: 0 };
    this.extend(this.block, part.subarray(priorityBytes), flags);
  }

  private extend(block: Block, part: Buffer, flags: number): void {
    const isComplete = (flags & flag.endHeaders) !== 0;
    const before = block.bytes.length;
    if (before + part.length > this.limits.headerBlockBytesMax) throw beyond("headerBlockBytesMax");
    if (!isComplete && !this.connection.budget.take(part.length)) throw beyond("budget");
    block.bytes = isComplete && before === 0 ? part : Buffer.concat([block.bytes, part]);
    if (!isComplete) return;
    this.block = undefined;
    if (before > 0) this.connection.budget.give(before);
    this.fields(block);
  }

  /** Handles a complete header block: a request's headers or trailers. */
  private fields({ id, bytes, endStream, dependsOnItself }: Block): void {
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      const isSound = areTrailers(this.decoder.decode(bytes)) && endStream && !dependsOnItself;
      if (!isSound && !stream.hasEnded) throw violation("trailers", id);
      return stream.complete();
    }
    const head = this.decoder.meaning(bytes);
    if (id % 2 === 1 && id > this.lastId) {
      this.lastId = id;
      this.openedCount++;
      if (head.problem === "malformed" || dependsOnItself) throw violation("malformed", id);
      return this.open(id, head, endStream);
    }
    if (this.isLate(id)) return;
    const wasOpened = this.openedCount === (this.lastId + 1) / 2;
    throw new Http2Error(wasOpened ? "streamClosed" : "protocol", "HEADERS of an old stream");
  }

  private open(id: number, head: RequestHead, endStream: boolean): void {
    const { streams, options, connection } = this;
    const { concurrentStreamsMax, streamBytes, controlFramesEarned } = this.limits;
    const isFull = streams.size >= concurrentStreamsMax || !connection.mayOpen;
    if (isFull || !connection.budget.take(streamBytes + head.bytes)) {
      this.spend(1);
      this.await(id);
      return connection.output.numbers(type.resetStream, id, errorCode.refusedStream);
    }
    this.spend(-controlFramesEarned);
    const stream = new Stream(id, connection, head);
    streams.set(id, stream);
    if (head.problem === undefined) stream.handler = options.onStream(stream);
    else stream.respond(options.headersTooLarge ?? headersTooLarge, true);
    if (endStream && !stream.isOver) stream.complete();
  }

  private reset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      this.spendReset();
      stream.lose(code, false);
    } else if (!this.isLate(id)) this.spend(1);
  }

  private widen(id: number, increment: number): void {
    const stream = this.streams.get(id);
    if (id !== 0 && stream === undefined) return void this.isLate(id);
    if (increment === 0) throw violation("WINDOW_UPDATE of 0", id);
    this.connection.output.widen(stream, increment);
  }

  private settings(flags: number, payload: Buffer): void {
    const { output } = this.connection;
    const isAck = (flags & flag.ack) !== 0;
    if (payload.length % 6 !== 0 || (isAck && payload.length > 0)) throw frameSize();
    if (payload.length / 6 > this.limits.settingsPerFrameMax) throw beyond("settingsPerFrameMax");
    this.isAcknowledged ||= isAck;
    if (isAck) return;
    // A change of windows looks at every stream.
    this.spend(this.streams.size / 64);
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      switch (payload.readUInt16BE(at)) {
        case setting.enablePush:
          if (value > 1) throw violation("ENABLE_PUSH");
          break;
        case setting.initialWindowSize:
          output.changeStreamWindow(value, this.streams.values());
          break;
        case setting.maxFrameSize:
          if (value < payloadBytesMax || value >= 2 ** 24) throw violation("MAX_FRAME_SIZE");
          break;
      }
    }
    this.isSettled = true;
    output.frame(type.settings, flag.ack, 0, 0);
    output.pump();
  }

  /** Whether a frame of a stream that is over was sent before the client could know. */
  private isLate(id: number): boolean {
    if (id % 2 === 0 || id > this.lastId) throw violation("an idle stream");
    return this.awaited.has(id);
  }

  private spend(count: number): void {
    const { output } = this.connection;
    this.controlFramesLeft += output.partFrames * this.limits.controlFramesEarned - count;
    output.partFrames = 0;
    if (this.controlFramesLeft < 0) throw beyond("controlFramesBurst");
  }

  private spendReset(): void {
    if (--this.resetsLeft < 0) throw beyond("resetsBurst");
  }
}

/** The bytes of the frame whose head is at `at`. 0: the head is not there yet. */
function frameBytes(bytes: Buffer, at: number): number {
  if (bytes.length - at < headBytes) return 0;
  const length = bytes.readUIntBE(at, 3);
  if (length > payloadBytesMax) throw frameSize();
  return headBytes + length;
}

/** The payload without its padding. */
function unpadded(payload: Buffer): Buffer {
  const [padding] = payload;
  if (padding === undefined) throw frameSize();
  if (padding >= payload.length) throw violation("more padding than payload");
  return payload.subarray(1, payload.length - padding);
}

/** The stream that another depends on. */
function dependency(bytes: Buffer): number {
  return bytes.readUInt32BE(0) & windowBytesMax;
}

function beyond(limit: keyof Http2Limits | "budget"): Http2Error {
  return new Http2Error("enhanceYourCalm", limit);
}

function violation(message: string, id = 0): Http2Error {
  return new Http2Error("protocol", message, id);
}

function frameSize(): Http2Error {
  return new Http2Error("frameSize", "a frame of a wrong length");
}
