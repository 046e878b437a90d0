// One connection: its socket, from the preface to the end, and its time limits.
// Source: RFC 9113, sections 3.4, 5.4.1, 6.5, 6.7 and 6.8.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Budget, Http2Options } from "./api.ts";
import type { Http2Limits } from "./limits.ts";
import { Output, type SendingConnection } from "./output.ts";
import { pieceBytesMax, smallPieceBytesMax, type ReadPace } from "./read-pace.ts";
import {
  drainPing,
  errorCode,
  Http2Error,
  initialWindowBytes,
  keepalivePing,
  preface,
  setting,
  type,
  windowBytesMax,
} from "./protocol.ts";
import { peerOf } from "./peer.ts";
import { Receiver, type ReceivingConnection } from "./receiver.ts";
import type { Stream } from "./stream.ts";

const ignore = (): void => {};
/** Calls that pay in one turn: each takes some 20 microseconds. */
const refusedPerTurn = 64;

/** What the connections of a server share. */
export interface ConnectionParts {
  readonly options: Http2Options;
  readonly limits: Http2Limits;
  readonly pace: ReadPace;
}

export class Connection implements ReceivingConnection, SendingConnection {
  readonly peer: string;
  readonly limits: Http2Limits;
  readonly budget: Budget;
  readonly output: Output;
  mayOpen = true;
  private readonly socket: Socket;
  private readonly options: Http2Options;
  private readonly onGone: () => void;
  private readonly receiver: Receiver;
  /** `drained`: the client knows which stream is the last. `closing`: what it sends is ignored. */
  private phase: "open" | "draining" | "drained" | "closing" = "open";
  private prefaceBytes = 0;
  /** The client opens no more streams. */
  private isLast = false;
  private ownBytes = 0;
  private peerCertificate: X509Certificate | undefined;
  private readonly jitter = 0.9 + 0.2 * Math.random();
  /** For each time limit, since when its condition holds. */
  private readonly since = new Map<keyof Http2Limits, number>();
  private wasHeard = false;
  private wasPinged = false;
  private readonly pace: ReadPace;
  /** Its turn to read has not come: the socket may hold a piece. */
  private isPaced = false;

  constructor(socket: Socket, { options, limits, pace }: ConnectionParts, onGone: () => void) {
    this.socket = socket;
    this.peer = peerOf(socket);
    this.options = options;
    this.limits = limits;
    this.pace = pace;
    this.onGone = onGone;
    this.budget = options.budgetOf(this);
    this.output = new Output(socket, this);
    this.receiver = new Receiver(this, options);
    socket.on("data", this.read).on("end", this.ended).on("close", this.gone).on("error", ignore);
    if (this.budget.take(limits.connectionBytes)) this.ownBytes = limits.connectionBytes;
    else this.destroy("budget");
  }

  get certificate(): X509Certificate | undefined {
    this.peerCertificate ??= (this.socket as Partial<TLSSocket>).getPeerX509Certificate?.();
    return this.peerCertificate;
  }

  relieve(bytes: number): void {
    // The connection itself may hold it: unsent output, and frames that are incomplete.
    if (this.refuseLargest(bytes) === bytes) this.destroy("budget");
  }

  /** Refuses streams of which each holds at least half as much as the largest. */
  private refuseLargest(bytes: number): number {
    const streams = [...this.receiver.streams.values()];
    const mostBytes = streams.reduce((most, { heldBytes }) => Math.max(most, heldBytes), 0);
    let left = bytes;
    let count = 0;
    for (const stream of streams) {
      const { heldBytes } = stream;
      if (heldBytes === 0 || heldBytes < mostBytes / 2) continue;
      if (left <= 0 || ++count > refusedPerTurn) break;
      left -= heldBytes;
      this.attempt(() => stream.refuse());
    }
    if (left > 0 && left < bytes) setImmediate(() => this.refuseLargest(left));
    return left;
  }

  /** Sends GOAWAY. No stream begins any more, and the connection ends with its last stream. */
  drain(): void {
    if (this.phase !== "open") return;
    if (!this.receiver.isSettled) return this.destroy();
    this.phase = "draining";
    this.goAway(windowBytesMax, errorCode.noError);
    this.output.numbers(type.ping, 0, 0, drainPing);
  }

  drained(): void {
    if (this.phase !== "draining") return;
    this.phase = "drained";
    this.mayOpen = false;
    this.goAway(this.receiver.lastId, errorCode.noError);
    this.endWhenDone();
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
    if (reason !== undefined) this.options.onRefusal?.(reason, this.peer);
    this.phase = "closing";
    this.mayOpen = false;
    this.socket.destroy();
  }

  tick(now: number, seconds: number): void {
    const { limits, receiver } = this;
    receiver.refill(seconds);
    this.output.rest();
    if (this.phase === "closing") {
      if (this.lasts("lingerMs", true, now)) this.socket.destroy();
      return;
    }
    const isSilent = !this.wasHeard;
    this.wasHeard = false;
    this.wasPinged &&= isSilent;
    const { isSettled, isAcknowledged } = receiver;
    if (this.lasts("handshakeMs", !isSettled, now)) return this.destroy("handshakeMs");
    if (this.lasts("keepaliveTimeoutMs", this.wasPinged, now)) {
      return this.destroy("keepaliveTimeoutMs");
    }
    if (this.lasts("settingsAckMs", isSettled && !isAcknowledged, now)) {
      return this.close(errorCode.settingsTimeout, "settingsAckMs");
    }
    if (this.lasts("frameMs", receiver.isStuck(), now)) {
      return this.close(errorCode.enhanceYourCalm, "frameMs");
    }
    const mayPing = limits.keepaliveMs > 0 && isSettled && isSilent && !this.wasPinged;
    if (this.lasts("keepaliveMs", mayPing, now)) {
      this.wasPinged = true;
      this.output.numbers(type.ping, 0, 0, keepalivePing);
    }
    for (const stream of receiver.streams.values()) this.attempt(() => stream.tick(now));
    const isOld = this.lasts("connectionAgeMs", limits.connectionAgeMs > 0, now, this.jitter);
    if (isOld) this.drain();
    if (this.lasts("drainPingMs", this.phase === "draining", now)) this.drained();
    const isTooOld = this.lasts("connectionAgeGraceMs", isOld, now);
    if (isTooOld) this.close(errorCode.noError, "connectionAgeGraceMs");
  }

  /** Whether the condition of a time limit has held for that time. */
  private lasts(limit: keyof Http2Limits, holds: boolean, now: number, factor = 1): boolean {
    if (!holds) return this.since.delete(limit) && false;
    const since = this.since.get(limit) ?? now;
    this.since.set(limit, since);
    return now - since >= this.limits[limit] * factor;
  }

  forget({ id, headerBytes }: Stream, isAwaited: boolean): void {
    this.receiver.streams.delete(id);
    this.budget.give(this.limits.streamBytes + headerBytes);
    if (isAwaited) this.receiver.await(id);
    if (this.isLast || this.phase !== "open") this.endWhenDone();
  }

  last(): void {
    this.isLast = true;
    this.endWhenDone();
  }

  /** Runs work whose failure, by a client or a handler, ends this connection and no more. */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (error instanceof Http2Error) return this.close(error.code, error.message);
    this.options.onFault?.(error, this.peer);
    this.close(errorCode.internal, "internal error");
  }

  private readonly read = (bytes: Buffer): void => {
    this.wasHeard = true;
    if (this.phase === "closing") return;
    try {
      const frames = this.prefaceBytes < preface.length ? this.begin(bytes) : bytes;
      if (frames !== undefined) this.receiver.read(frames);
      if (this.output.isOverfull) this.socket.pause();
    } catch (error) {
      this.fail(error);
    }
    if (bytes.length > smallPieceBytesMax && !this.pace.took(bytes.length)) this.awaitTurn();
  };

  /** Reads on in a later turn, if the budget has room for what the socket reads until then. */
  private awaitTurn(): void {
    if (this.isPaced || this.phase === "closing" || !this.budget.take(pieceBytesMax)) return;
    this.isPaced = true;
    this.socket.pause();
    this.pace.wait(this.readOn);
  }

  private readonly readOn = (): void => {
    this.leavePace();
    this.resume();
  };

  private leavePace(): void {
    if (!this.isPaced) return;
    this.isPaced = false;
    this.pace.forget(this.readOn);
    this.budget.give(pieceBytesMax);
  }

  /** Reads the preface. Returns the bytes after it. */
  private begin(bytes: Buffer): Buffer | undefined {
    const from = this.prefaceBytes;
    const end = Math.min(preface.length, from + bytes.length);
    if (preface.compare(bytes, 0, end - from, from, end) !== 0) {
      this.handOver(Buffer.concat([preface.subarray(0, from), bytes]));
      return undefined;
    }
    this.prefaceBytes = end;
    if (end < preface.length) return undefined;
    const { limits, output } = this;
    output.settings([
      [setting.maxConcurrentStreams, limits.concurrentStreamsMax],
      [setting.initialWindowSize, limits.streamWindowBytes],
      [setting.maxHeaderListSize, limits.headerListBytesMax],
    ]);
    this.receiver.giveBack(limits.connectionWindowBytes - initialWindowBytes);
    return bytes.subarray(end - from);
  }

  private handOver(firstBytes: Buffer): void {
    const { socket, options } = this;
    if (options.onOtherProtocol === undefined) return this.destroy("preface");
    socket.pause().off("data", this.read).off("end", this.ended).off("close", this.gone);
    socket.off("error", ignore);
    this.gone();
    options.onOtherProtocol(socket, firstBytes);
  }

  private goAway(lastId: number, code: number, reason = ""): void {
    const payload = Buffer.concat([Buffer.alloc(8), Buffer.from(reason)]);
    payload.writeUInt32BE(lastId, 0);
    payload.writeUInt32BE(code, 4);
    this.output.whole(type.goAway, 0, 0, payload);
  }

  resume(): void {
    if (!this.output.isOverfull && !this.isPaced) this.socket.resume();
  }

  /** A client that closes its sending side is gone: no client waits on a half-closed connection. */
  private readonly ended = (): void => {
    if (this.phase !== "closing") this.end();
  };

  private endWhenDone(): void {
    const isDone = this.isLast || this.phase === "drained";
    if (isDone && this.receiver.streams.size === 0 && this.phase !== "closing") this.end();
  }

  private end(): void {
    this.stop();
    this.output.end();
    // Later data is read and ignored. Otherwise the socket would send a reset, which may overtake
    // GOAWAY.
    this.socket.resume();
  }

  private readonly gone = (): void => {
    this.stop();
    this.output.close();
    this.budget.give(this.ownBytes);
    this.onGone();
  };

  private stop(): void {
    this.phase = "closing";
    this.mayOpen = false;
    this.leavePace();
    this.receiver.stop();
    for (const stream of this.receiver.streams.values()) stream.lose(errorCode.cancel, false);
  }
}
