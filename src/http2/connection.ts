// One connection: its socket, from the preface to the end, and its time limits.
// Source: RFC 9113, sections 3.4, 5.4.1, 6.5, 6.7 and 6.8.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { certificateOf, peerOf } from "../sockets/peer.ts";
import { pieceBytesMax, type ReadPace } from "../sockets/read-pace.ts";
import type { Budget, Http2Options } from "./api.ts";
import type { Http2Limits } from "./limits.ts";
import { Output, type OwnConnection } from "./output.ts";
import { errorCode, Http2Error, ping, preface, setting, sizes, type, uint32 } from "./protocol.ts";
import { Receiver } from "./receiver.ts";

const ignore = (): void => {};
/** Calls that pay in one turn: each takes some 20 microseconds. */
const refusedPerTurn = 64;

/** What the connections of a server share. */
export interface ConnectionParts {
  readonly options: Http2Options;
  readonly limits: Http2Limits;
  readonly pace: ReadPace;
}

export class Connection implements OwnConnection {
  readonly peer: string;
  readonly options: Http2Options;
  readonly limits: Http2Limits;
  readonly budget: Budget;
  readonly output: Output;
  private readonly socket: Socket;
  private readonly onGone: () => void;
  private readonly receiver: Receiver;
  /** `drained`: the client knows which stream is the last. `closing`: what it sends is ignored. */
  private phase: "open" | "draining" | "drained" | "closing" = "open";
  private prefaceBytes = 0;
  private ownBytes = 0;
  private peerCertificate: X509Certificate | undefined;
  /** For each time limit, since when its condition holds. */
  private readonly since = new Map<keyof Http2Limits, number>();
  private wasHeard = false;
  private wasPinged = false;
  private isOld = false;
  private readonly pace: ReadPace;
  /** Its turn to read has not come: the socket may hold a piece. */
  private isPaced = false;
  /** It speaks another protocol, and is handed over. */
  private isLeaving = false;

  constructor(socket: Socket, { options, limits, pace }: ConnectionParts, onGone: () => void) {
    this.socket = socket;
    this.peer = peerOf(socket);
    this.options = options;
    this.limits = limits;
    this.pace = pace;
    this.onGone = onGone;
    this.budget = options.budgetOf(this);
    this.output = new Output(socket, this);
    this.receiver = new Receiver(this);
    // Connections that began together do not end together.
    const aheadMs = (Math.random() - 0.5) * 0.2 * limits.connectionAgeMs;
    this.since.set("connectionAgeMs", performance.now() - aheadMs);
    socket.on("data", this.read).on("end", this.ended).on("close", this.gone).on("error", ignore);
    if (this.budget.take(limits.connectionBytes)) this.ownBytes = limits.connectionBytes;
    else this.destroy("budget");
  }

  get certificate(): X509Certificate | undefined {
    return (this.peerCertificate ??= certificateOf(this.socket));
  }

  get mayOpen(): boolean {
    return this.phase === "open" || this.phase === "draining";
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
    this.socket.destroy();
  }

  tick(now: number, seconds: number): void {
    const { limits, receiver, phase, isOld } = this;
    const { isSettled } = receiver;
    this.output.rest();
    const isSilent = !this.wasHeard;
    this.wasHeard = false;
    this.wasPinged &&= isSilent;
    const calm = errorCode.enhanceYourCalm;
    this.late("lingerMs", phase === "closing", now, () => this.socket.destroy());
    if (phase === "closing") return;
    receiver.refill(seconds);
    this.late("handshakeMs", !isSettled, now, (limit) => this.destroy(limit));
    this.late("keepaliveTimeoutMs", this.wasPinged, now, (limit) => this.destroy(limit));
    this.late("frameMs", receiver.isStuck(), now, (limit) => this.close(calm, limit));
    const mayPing = limits.keepaliveMs > 0 && isSettled && isSilent && !this.wasPinged;
    this.late("keepaliveMs", mayPing, now, () => {
      this.wasPinged = true;
      this.output.numbers(type.ping, 0, 0, ping.keepalive);
    });
    for (const stream of receiver.streams.values()) this.attempt(() => stream.tick(now));
    this.late("connectionAgeMs", limits.connectionAgeMs > 0, now, () => {
      this.isOld = isSettled;
      if (isSettled) this.drain();
    });
    this.late("drainPingMs", phase === "draining", now, () => this.drained());
    this.late("connectionAgeGraceMs", isOld, now, (limit) => this.close(errorCode.noError, limit));
  }

  /** Runs what a time limit calls for when its condition has held for that time. */
  private late(
    limit: keyof Http2Limits,
    holds: boolean,
    now: number,
    work: (limit: string) => void,
  ): void {
    const since = this.since.get(limit) ?? now;
    if (!holds) this.since.delete(limit);
    else this.since.set(limit, since);
    if (holds && now - since >= this.limits[limit]) work(limit);
  }

  forget({ id, headerBytes }: Parameters<OwnConnection["forget"]>[0], isAwaited: boolean): void {
    this.receiver.streams.delete(id);
    this.budget.give(this.limits.streamBytes + headerBytes);
    if (isAwaited) this.receiver.await(id);
    if (this.phase === "drained") this.endWhenDone();
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
      const frames = this.prefaceBytes < preface.length ? this.begin(bytes) : bytes;
      if (frames !== undefined) this.receiver.read(frames);
    });
    if (this.output.isOverfull) this.socket.pause();
    if (!this.pace.took(bytes.length)) this.awaitTurn();
  };

  /** Reads on in a later turn, if the budget has room for what the socket reads until then. */
  private awaitTurn(): void {
    if (
      this.isPaced ||
      this.isLeaving ||
      this.phase === "closing" ||
      !this.budget.take(pieceBytesMax)
    )
      return;
    this.isPaced = true;
    this.socket.pause();
    this.pace.wait(() => {
      this.isPaced = false;
      this.budget.give(pieceBytesMax);
      this.resume();
    });
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
    const { limits } = this;
    this.output.settings([
      [setting.maxConcurrentStreams, limits.concurrentStreamsMax],
      [setting.initialWindowSize, limits.streamWindowBytes],
      [setting.maxHeaderListSize, limits.headerListBytesMax],
    ]);
    this.receiver.giveBack(limits.connectionWindowBytes - sizes.initialWindow);
    return bytes.subarray(end - from);
  }

  private handOver(firstBytes: Buffer): void {
    const { socket, options } = this;
    if (options.onOtherProtocol === undefined) return this.destroy("preface");
    socket.pause().off("data", this.read).off("end", this.ended);
    this.isLeaving = true;
    // In its turn: hundreds of clients may begin at once.
    this.pace.wait(() => {
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
    if (!this.output.isOverfull && !this.isPaced) this.socket.resume();
  }

  /** A client that closes its sending side is gone: no client waits on a half-closed connection. */
  private readonly ended = (): void => {
    if (this.phase !== "closing") this.end();
  };

  private endWhenDone(): void {
    if (this.receiver.streams.size === 0) this.end();
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
    this.receiver.stop();
    for (const stream of this.receiver.streams.values()) stream.lose(errorCode.cancel, false);
  }
}
