// One connection: its socket, from the preface to the end, and its time limits.
// Source: RFC 9113, sections 3.4, 5.4.1, 6.5, 6.7 and 6.8.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { certificateOf, peerOf } from "../sockets/peer.ts";
import { pieceBytesMax, type ReadPace } from "../sockets/read-pace.ts";
import type { Budget } from "./api.ts";
import type { Http2Limits } from "./limits.ts";
import { Output, type OwnConnection } from "./output.ts";
import { errorCode, Http2Error, ping, preface, setting, sizes, type, uint32 } from "./protocol.ts";
import { Receiver } from "./receiver.ts";

const ignore = (): void => {};
const none: Buffer = Buffer.alloc(0);
/** Calls that pay in one turn: each takes some 20 microseconds. */
const refusedPerTurn = 64;

/** What the connections of a server share. */
export type ConnectionOptions = OwnConnection["options"] & { readonly pace: ReadPace };

export class Connection implements OwnConnection {
  readonly peer: string;
  readonly options: ConnectionOptions;
  readonly budget: Budget;
  readonly output: Output;
  private readonly socket: Socket;
  private readonly onGone: () => void;
  private readonly receiver: Receiver;
  /** `drained`: the client knows which stream is the last. `closing`: what it sends is ignored. */
  private phase: "open" | "draining" | "drained" | "closing" = "open";
  /** The part of the preface that has arrived. Undefined: all of it has. */
  private preface: Buffer | undefined = Buffer.alloc(0);
  private ownBytes = 0;
  private peerCertificate: X509Certificate | undefined;
  /** For each time limit, since when its condition holds. */
  private readonly since = new Map<keyof Http2Limits, number>();
  private now = performance.now();
  private wasHeard = false;
  private wasPinged = false;
  private isOld = false;
  /** Its turn to read has not come: the socket may hold a piece. */
  private isPaced = false;

  constructor(socket: Socket, options: ConnectionOptions, onGone: () => void) {
    const { connectionAgeMs, connectionBytes } = options.limits;
    this.socket = socket;
    this.peer = peerOf(socket);
    this.options = options;
    this.onGone = onGone;
    this.budget = options.budgetOf(this);
    this.output = new Output(socket, this);
    this.receiver = new Receiver(this);
    // Connections that began together do not end together.
    const aheadMs = (Math.random() - 0.5) * 0.2 * connectionAgeMs;
    this.since.set("connectionAgeMs", this.now - aheadMs);
    socket.on("data", this.read).on("end", this.end).on("close", this.gone).on("error", ignore);
    if (this.budget.take(connectionBytes)) this.ownBytes = connectionBytes;
    else this.destroy("budget");
  }

  get certificate(): X509Certificate | undefined {
    return (this.peerCertificate ??= certificateOf(this.socket));
  }

  /** `isMore`: the rest of what was asked for in an earlier turn. */
  relieve(bytes: number, isMore = false): void {
    const streams = [...this.receiver.streams.values()].filter(({ heldBytes }) => heldBytes > 0);
    // The connection itself may hold it: unsent output, and frames that are incomplete.
    if (streams.length === 0) return isMore ? undefined : this.destroy("budget");
    streams.sort((a, b) => b.heldBytes - a.heldBytes);
    let left = bytes;
    for (const stream of streams.slice(0, refusedPerTurn)) {
      if (left <= 0) return;
      left -= stream.heldBytes;
      this.attempt(() => stream.refuse());
    }
    if (left > 0) setImmediate(() => this.relieve(left, true));
  }

  /** Sends GOAWAY. No stream begins any more, and the connection ends with its last stream. */
  drain(): void {
    if (this.phase !== "open") return;
    if (!this.receiver.isSettled) return this.destroy();
    this.phase = "draining";
    this.goAway(sizes.windowMax, errorCode.noError);
    this.output.numbers(type.ping, 0, 0, ping.drain);
  }

  drained(): void {
    if (this.phase !== "draining") return;
    this.phase = "drained";
    this.receiver.mayOpen = false;
    this.goAway(this.receiver.lastId, errorCode.noError);
    if (this.receiver.streams.size === 0) this.end();
  }

  /** Sends GOAWAY with this code, resets all streams, and closes the connection. */
  close(code: number, reason: string): void {
    if (this.phase === "closing") return;
    if (code !== errorCode.noError) this.options.onRefusal?.(reason, this.peer);
    this.goAway(this.receiver.lastId, code, reason);
    this.end();
  }

  /** `reason` is given if the client caused it. */
  destroy(reason?: string): void {
    const isFirst = this.phase !== "closing";
    if (reason !== undefined && isFirst) this.options.onRefusal?.(reason, this.peer);
    this.phase = "closing";
    this.receiver.stop();
    this.socket.destroy();
  }

  tick(now: number): void {
    const seconds = (now - this.now) / 1_000;
    this.now = now;
    const { receiver, phase, isOld, wasHeard } = this;
    const { keepaliveMs, connectionAgeMs } = this.options.limits;
    const { isSettled } = receiver;
    this.output.rest();
    this.wasHeard = false;
    this.wasPinged &&= !wasHeard;
    const calm = errorCode.enhanceYourCalm;
    this.late("lingerMs", phase === "closing", () => this.socket.destroy());
    if (phase === "closing") return;
    receiver.refill(seconds);
    this.late("handshakeMs", !isSettled, (limit) => this.destroy(limit));
    this.late("keepaliveTimeoutMs", this.wasPinged, (limit) => this.destroy(limit));
    this.late("frameMs", receiver.isStuck(), (limit) => this.close(calm, limit));
    const mayPing = keepaliveMs > 0 && isSettled && !wasHeard && !this.wasPinged;
    this.late("keepaliveMs", mayPing, () => {
      this.wasPinged = true;
      this.output.numbers(type.ping, 0, 0, ping.keepalive);
    });
    for (const stream of receiver.streams.values()) this.attempt(() => stream.tick(now));
    this.late("connectionAgeMs", connectionAgeMs > 0, () => {
      this.isOld = isSettled;
      if (isSettled) this.drain();
    });
    this.late("drainPingMs", phase === "draining", () => this.drained());
    this.late("connectionAgeGraceMs", isOld, (limit) => this.close(errorCode.noError, limit));
  }

  /** Runs what a time limit calls for when its condition has held for that time. */
  private late(limit: keyof Http2Limits, holds: boolean, work: (limit: string) => void): void {
    const since = this.since.get(limit) ?? this.now;
    if (!holds) this.since.delete(limit);
    else this.since.set(limit, since);
    if (holds && this.now - since >= this.options.limits[limit]) work(limit);
  }

  forget({ id, headerBytes }: Parameters<OwnConnection["forget"]>[0], isAwaited: boolean): void {
    this.receiver.streams.delete(id);
    this.budget.give(this.options.limits.streamBytes + headerBytes);
    if (isAwaited) this.receiver.await(id);
    if (this.phase === "drained" && this.receiver.streams.size === 0) this.end();
  }

  /** Runs work whose failure, by a client or a handler, ends this connection and no more. */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof Http2Error) return this.close(error.code, error.message);
      this.options.onFault?.(error, this.peer);
      this.close(errorCode.internal, "internal error");
    }
  }

  private readonly read = (bytes: Buffer): void => {
    this.wasHeard = true;
    if (this.phase === "closing") return;
    this.attempt(() => {
      if (this.preface === undefined) this.receiver.read(bytes);
      else this.begin(this.preface, bytes);
    });
    if (this.output.isOverfull) this.socket.pause();
    if (!this.options.pace.took(bytes.length) || this.receiver.hasMore) this.awaitTurn();
  };

  /** Reads on in a later turn, if the budget has room for what the socket reads until then. */
  private awaitTurn(): void {
    if (this.isPaced || this.phase === "closing") return;
    if (!this.budget.take(pieceBytesMax)) return this.readAll();
    this.isPaced = true;
    this.socket.pause();
    this.options.pace.wait(() => {
      this.isPaced = false;
      this.budget.give(pieceBytesMax);
      this.resume();
    });
  }

  /** Reads what is held now, because it must not wait. */
  private readAll(): void {
    this.attempt(() => {
      while (this.receiver.hasMore) this.receiver.read(none);
    });
  }

  /** Reads the preface, and the frames after it. */
  private begin(before: Buffer, read: Buffer): void {
    const bytes = Buffer.concat([before, read]);
    const length = Math.min(bytes.length, preface.length);
    if (preface.compare(bytes, 0, length, 0, length) !== 0) return this.handOver(bytes);
    this.preface = length < preface.length ? bytes : undefined;
    if (this.preface !== undefined) return;
    const { limits } = this.options;
    const settings = new Map<number, number>([
      [setting.maxConcurrentStreams, limits.concurrentStreamsMax],
      [setting.initialWindowSize, limits.streamWindowBytes],
      [setting.maxHeaderListSize, limits.headerListBytesMax],
    ]);
    const payload = [...settings].map((each) => uint32(...each).subarray(2));
    this.output.frame(type.settings, 0, 0, Buffer.concat(payload));
    this.receiver.openWindow();
    this.receiver.read(bytes.subarray(length));
  }

  private handOver(firstBytes: Buffer): void {
    const { socket, options } = this;
    if (options.onOtherProtocol === undefined) return this.destroy("preface");
    socket.pause().off("data", this.read).off("end", this.end);
    this.isPaced = true;
    // In its turn: hundreds of clients may begin at once.
    options.pace.wait(() => {
      if (socket.destroyed) return;
      socket.off("close", this.gone).off("error", ignore);
      this.gone();
      options.onOtherProtocol?.(socket, firstBytes);
    });
  }

  private goAway(lastId: number, code: number, reason = ""): void {
    const payload = Buffer.concat([uint32(lastId, code), Buffer.from(reason)]);
    this.output.frame(type.goAway, 0, 0, payload);
  }

  resume(): void {
    if (this.output.isOverfull || this.isPaced) return;
    if (this.receiver.hasMore) this.read(none);
    if (!this.output.isOverfull && !this.isPaced) this.socket.resume();
  }

  /** Also if the client closes its sending side: no client waits on a half-closed connection. */
  private readonly end = (): void => {
    if (this.phase === "closing") return;
    this.stop();
    this.output.end();
    // Later data is read and ignored. Otherwise the socket would send a reset, which may overtake
    // GOAWAY.
    this.socket.resume();
  };

  private readonly gone = (): void => {
    this.stop();
    this.output.close();
    this.budget.give(this.ownBytes);
    this.onGone();
  };

  private stop(): void {
    this.phase = "closing";
    this.receiver.stop();
    for (const stream of this.receiver.streams.values()) stream.lose(errorCode.cancel, false);
  }
}
