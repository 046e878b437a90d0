// The way in of a pipe, pulled by its handler. What has come waits here; more is asked of the
// connection only while less waits than the bound: beyond it the client meets HTTP/2 flow control.

import { AnnalsError } from "../../domain/errors.ts";
import type { Stopping } from "./call-environment.ts";

/** Read ahead of the handler, so that many small messages need not be waited for one by one. */
const aheadBytesMax = 64 * 1024;
const aheadCountMax = 64;

/**
 * The messages of a call, all that wait at a time, until the client half-closes. Throws what was
 * wrong with the request, the signal's reason where the call is over, STOPPING where the server
 * stops before the client is done.
 */
export class Incoming implements AsyncIterableIterator<readonly Buffer[]> {
  private readonly signal: AbortSignal;
  private readonly stopping: Stopping;
  private readonly whenRoom: () => void;
  private readonly unwatch: () => void;
  private waiting: Buffer[] = [];
  private bytes = 0;
  private ended = false;
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  /** `whenRoom` is called whenever what waited has been taken. */
  constructor(signal: AbortSignal, stopping: Stopping, whenRoom: () => void) {
    this.signal = signal;
    this.stopping = stopping;
    this.whenRoom = whenRoom;
    signal.addEventListener("abort", this.notify, { once: true });
    this.unwatch = stopping.watch(this.notify);
  }

  /** No more should be pushed; what is pushed all the same is taken. */
  get isFull(): boolean {
    return this.bytes >= aheadBytesMax || this.waiting.length >= aheadCountMax;
  }

  push(message: Buffer): void {
    if (this.ended) return;
    this.waiting.push(message);
    this.bytes += message.length;
    this.notify();
  }

  end(): void {
    this.ended = true;
    this.notify();
  }

  /** Thrown once what came before has been taken. */
  fail(failure: Error): void {
    this.failure = failure;
    this.notify();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<readonly Buffer[], undefined>> {
    for (;;) {
      if (this.signal.aborted) throw this.signal.reason as Error;
      if (this.stopping.begun && !this.ended) {
        throw new AnnalsError(
          { reason: "STOPPING" },
          "the server is stopping; what was answered before holds",
        );
      }
      if (this.waiting.length > 0) {
        const value = this.waiting;
        this.waiting = [];
        this.bytes = 0;
        this.whenRoom();
        return { done: false, value };
      }
      if (this.failure !== undefined) throw this.failure;
      if (this.ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** The handler wants no more. */
  return(): Promise<IteratorResult<readonly Buffer[], undefined>> {
    this.unwatch();
    this.ended = true;
    this.waiting = [];
    this.bytes = 0;
    this.whenRoom();
    return Promise.resolve({ done: true, value: undefined });
  }

  private readonly notify = (): void => {
    this.wake?.();
    this.wake = undefined;
  };
}

/**
 * What is needed here of grpc-js's streams. `_read` is Node's seam for who makes a stream flow.
 */
export interface MessageSource {
  _read(size: number): void;
  on(event: "data", listener: (message: Buffer) => void): unknown;
  on(event: "end", listener: () => void): unknown;
}

/** The messages of a call that grpc-js carries: each is asked for. */
export function incomingThrough(
  stream: MessageSource,
  signal: AbortSignal,
  stopping: Stopping,
): Incoming {
  const read = stream["_read"].bind(stream);
  let asked = 0;
  let came = 0;
  let starved = false;
  /** grpc-js could take another message; it may have to wait until there is room for it. */
  const wanted = (): void => {
    starved = incoming.isFull || asked > came;
    if (starved) return;
    asked++;
    read(1);
  };
  const again = (): void => {
    if (starved) wanted();
  };
  const incoming = new Incoming(signal, stopping, again);
  stream["_read"] = wanted;
  stream.on("data", (message) => {
    came++;
    incoming.push(message);
    again();
  });
  stream.on("end", () => incoming.end());
  return incoming;
}
