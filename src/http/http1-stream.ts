// HTTP/1.1 in the clothes of HTTP/2: a connection with one stream at a time, so that what answers
// requests need not know by which of them they came. Node parses; what it would hold for clients is
// drawn from the budget here, as far as it can be seen.

import type { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Account, type Budget } from "../http2/account.ts";
import type { Http2Connection, Http2Stream, StreamHandler } from "../http2/api.ts";
import type { HeaderBlock } from "../http2/hpack-encoder.ts";
import { defaultHttp2Limits } from "../http2/limits.ts";
import { peerOf } from "../http2/peer.ts";
import { errorCode } from "../http2/protocol.ts";

export interface Http1Options {
  budgetOf(connection: Http2Connection): Budget;
  onStream(stream: Http2Stream): StreamHandler;
  onFault(error: unknown, path: string): void;
  /** The connection waits for a request, or no longer. */
  onWaiting(connection: Http1Connection, isWaiting: boolean): void;
}

export interface Http1Times {
  /** From the first byte of a request to the end of its headers, and between parts of an answer. */
  readonly exchangeMs: number;
  /** Between an answer and the next request. */
  readonly idleMs: number;
}

/** What Node holds for a connection: its socket, parser, and a part of a request. */
const connectionBytes = 32 * 1024;
const { streamWindowBytes } = defaultHttp2Limits;

export class Http1Connection implements Http2Connection {
  readonly peer: string;
  readonly account: Account;
  readonly socket: Socket;
  private readonly options: Http1Options;
  private stream: Http1Stream | undefined;
  private isDraining = false;
  private hasServed = false;
  /** When the present wait began, or the client last took or sent something of what is awaited. */
  private sinceMs = performance.now();
  private seenBytes = 0;
  private hasBegun = false;

  constructor(socket: Socket, options: Http1Options) {
    this.socket = socket;
    this.options = options;
    this.peer = peerOf(socket);
    this.account = new Account(options.budgetOf(this));
  }

  /** False: the budget has no room for it, and the socket is closed. */
  begin(): boolean {
    if (!this.account.take(connectionBytes)) {
      this.socket.destroy();
      return false;
    }
    this.socket.once("close", () => {
      this.options.onWaiting(this, false);
      this.stream?.lost();
      this.account.give(connectionBytes);
    });
    this.options.onWaiting(this, true);
    return true;
  }

  get certificate(): X509Certificate | undefined {
    return (this.socket as Partial<TLSSocket>).getPeerX509Certificate?.();
  }

  get streamCount(): number {
    return this.stream === undefined ? 0 : 1;
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    // No client sends requests ahead, and thousands fit into one packet.
    if (this.stream?.isAnswered === false) return void this.socket.destroy();
    if (this.isDraining) response.shouldKeepAlive = false;
    this.options.onWaiting(this, false);
    this.hasServed = true;
    const stream = new Http1Stream(this, request, response);
    this.stream = stream;
    this.attempt(request.url ?? "", () => stream.begin(this.options.onStream(stream)));
  }

  /** The answer of a stream is with the client, as far as the system tells. */
  finished(stream: Http1Stream): void {
    if (this.stream !== stream) return;
    this.stream = undefined;
    if (this.isDraining) this.socket.destroySoon();
    else this.options.onWaiting(this, true);
    this.hasBegun = false;
    this.sinceMs = performance.now();
    this.seenBytes = this.socket.bytesRead;
  }

  /** Closes the connection where its client is too slow with what it has begun, or does nothing. */
  tick(nowMs: number, { exchangeMs, idleMs }: Http1Times): void {
    const { stream, socket } = this;
    if (stream?.isAnswered === false) return;
    const bytes = stream === undefined ? socket.bytesRead : socket.bytesWritten;
    if (bytes !== this.seenBytes && !this.hasBegun) {
      this.sinceMs = nowMs;
      this.seenBytes = bytes;
      // A request that has begun has to end; an answer has to go on.
      this.hasBegun = stream === undefined;
    }
    const isIdle = stream === undefined && this.hasServed && !this.hasBegun;
    if (nowMs - this.sinceMs >= (isIdle ? idleMs : exchangeMs)) socket.destroy();
  }

  relieve(): void {
    const { stream } = this;
    if (stream !== undefined) this.attempt("", () => stream.refuse());
  }

  drain(): void {
    this.isDraining = true;
    if (this.stream === undefined) this.socket.destroy();
  }

  close(): void {
    this.socket.destroy();
  }

  /** Runs work whose failure ends this connection and no more. */
  attempt(path: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.options.onFault(error, path);
      this.socket.destroy();
    }
  }
}

class Http1Stream implements Http2Stream {
  readonly id = 1;
  readonly connection: Http1Connection;
  readonly headers: ReadonlyMap<string, string>;
  unsentBytes = 0;
  isOver = false;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private handler: StreamHandler | undefined;
  private isEnding = false;
  /** The rest of the request is dropped. */
  private isDropping = false;
  private window = streamWindowBytes;

  constructor(connection: Http1Connection, request: IncomingMessage, response: ServerResponse) {
    this.connection = connection;
    this.request = request;
    this.response = response;
    this.headers = headersOf(request);
    response.once("finish", () => {
      this.isOver = true;
      connection.finished(this);
    });
    response.on("error", () => {});
  }

  /** Nothing of the answer is to come. */
  get isAnswered(): boolean {
    return this.isEnding;
  }

  get isBlocked(): boolean {
    return false;
  }

  begin(handler: StreamHandler): void {
    this.handler = handler;
    const { request, connection } = this;
    const path = this.headers.get(":path") ?? "";
    const { "content-length": length = "0", "transfer-encoding": encoding } = request.headers;
    if (length === "0" && encoding === undefined) return handler.onEnd();
    request.on("error", () => {});
    request.on("data", (part: Buffer) => connection.attempt(path, () => this.receive(part)));
    request.on("end", () => {
      if (!this.isDropping && !this.isOver) connection.attempt(path, () => handler.onEnd());
    });
  }

  release(bytes: number): void {
    this.connection.account.give(bytes);
  }

  take(bytes: number): boolean {
    return this.connection.account.take(bytes);
  }

  allow(bytes: number): void {
    this.window += bytes;
    if (this.window > 0 && this.request.isPaused()) this.request.resume();
  }

  respond({ fields }: HeaderBlock, endStream = false): void {
    if (this.isOver) return;
    const [[, status], ...others] = fields as [readonly [string, string], ...typeof fields];
    this.response.writeHead(Number(status), others.flat());
    if (endStream) this.end();
  }

  write(...pieces: readonly Uint8Array[]): boolean {
    if (this.isOver || this.isEnding) return true;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    if (bytes === 0) return true;
    if (!this.connection.account.take(bytes)) return false;
    this.unsentBytes += bytes;
    const { response } = this;
    const last = pieces.length - 1;
    if (last > 0) response.cork();
    for (const [i, piece] of pieces.entries()) {
      response.write(piece, i === last ? () => this.sent(bytes) : undefined);
    }
    if (last > 0) response.uncork();
    return true;
  }

  /** What Node has, it cannot give back. */
  takeBack(): readonly Uint8Array[] {
    return [];
  }

  awaitWindow(): void {}

  endInstead(): void {
    this.reset();
  }

  end(): void {
    if (this.isOver || this.isEnding) return;
    this.isEnding = true;
    this.drop();
    this.response.end();
  }

  reset(): void {
    this.connection.socket.destroy();
  }

  /** The connection has to let go of something. */
  refuse(): void {
    // The answer is complete, but the client does not take it.
    if (this.isEnding) return this.reset();
    this.drop();
    this.handler?.onRefused();
  }

  /** The connection is gone. */
  lost(): void {
    this.connection.account.give(this.unsentBytes);
    this.unsentBytes = 0;
    const wasOpen = !this.isOver && !this.isEnding;
    this.isOver = true;
    if (wasOpen) this.connection.attempt("", () => this.handler?.onReset(errorCode.cancel));
  }

  private receive(part: Buffer): void {
    if (this.isDropping || this.isOver) return;
    this.window -= part.length;
    if (this.window <= 0) this.request.pause();
    if (this.take(part.length)) this.handler?.onData(part);
    else this.refuse();
  }

  private drop(): void {
    this.isDropping = true;
    if (this.request.isPaused()) this.request.resume();
  }

  private sent(bytes: number): void {
    if (this.unsentBytes === 0) return;
    this.unsentBytes -= bytes;
    this.connection.account.give(bytes);
    if (!this.isOver) this.connection.attempt("", () => this.handler?.onSent());
  }
}

/** As HTTP/2 has them: fields of one name are joined. */
function headersOf({ method = "", url = "", rawHeaders }: IncomingMessage): Map<string, string> {
  const headers = new Map([
    [":method", method],
    [":path", url],
  ]);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  headers.set(":authority", headers.get("host") ?? "");
  return headers;
}
