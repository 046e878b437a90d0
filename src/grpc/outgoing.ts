// The way out of a streaming call. grpc-js counts messages, not bytes, and tells nobody that a
// cancelled call will never drain: so we count the bytes that are not yet handed to the connection,
// and what waits for room waits for the end of the call as well.

import type { Sink } from "./direct.ts";

export class Outgoing {
  readonly #sink: Pick<Sink, "write">;
  readonly #bytesMax: number;
  #bytes = 0;
  #over = false;
  #wake: (() => void) | undefined;

  constructor(sink: Pick<Sink, "write">, bytesMax: number, signal: AbortSignal) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
    const over = (): void => {
      this.#over = true;
      this.#release();
    };
    if (signal.aborted) over();
    else signal.addEventListener("abort", over, { once: true });
  }

  /** Takes the message. Answers a promise where the next one has to wait for room. */
  send(message: Buffer): Promise<void> | undefined {
    if (this.#over) return undefined;
    this.#bytes += message.length;
    this.#sink.write(message, () => {
      this.#bytes -= message.length;
      if (this.#bytes < this.#bytesMax) this.#release();
    });
    if (this.#bytes < this.#bytesMax) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #release(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
