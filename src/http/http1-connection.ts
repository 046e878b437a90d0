// A connection by HTTP/1.1: one request and its answer after another. What comes is read strictly,
// what is refused ends the connection, and what is held for the client is drawn from its budget.
// Source: RFC 9112, sections 2.2, 6.3, 9.3 and 9.6.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Budget, Http2Connection, Http2Stream, StreamHandler } from "../http2/api.ts";
import { certificateOf, peerOf } from "../sockets/peer.ts";
import { answerHead } from "./answer-head.ts";
import { Http1Stream, type StreamConnection } from "./http1-stream.ts";
import { bodyReader, type RequestBody } from "./request-body.ts";
import { BadRequest, checkPart, requestHead } from "./request-head.ts";

export interface Http1Options {
  readonly limits: Http1Limits;
  budgetOf(connection: Http2Connection): Budget;
  onStream(stream: Http2Stream): StreamHandler;
  onFault(error: unknown, path: string): void;
  /** The connection waits for a request, or no longer. */
  onWaiting(connection: Http1Connection, isWaiting: boolean): void;
}

export interface Http1Limits {
  readonly headerBytesMax: number;
  /**
   * From the first byte of a request to the end of its headers, and between parts of an answer
   * whose client takes none or has closed its sending side.
   */
  readonly exchangeMs: number;
  /** Between an answer and the next request. */
  readonly idleMs: number;
  /** For the client to close the connection when everything is said. */
  readonly lingerMs: number;
}

/** What is held for a connection: its socket, the beginning of a request, a head. */
const connectionBytes = 32 * 1024;
/** What a client sends before its last request is answered is dropped, up to this size. */
const aheadBytesMax = 64 * 1024;
const none: Buffer = Buffer.alloc(0);
const endOfHead = Buffer.from("\r\n\r\n");
const ignore = (): void => {};

export class Http1Connection implements Http2Connection, StreamConnection {
  readonly peer: string;
  readonly budget: Budget;
  readonly socket: Socket;
  readonly limits: Http1Limits;
  private readonly options: Http1Options;
  /** `answer`: the request is complete. `closing`: everything is said, and nothing more is read. */
  private phase: "head" | "body" | "answer" | "closing" = "head";
  /** The beginning of a head: a copy, as a view would keep the socket's whole buffer. */
  private held = none;
  private body: RequestBody | undefined;
  private stream: Http1Stream | undefined;
  private aheadBytes = 0;
  private isLast = false;
  private hasServed = false;
  /** When the present wait began, and what was read until it was looked at last. */
  private sinceMs = performance.now();
  private seenBytes = 0;

  constructor(socket: Socket, options: Http1Options) {
    this.socket = socket;
    this.options = options;
    this.limits = options.limits;
    this.peer = peerOf(socket);
    this.budget = options.budgetOf(this);
  }

  /** Serves the paused socket, of which `firstBytes` were read. */
  begin(firstBytes: Buffer): void {
    const { socket, options } = this;
    if (!this.budget.take(connectionBytes)) return void socket.destroy();
    socket.on("close", () => {
      options.onWaiting(this, false);
      this.stream?.lost();
      this.budget.give(connectionBytes);
    });
    socket.on("data", this.read).on("end", this.ended).on("error", ignore);
    socket.on("timeout", () => socket.destroy());
    options.onWaiting(this, true);
    if (firstBytes.length > 0) this.read(firstBytes);
    // It may have ended before it was handed over.
    if (socket.readableEnded) this.ended();
    socket.resume();
  }

  get certificate(): X509Certificate | undefined {
    return certificateOf(this.socket);
  }

  /** Whether this is the last answer. A body that is under way is not waited for. */
  get endsWithAnswer(): boolean {
    return this.isLast || this.phase === "body";
  }

  /** The answer of a stream is with the client, as far as the system tells. */
  finished(stream: Http1Stream): void {
    if (this.stream !== stream) return;
    this.stream = undefined;
    this.body = undefined;
    // The rest of a body may have come since the client was told that this is the end.
    if (this.endsWithAnswer || stream.isLast) return this.end();
    this.phase = "head";
    this.waits();
    this.options.onWaiting(this, true);
  }

  /** Closes the connection where its client is too slow with what it has begun, or does nothing. */
  tick(nowMs: number): void {
    const { phase, held, socket, stream } = this;
    if (stream !== undefined) this.attempt(() => stream.tick(nowMs));
    if (phase === "body" || phase === "answer") return;
    const { exchangeMs, idleMs, lingerMs } = this.limits;
    const { bytesRead } = socket;
    // A client may go on sending for a while what is not read any more.
    const isSilent = bytesRead === this.seenBytes;
    this.seenBytes = bytesRead;
    const isIdle = phase === "head" && this.hasServed && held.length === 0;
    const ms = isIdle ? idleMs : phase === "closing" && isSilent ? lingerMs : exchangeMs;
    if (nowMs - this.sinceMs >= ms) socket.destroy();
  }

  relieve(): void {
    const { stream } = this;
    if (stream !== undefined) this.attempt(() => stream.refuse());
  }

  drain(): void {
    this.isLast = true;
    if (this.phase === "head") this.socket.destroy();
  }

  close(): void {
    this.socket.destroy();
  }

  /** Runs work whose failure ends this connection and no more. */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof BadRequest) return this.refuse(error);
      this.options.onFault(error, this.stream?.headers.get(":path") ?? "");
      this.socket.destroy();
    }
  }

  private readonly read = (bytes: Buffer): void => {
    this.attempt(() => {
      let rest = bytes;
      while (rest.length > 0 && this.phase !== "closing") rest = this.readSome(rest);
    });
  };

  /** Answers what is left. */
  private readSome(bytes: Buffer): Buffer {
    if (this.phase === "head") return this.readHead(bytes);
    if (this.phase === "body") return this.readBody(bytes);
    // No client sends requests ahead, and a request that was smuggled in would come so. Some end a
    // body with an empty line, which belongs to nothing.
    if (bytes.equals(endOfHead.subarray(2))) return none;
    this.isLast = true;
    this.aheadBytes += bytes.length;
    if (this.aheadBytes > aheadBytesMax) this.socket.destroy();
    return none;
  }

  private readHead(read: Buffer): Buffer {
    const { held } = this;
    const { headerBytesMax } = this.limits;
    const bytes = held.length > 0 ? Buffer.concat([held, read]) : read;
    if (held.length === 0) this.waits();
    // An empty line before a request is ignored.
    const start = bytes[0] === 0x0d && bytes[1] === 0x0a ? 2 : 0;
    const end = bytes.indexOf(endOfHead, Math.max(start, held.length - 3));
    if ((end < 0 ? bytes.length : end) > headerBytesMax) {
      throw new BadRequest(`the head of the request has more than ${headerBytesMax} bytes`, 431);
    }
    if (end < 0) {
      checkPart(bytes.toString("latin1", Math.max(0, held.length - 1)));
      this.held = held.length > 0 ? bytes : Buffer.from(bytes);
      return none;
    }
    this.held = none;
    this.request(bytes.toString("latin1", start, end + 2), end + 4 === bytes.length);
    return bytes.subarray(end + 4);
  }

  private request(text: string, isAll: boolean): void {
    const head = requestHead(text);
    const body = bodyReader(head.body);
    this.body = body;
    this.isLast ||= head.isLast;
    this.hasServed = true;
    this.phase = body.isComplete ? "answer" : "body";
    this.options.onWaiting(this, false);
    const stream = new Http1Stream(this, head);
    this.stream = stream;
    stream.begin(this.options.onStream(stream));
    if (body.isComplete) stream.complete();
    else if (head.awaitsContinue && isAll && !stream.hasResponded) {
      this.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
  }

  private readBody(bytes: Buffer): Buffer {
    const body = this.body as RequestBody;
    const { data, rest } = body.read(bytes);
    if (body.isComplete) this.phase = "answer";
    if (data.length > 0) this.stream?.receive(data);
    if (body.isComplete) this.stream?.complete();
    return rest;
  }

  /** Answers what is no request, and reads no further: nobody knows where the next one begins. */
  private refuse({ status, message }: BadRequest): void {
    const { stream, socket } = this;
    this.stream = undefined;
    stream?.lost();
    const body = Buffer.from(`${message}\n`);
    const fields = [
      [":status", `${status}`],
      ["content-type", "text/plain; charset=utf-8"],
      ["content-length", `${body.length}`],
    ] as const;
    if (stream?.hasResponded === true) return void socket.destroy();
    this.options.onWaiting(this, false);
    socket.write(Buffer.concat([Buffer.from(answerHead(fields, "close"), "latin1"), body]));
    this.end();
  }

  /** Says that nothing more comes. What the client still sends is dropped: so it reads this. */
  private end(): void {
    this.phase = "closing";
    this.held = none;
    this.waits();
    this.socket.end();
    this.socket.resume();
  }

  private waits(): void {
    this.sinceMs = performance.now();
    this.seenBytes = this.socket.bytesRead;
  }

  /**
   * The client has closed its sending side. Behind a complete request it may wait for the answer; a
   * client that is gone is found out by the next part of it, or by silence.
   */
  private readonly ended = (): void => {
    if (this.phase === "answer") {
      this.isLast = true;
      this.socket.setTimeout(this.limits.exchangeMs);
    } else if (this.phase !== "closing") this.socket.destroy();
  };
}
