// The way in of a streaming call, pulled by its handler. The next message is asked of grpc-js only
// while less waits here than the bound: beyond it the client meets HTTP/2 flow control.

import { AnnalsError } from "../domain/errors.ts";
import type { Stopping } from "./edge.ts";

/**
 * What this file needs of grpc-js's streams. `_read` is Node's seam for who makes a stream flow.
 */
export interface MessageSource {
  _read(size: number): void;
  on(event: "data", listener: (message: Buffer) => void): unknown;
  on(event: "end", listener: () => void): unknown;
}

/** Read ahead of the handler, so that many small messages need not be waited for one by one. */
const aheadBytesMax = 64 * 1024;
const aheadCountMax = 64;

/**
 * The messages of a call, until the client half-closes. Throws the signal's reason where the call
 * is over, STOPPING where the server stops before the client is done.
 */
export class Incoming implements AsyncIterableIterator<Buffer> {
  readonly #signal: AbortSignal;
  readonly #stopping: Stopping;
  readonly #waiting: Buffer[] = [];
  readonly #unwatch: () => void;
  #bytes = 0;
  #asked = 0;
  #came = 0;
  #starved = false;
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #ask: () => void;

  constructor(stream: MessageSource, signal: AbortSignal, stopping: Stopping) {
    this.#signal = signal;
    this.#stopping = stopping;
    const read = stream["_read"].bind(stream);
    this.#ask = (): void => {
      this.#asked++;
      read(1);
    };
    stream["_read"] = (): void => this.#wanted();
    stream.on("data", (message: Buffer) => this.#arrived(message));
    stream.on("end", () => {
      this.#ended = true;
      this.#notify();
    });
    signal.addEventListener("abort", this.#notify, { once: true });
    this.#unwatch = stopping.watch(this.#notify);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    for (;;) {
      if (this.#signal.aborted) throw this.#signal.reason as Error;
      if (this.#stopping.begun && !this.#ended) {
        throw new AnnalsError(
          { reason: "STOPPING" },
          "the server is stopping; what was answered before holds",
        );
      }
      const message = this.#waiting.shift();
      if (message !== undefined) {
        this.#bytes -= message.length;
        if (this.#starved) this.#wanted();
        return { done: false, value: message };
      }
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The handler wants no more. */
  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#unwatch();
    this.#ended = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** grpc-js could take another message; it may have to wait until there is room for it. */
  #wanted(): void {
    const room = this.#bytes < aheadBytesMax && this.#waiting.length < aheadCountMax;
    this.#starved = !room || this.#asked > this.#came;
    if (!this.#starved) this.#ask();
  }

  #arrived(message: Buffer): void {
    this.#came++;
    this.#waiting.push(message);
    this.#bytes += message.length;
    this.#notify();
    if (this.#starved) this.#wanted();
  }

  readonly #notify = (): void => {
    this.#wake?.();
    this.#wake = undefined;
  };
}
