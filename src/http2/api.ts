// What callers see: a server's options, its connections and streams, and who is told of them.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Account, Budget } from "./account.ts";
import type { HeaderBlock } from "./hpack-encoder.ts";
import type { Http2Limits } from "./limits.ts";

export interface Http2Options {
  readonly limits?: Partial<Http2Limits>;
  /** The budget of a new connection. */
  budgetOf(connection: Http2Connection): Budget;
  /** A request has come. What this answers is told the rest. */
  onStream(stream: Http2Stream): StreamHandler;
  /** A peer met a limit, broke the protocol, or could not be accepted. For logs and counters. */
  onRefusal?(reason: string, peer: string): void;
  /** What a handler threw; the connection ends. */
  onFault?(error: unknown, peer: string): void;
  /**
   * What has begun on the socket is not HTTP/2; the socket is paused. Absent: it is closed. Under
   * TLS, `http/1.1` is offered only where this is present.
   */
  onOtherProtocol?(socket: Socket, firstBytes: Buffer): void;
}

export interface Http2Connection {
  /** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
  readonly peer: string;
  /** The client's, under mutual TLS. */
  readonly certificate: X509Certificate | undefined;
  /** What the connection holds. What a caller holds for a stream is drawn by the stream. */
  readonly account: Account;
  readonly streamCount: number;
  /** Ends the streams that hold the most (`onRefused`), until they have held so many bytes. */
  relieve(bytes: number): void;
  /** GOAWAY: no new streams, and the end when the open ones are over. */
  drain(): void;
  /** GOAWAY with this code, and the end. Its streams are reset. */
  close(errorCode: number, reason: string): void;
}

/** Told of one stream, in order, until `onReset` or until the caller resets the stream itself. */
export interface StreamHandler {
  /**
   * A part of the request, which is held until the caller says `release`: it must, for every byte.
   * It is a view of up to 64 KiB read from the socket: copy what is small and kept for long.
   */
  onData(part: Buffer): void;
  /** The request is complete. */
  onEnd(): void;
  /**
   * The budget has no room for the next part of the request, or none for what the stream holds. The
   * rest of the request is dropped; the answer is to be a refusal, and nothing is to be held.
   */
  onRefused(): void;
  /** Some of what waited is with the socket, or a window has opened: see `unsentBytes`. */
  onSent(): void;
  /** Over before its answer was complete: by the client, by a fault, or with its connection. */
  onReset(errorCode: number): void;
}

/** Each method may be called when the stream is over, and does nothing then (but `release`). */
export interface Http2Stream {
  readonly id: number;
  readonly connection: Http2Connection;
  readonly headers: ReadonlyMap<string, string>;
  /** Of the answer: written, and not given to the socket. */
  readonly unsentBytes: number;
  /** One of the client's windows is closed: it takes no data now. */
  readonly isBlocked: boolean;
  readonly isOver: boolean;
  /** So many bytes of the request, or of what was taken, are not held any more. */
  release(bytes: number): void;
  /** Draws from the budget what a caller holds for the stream. False: there is no room. */
  take(bytes: number): boolean;
  /** The client may send so many bytes more. */
  allow(bytes: number): void;
  /** Once, first. */
  respond(headers: HeaderBlock, endStream?: boolean): void;
  /**
   * The pieces are sent as they are: they must not change any more. What cannot be sent at once
   * waits: the caller bounds it. False: the budget has no room, and nothing was taken.
   */
  write(...pieces: readonly Uint8Array[]): boolean;
  /** `onSent` follows once the windows are open; where many wait, a few at a time. */
  awaitWindow(): void;
  /** Drops what is unsent, and ends with these trailers instead of what was said before. */
  endInstead(trailers: HeaderBlock): void;
  /** The answer is complete. What the client still sends is dropped for a while, then reset. */
  end(trailers?: HeaderBlock): void;
  reset(errorCode: number): void;
}
