// The incoming frames of a connection: their requests, and the rules that a client must keep.
// Source: RFC 9113, sections 4 to 6.

import { HeaderDecoder } from "./hpack-decoder.ts";
import { encodeHeaders } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";
import type { OwnConnection } from "./output.ts";
import { errorCode, flag, Http2Error, ping, setting, sizes, type } from "./protocol.ts";
import { requestHead, type RequestHead } from "./request-headers.ts";
import { Stream } from "./stream.ts";

/** The part of a header block that has arrived. */
interface Block {
  readonly id: number;
  readonly endStream: boolean;
  bytes: Buffer;
  continuations: number;
}

const none: Buffer = Buffer.alloc(0);
const headersTooLarge = encodeHeaders([[":status", "431"]]);
const awaitedCount = 1_024;
/** Requests that one read begins: a few milliseconds of work. The others begin in later turns. */
const openedPerRead = 128;
/** Errors of streams by which we end them for want of room, and not for a fault of the client. */
const withoutFault = new Set<number>([
  errorCode.noError,
  errorCode.refusedStream,
  errorCode.enhanceYourCalm,
]);

/**
 * For a type of frame: of what it is, how much of the control frames' allowance it takes in any
 * case, the length of its payload where that is fixed, and what handles it.
 */
type Rule = readonly [
  of: "stream" | "connection" | "either",
  cost: 0 | 1,
  bytes: number | undefined,
  handle: (to: Receiver, id: number, flags: number, payload: Buffer) => void,
];

export class Receiver {
  readonly streams = new Map<number, Stream>();
  /** The client's SETTINGS are there. */
  isSettled = false;
  lastId = 0;
  /** What is held begins more requests: reads on in a later turn. */
  hasMore = false;
  /** The client may open streams. */
  mayOpen = true;
  private readonly connection: OwnConnection;
  private readonly limits: Http2Limits;
  private readonly decoder: HeaderDecoder<RequestHead>;
  /** A copy of the beginning of a frame. A view would keep the socket's whole buffer. */
  private held = none;
  private isStopped = false;
  private block: Block | undefined;
  private openedCount = 0;
  /** Streams that ended before the client knew. More frames of them may arrive. */
  private readonly awaited = new Set<number>();
  /** Bytes that the client may send. */
  private window: number = sizes.initialWindow;
  /**
   * What is left of the allowances: requests that are reset, and frames without a part of a request
   * or an answer. Each frame with one adds to the latter.
   */
  private readonly left: Record<"resetsBurst" | "controlFramesBurst", number>;
  /** Whether frames have arrived since the last check. */
  private hasMoved = false;

  constructor(connection: OwnConnection) {
    this.connection = connection;
    this.limits = connection.options.limits;
    this.decoder = new HeaderDecoder(this.limits, requestHead);
    this.left = { ...this.limits };
  }

  /** A frame or a header block has begun, and nothing of it has arrived since the last check. */
  isStuck(): boolean {
    const { hasMoved } = this;
    this.hasMoved = false;
    return !hasMoved && !this.hasMore && (this.block !== undefined || this.held.length > 0);
  }

  /** Refills the allowances for this many seconds. */
  refill(seconds: number): void {
    this.spend(-this.limits.controlFramesPerSecond * seconds);
    this.spend(-this.limits.resetsPerSecond * seconds, "resetsBurst");
  }

  private spend(count: number, limit: keyof Receiver["left"] = "controlFramesBurst"): void {
    const { output } = this.connection;
    this.left.controlFramesBurst += output.partFrames * this.limits.controlFramesEarned;
    output.partFrames = 0;
    this.left[limit] = Math.min(this.limits[limit], this.left[limit] - count);
    if (this.left[limit] < 0) throw beyond(limit);
  }

  /**
   * Opens the client's window of the connection again, when half of it is used: what is held of
   * requests is bounded by the streams' windows and the budget.
   */
  openWindow(): void {
    const { connectionWindowBytes } = this.limits;
    if (this.window > connectionWindowBytes / 2) return;
    this.connection.output.numbers(type.windowUpdate, 0, connectionWindowBytes - this.window);
    this.window = connectionWindowBytes;
  }

  /** Remembers a stream that is over, because the client may not know. */
  await(id: number): void {
    this.awaited.add(id);
    const [oldest] = this.awaited.size > awaitedCount ? this.awaited : [];
    if (oldest !== undefined) this.awaited.delete(oldest);
  }

  /**
   * Reads what is held and this, until many requests have begun. Throws an `Http2Error` of the
   * connection, or what a handler threw.
   */
  read(read: Buffer): void {
    const bytes = this.held.length === 0 ? read : Buffer.concat([this.held, read]);
    const openedMax = this.openedCount + openedPerRead;
    let at = 0;
    this.hasMore = false;
    for (let end; !this.isStopped && (end = frameEnd(bytes, at)) <= bytes.length; at = end) {
      this.hasMore = this.openedCount >= openedMax;
      if (this.hasMore) break;
      this.frame(bytes.subarray(at, end));
    }
    this.held = this.isStopped || at === bytes.length ? none : Buffer.from(bytes.subarray(at));
  }

  stop(): void {
    this.isStopped = true;
    this.hasMore = false;
    this.held = none;
    this.connection.budget.give(this.block?.bytes.length ?? 0);
    this.block = undefined;
  }

  private frame(frame: Buffer): void {
    const [kind, flags] = [frame[3] as number, frame[4] as number];
    const id = frame.readUInt32BE(5) & sizes.windowMax;
    const payload = frame.subarray(sizes.head);
    const [of, cost, bytes, handle] = Receiver.rules[kind] ?? Receiver.unknown;
    this.hasMoved = true;
    if (this.block !== undefined && (kind !== type.continuation || id !== this.block.id)) {
      throw violation("a frame inside a block of headers");
    }
    if (!this.isSettled && kind !== type.settings) throw violation("no SETTINGS");
    if (payload.length !== (bytes ?? payload.length)) throw frameSize();
    if (of !== "either" && (of === "stream") === (id === 0)) throw violation("stream");
    if (cost > 0) this.spend(cost);
    try {
      handle(this, id, flags, payload);
    } catch (error) {
      if (!(error instanceof Http2Error) || error.id === 0) throw error;
      this.spend(1, withoutFault.has(error.code) ? "controlFramesBurst" : "resetsBurst");
      this.connection.output.numbers(type.resetStream, id, error.code);
      const stream = this.streams.get(id);
      if (stream === undefined) this.await(id);
      else stream.lose(error.code, true);
    }
  }

  private static readonly unknown: Rule = ["either", 1, undefined, () => {}];
  private static readonly rules: readonly Rule[] = [
    ["stream", 0, undefined, (to, id, flags, payload) => to.data(id, flags, payload)],
    ["stream", 0, undefined, (to, id, flags, payload) => to.headers(id, flags, payload)],
    ["stream", 1, 5, (_, id, _flags, payload) => void behindPriority(id, payload)],
    ["stream", 1, 4, (to, id, _, payload) => to.reset(id, payload.readUInt32BE(0))],
    ["connection", 1, undefined, (to, _, flags, payload) => to.settings(flags, payload)],
    ["stream", 1, undefined, pushed],
    ["connection", 1, 8, (to, _, flags, payload) => to.ping(flags, payload)],
    ["connection", 1, undefined, (to, _, _flags, payload) => to.goAway(payload)],
    ["either", 1, 4, (to, id, _, payload) => to.widen(id, payload.readUInt32BE(0))],
    ["stream", 0, undefined, (to, _, flags, payload) => to.extend(flags, payload)],
  ];

  private data(id: number, flags: number, payload: Buffer): void {
    const part = unpadded(flags, payload);
    this.window -= payload.length;
    if (this.window < 0) throw new Http2Error("flowControl", "connectionWindowBytes");
    this.openWindow();
    const endStream = (flags & flag.endStream) !== 0;
    const stream = this.streams.get(id);
    const isUseful = stream !== undefined && (part.length > 0 || endStream);
    this.spend(isUseful ? -this.limits.controlFramesEarned : 1);
    if (stream !== undefined) stream.receive(part, payload.length, endStream);
    else if (!this.isLate(id)) {
      this.connection.output.numbers(type.resetStream, id, errorCode.streamClosed);
    }
  }

  private headers(id: number, flags: number, payload: Buffer): void {
    const part = unpadded(flags, payload);
    const endStream = (flags & flag.endStream) !== 0;
    this.block = { id, endStream, bytes: none, continuations: -1 };
    this.extend(flags, (flags & flag.priority) === 0 ? part : behindPriority(id, part));
  }

  private extend(flags: number, part: Buffer): void {
    const { block, limits } = this;
    if (block === undefined) throw violation("CONTINUATION of nothing");
    if (++block.continuations > limits.continuationsMax) throw beyond("continuationsMax");
    const isComplete = (flags & flag.endHeaders) !== 0;
    const before = block.bytes.length;
    if (before + part.length > limits.headerBlockBytesMax) throw beyond("headerBlockBytesMax");
    if (!isComplete && !this.connection.budget.take(part.length)) throw beyond("budget");
    block.bytes = isComplete && before === 0 ? part : Buffer.concat([block.bytes, part]);
    if (!isComplete) return;
    this.block = undefined;
    if (before > 0) this.connection.budget.give(before);
    this.fields(block);
  }

  /** Handles a complete header block: a request's headers or trailers. */
  private fields({ id, bytes, endStream }: Block): void {
    const stream = this.streams.get(id);
    const head = this.decoder.meaning(bytes);
    if (stream !== undefined) {
      const isSound = head.areTrailers && endStream;
      if (!isSound && !stream.hasEnded) throw violation("trailers", id);
      return stream.complete();
    }
    if (id % 2 === 1 && id > this.lastId) {
      this.lastId = id;
      this.openedCount++;
      if (!head.isRequest) throw violation("malformed", id);
      return this.open(id, head, endStream);
    }
    if (this.isLate(id)) return this.spend(1);
    const wasOpened = this.openedCount === (this.lastId + 1) / 2;
    throw new Http2Error(wasOpened ? "streamClosed" : "protocol", "HEADERS of an old stream");
  }

  private open(id: number, head: RequestHead, endStream: boolean): void {
    const { streams, connection } = this;
    const isFull = streams.size >= this.limits.concurrentStreamsMax || !this.mayOpen;
    if (isFull || !connection.budget.take(this.limits.streamBytes + head.bytes)) {
      throw new Http2Error("refusedStream", "no room", id);
    }
    this.spend(-this.limits.controlFramesEarned);
    const stream = new Stream(id, connection, head);
    streams.set(id, stream);
    if (head.isTooLarge)
      stream.respond(connection.options.headersTooLarge ?? headersTooLarge, true);
    else stream.handler = connection.options.onStream(stream);
    if (endStream && !stream.isOver) stream.complete();
  }

  private reset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined) return void this.isLate(id);
    this.spend(1, "resetsBurst");
    stream.lose(code, false);
  }

  private ping(flags: number, payload: Buffer): void {
    const { connection } = this;
    if ((flags & flag.ack) === 0) connection.output.frame(type.ping, flag.ack, 0, payload);
    else if (payload.readUInt32BE(4) === ping.drain) connection.drained();
  }

  private goAway(payload: Buffer): void {
    if (payload.length < 8) throw frameSize();
    this.connection.drain();
    this.connection.drained();
  }

  private widen(id: number, value: number): void {
    const increment = value & sizes.windowMax;
    const stream = this.streams.get(id);
    if (id !== 0 && stream === undefined) return void this.isLate(id);
    if (increment === 0) throw violation("WINDOW_UPDATE of 0", id);
    this.connection.output.widen([stream ?? this.connection.output], increment, id);
  }

  private settings(flags: number, payload: Buffer): void {
    const { output } = this.connection;
    const isAck = (flags & flag.ack) !== 0;
    if (payload.length % 6 !== 0 || (isAck && payload.length > 0)) throw frameSize();
    if (isAck) return;
    // Each setting counts as a frame. A change of windows looks at every stream.
    this.spend((payload.length / 6) * (1 + this.streams.size / 64));
    output.frame(type.settings, flag.ack, 0);
    for (let at = 0; at < payload.length; at += 6) {
      const [name, value] = [payload.readUInt16BE(at), payload.readUInt32BE(at + 2)];
      const [min, max, code] = settingBounds.get(name) ?? [0, Infinity, "protocol"];
      if (value < min || value > max) throw new Http2Error(code, `a setting ${name} of ${value}`);
      if (name === setting.initialWindowSize) {
        output.widen(this.streams.values(), value - output.streamWindow);
        output.streamWindow = value;
      }
    }
    this.isSettled = true;
  }

  /** Whether a frame of a stream that is over was sent before the client could know. */
  private isLate(id: number): boolean {
    if (id % 2 === 0 || id > this.lastId) throw violation("an idle stream");
    return this.awaited.has(id);
  }
}

/** The values that a client may set, and the error of others. */
const settingBounds = new Map<number, readonly [number, number, keyof typeof errorCode]>([
  [setting.enablePush, [0, 1, "protocol"]],
  [setting.initialWindowSize, [0, sizes.windowMax, "flowControl"]],
  [setting.maxFrameSize, [sizes.payloadMax, 2 ** 24 - 1, "protocol"]],
]);

/** Where the frame that begins at `at` ends. Infinity: its head is not there yet. */
function frameEnd(bytes: Buffer, at: number): number {
  if (bytes.length - at < sizes.head) return Infinity;
  const length = bytes.readUIntBE(at, 3);
  if (length > sizes.payloadMax) throw frameSize();
  return at + sizes.head + length;
}

/** The payload without its padding. */
function unpadded(flags: number, payload: Buffer): Buffer {
  if ((flags & flag.padded) === 0) return payload;
  const [padding] = payload;
  if (padding === undefined) throw frameSize();
  if (padding >= payload.length) throw violation("more padding than payload");
  return payload.subarray(1, payload.length - padding);
}

/**
 * The payload behind its priority, which is ignored. No stream may depend on itself. Source: RFC
 * 7540, section 5.3.1.
 */
function behindPriority(id: number, payload: Buffer): Buffer {
  if (payload.length < 5) throw frameSize();
  if ((payload.readUInt32BE(0) & sizes.windowMax) === id) throw violation("depends on itself");
  return payload.subarray(5);
}

function pushed(): never {
  throw violation("PUSH_PROMISE from a client");
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
