// The interface to callers: a server's options, its connections and streams, and their handlers.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { HeaderBlock } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";

export interface Http2Options {
  readonly limits?: Partial<Http2Limits>;
  /** The budget of a new connection. */
  budgetOf(connection: Http2Connection): Budget;
  /**
   * Whose connections are counted together, by the peer. Absent: those of one address.
   */
  networkOf?(peer: string): string;
  /** Called when the headers of a request have arrived. Returns the handler of its stream. */
  onStream(stream: Http2Stream): StreamHandler;
  /** The answer to a request whose headers are beyond their limit. Absent: 431. */
  readonly headersTooLarge?: HeaderBlock;
  /** Called when a peer meets a limit, breaks the protocol, or is not accepted. For logs. */
  onRefusal?(reason: string, peer: string): void;
  /** Called with an error that a handler threw. The connection ends. */
  onFault?(error: unknown, peer: string): void;
  /**
   * Called with a paused socket whose client does not speak HTTP/2. Absent: the socket is closed.
   * Under TLS, `http/1.1` is offered only if this is present.
   */
  onOtherProtocol?(socket: Socket, firstBytes: Buffer): void;
}

/** The budget for the bytes that a connection holds. Several connections may share one pool. */
export interface Budget {
  /** False: there is no room, and nothing was taken. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export interface Http2Connection {
  /** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
  readonly peer: string;
  /** The client's certificate, under mutual TLS. */
  readonly certificate: X509Certificate | undefined;
  /** What the connection and its streams hold is drawn from it. */
  readonly budget: Budget;
  /** Ends the streams that hold the most (`onRefused`), until that frees this many bytes. */
  relieve(bytes: number): void;
}

/** Handles the events of one stream, in order, until `onReset` or until the caller resets it. */
export interface StreamHandler {
  /**
   * A part of the request. The caller must call `release` for every byte. The part is a view of up
   * to 64 KiB that were read from the socket: copy what is small and kept for long.
   */
  onData(part: Buffer): void;
  /** The request is complete. */
  onEnd(): void;
  /**
   * The budget has no room for the next part of the request, or for what the stream holds. The rest
   * of the request is dropped. The handler must release what it holds and answer with a refusal.
   */
  onRefused(): void;
  /** The socket has taken some of the answer, or a window has opened: see `unsentBytes`. */
  onSent(): void;
  /**
   * Called each second. `isUntaken`: nothing was sent in it of what is unsent, as a window is
   * closed.
   */
  onTick?(nowMs: number, isUntaken: boolean): void;
  /** The client, a fault, or the end of the connection ended the stream before its answer. */
  onReset(errorCode: number): void;
}

/** After the stream is over, each method except `release` does nothing. */
export interface Http2Stream {
  readonly id: number;
  readonly connection: Http2Connection;
  readonly headers: ReadonlyMap<string, string>;
  /** The part of the answer that was written, but that the socket does not have yet. */
  readonly unsentBytes: number;
  /** Whether a flow-control window of the client is closed, so that no data can be sent. */
  readonly isBlocked: boolean;
  readonly isOver: boolean;
  /** The caller has let go of this many bytes of the request, or of those drawn by `take`. */
  release(bytes: number): void;
  /** Draws bytes that the caller holds for the stream from the budget. False: there is no room. */
  take(bytes: number): boolean;
  /** Allows the client to send this many more bytes. */
  allow(bytes: number): void;
  /** Sends the headers. Must be called once, before `write` and `end`. */
  respond(headers: HeaderBlock, endStream?: boolean): void;
  /**
   * Sends the pieces without a copy, so they must not change. What cannot be sent at once waits,
   * and the caller bounds how much that is. False: the budget has no room; nothing was taken.
   */
  write(...pieces: readonly Uint8Array[]): boolean;
  /** As `write`, of bytes that many streams are sent: what frames them is made once for all. */
  writeShared(bytes: Uint8Array): boolean;
  /** Takes back what is unsent, which the stream holds no longer. */
  takeBack(): readonly Uint8Array[];
  /** Asks for `onSent` when the windows are open. Of many streams, a few are called at a time. */
  awaitWindow(): void;
  /** Drops what is unsent, and ends with these trailers instead of earlier ones. */
  endInstead(trailers: HeaderBlock): void;
  /** Completes the answer. What the client still sends is dropped for a while, then reset. */
  end(trailers?: HeaderBlock): void;
  reset(errorCode: number): void;
}
