// One call: when it must end before its answer is complete. Cancellation by the client and the
// call's deadline become one signal, whose reason is the failure they stand for: the call itself,
// or an AbortSignal.

import type { Metadata } from "@grpc/grpc-js";
import { AnnalsError } from "../../domain/errors.ts";
import type { CancelListener, CancelSignal } from "../../log/cancellation.ts";
import { timeoutHeader } from "./timeout.ts";

/** What this file needs of a call, whoever carries it. */
export interface ServerCall {
  readonly cancelled: boolean;
  getPeer(): string;
  on(event: "cancelled", listener: () => void): unknown;
}

/** What a call that is over before its time is told. */
interface Words {
  readonly cancelled: string;
  readonly deadlineExceeded: string;
}

const unaryWords: Words = {
  cancelled: "the client cancelled the call before it took effect; nothing was stored",
  deadlineExceeded: "the call's deadline passed before it took effect; nothing was stored",
};

/** Of a call that says many things: each of them that was answered holds. */
export const streamingWords: Words = {
  cancelled: "the client cancelled the call",
  deadlineExceeded: "the call's deadline passed; what was answered before holds",
};

export class Call implements CancelSignal {
  /** Called once, after the signal: the place to answer a call that is over before its time. */
  onEnded: ((reason: AnnalsError) => void) | undefined;
  private readonly source: ServerCall;
  private controller: AbortController | undefined;
  private endReason: AnnalsError | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly listeners: CancelListener[] = [];
  private settled = false;

  /** `timeoutMs`: until its deadline; absent: it has none. */
  constructor(source: ServerCall, timeoutMs: number | undefined, words = unaryWords) {
    this.source = source;
    source.on("cancelled", () => this.end("CANCELLED", words.cancelled));
    if (source.cancelled) this.end("CANCELLED", words.cancelled);
    if (timeoutMs === undefined) return;
    const expire = (): void => this.end("DEADLINE_EXCEEDED", words.deadlineExceeded);
    this.timer = setTimeout(expire, timeoutMs);
  }

  /** Made when first asked for: most calls never wait for anything. */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.endReason !== undefined) this.controller.abort(this.endReason);
    return this.controller.signal;
  }

  get aborted(): boolean {
    return this.endReason !== undefined;
  }

  /** For few listeners at a time. */
  addEventListener(_: "abort", listener: CancelListener): void {
    this.listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: CancelListener): void {
    const at = this.listeners.indexOf(listener);
    if (at >= 0) this.listeners.splice(at, 1);
  }

  /** Why the call is over, if it is. */
  get reason(): AnnalsError | undefined {
    return this.endReason;
  }

  /** The address of the client; empty over a Unix socket. */
  get peer(): string {
    return this.source.getPeer();
  }

  /** The answer is complete: neither deadline nor cancellation means anything any more. */
  settle(): void {
    this.settled = true;
    clearTimeout(this.timer);
    this.onEnded = undefined;
  }

  private end(reason: "CANCELLED" | "DEADLINE_EXCEEDED", message: string): void {
    // grpc-js calls every call cancelled in the end, answered or not.
    if (this.settled || this.endReason !== undefined) return;
    this.endReason = new AnnalsError({ reason }, message);
    clearTimeout(this.timer);
    this.controller?.abort(this.endReason);
    for (const listener of this.listeners.splice(0)) listener.handleEvent();
    this.onEnded?.(this.endReason);
  }
}

/** What the door made of a call's `grpc-timeout`. */
export function timeoutOf(metadata: Metadata): number | undefined {
  const [timeout] = metadata.get(timeoutHeader);
  return timeout === undefined ? undefined : Number(timeout);
}
