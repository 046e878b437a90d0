// The way out of a streaming call. grpc-js counts messages, not bytes, and tells nobody that a
// cancelled call will never drain: so we count the bytes that are not yet handed to the connection,
// and what waits for room waits for the end of the call as well. Where all calls together have much
// outstanding, a call waits until it has nothing outstanding itself: it never waits for others.

import type { UnsentBytes } from "../../log/scheduling/unsent-bytes.ts";
import type { Sink } from "./direct.ts";
import type { Message } from "./message-parts.ts";

export class Outgoing {
  private readonly sink: Pick<Sink, "write">;
  private readonly bytesMax: number;
  private readonly unsentBytes: UnsentBytes;
  private bytes = 0;
  private over = false;
  private wake: (() => void) | undefined;

  constructor(
    sink: Pick<Sink, "write">,
    bytesMax: number,
    unsentBytes: UnsentBytes,
    signal: AbortSignal,
  ) {
    this.sink = sink;
    this.unsentBytes = unsentBytes;
    this.bytesMax = bytesMax;
    const over = (): void => {
      this.over = true;
      this.release();
    };
    if (signal.aborted) over();
    else signal.addEventListener("abort", over, { once: true });
  }

  /** Takes the message. Answers a promise where the next one has to wait for room. */
  send(message: Message): Promise<void> | undefined {
    if (this.over) return undefined;
    this.bytes += message.length;
    this.unsentBytes.given(message.length);
    this.sink.write(message, () => {
      this.bytes -= message.length;
      this.unsentBytes.taken(message.length);
      if (this.hasRoom) this.release();
    });
    if (this.hasRoom) return undefined;
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private get hasRoom(): boolean {
    return this.bytes === 0 || (this.bytes < this.bytesMax && !this.unsentBytes.isLarge);
  }

  private release(): void {
    this.wake?.();
    this.wake = undefined;
  }
}
