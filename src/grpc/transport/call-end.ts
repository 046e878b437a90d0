// When a call must end before its answer is complete: the client's cancellation and the deadline
// become one signal, whose reason is the failure they stand for.

import { AnnalsError } from "../../domain/errors.ts";
import type { CancelListener, CancelSignal } from "../../log/cancellation.ts";

/** What a call that is over before its time is told. */
export interface EndWords {
  readonly cancelled: string;
  readonly deadlineExceeded: string;
}

export class CallEnd implements CancelSignal {
  private readonly words: EndWords;
  private readonly onEnded: (reason: AnnalsError) => void;
  private readonly timer: NodeJS.Timeout | undefined;
  private controller: AbortController | undefined;
  private endReason: AnnalsError | undefined;
  private readonly listeners: CancelListener[] = [];
  private isSettled = false;

  /**
   * `timeoutMs`: until the deadline; absent: there is none. `onEnded` is called once, after those
   * who listen.
   */
  constructor(
    timeoutMs: number | undefined,
    words: EndWords,
    onEnded: (reason: AnnalsError) => void,
  ) {
    this.words = words;
    this.onEnded = onEnded;
    if (timeoutMs === undefined) return;
    this.timer = setTimeout(() => this.end("DEADLINE_EXCEEDED", words.deadlineExceeded), timeoutMs);
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

  /** Why the call is over, if it is. */
  get reason(): AnnalsError | undefined {
    return this.endReason;
  }

  /** For few listeners at a time. */
  addEventListener(_: "abort", listener: CancelListener): void {
    this.listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: CancelListener): void {
    const at = this.listeners.indexOf(listener);
    if (at >= 0) this.listeners.splice(at, 1);
  }

  cancel(): void {
    this.end("CANCELLED", this.words.cancelled);
  }

  /** The caller may not go on. */
  revoke(reason: AnnalsError): void {
    this.endWith(reason);
  }

  /** The answer is complete: neither deadline nor cancellation means anything any more. */
  settle(): void {
    this.isSettled = true;
    clearTimeout(this.timer);
  }

  /** The call must let go of what it holds. */
  refuse(reason: AnnalsError): void {
    this.endWith(reason);
  }

  private end(reason: "CANCELLED" | "DEADLINE_EXCEEDED", message: string): void {
    this.endWith(new AnnalsError({ reason }, message));
  }

  private endWith(reason: AnnalsError): void {
    if (this.isSettled || this.endReason !== undefined) return;
    this.endReason = reason;
    clearTimeout(this.timer);
    this.controller?.abort(reason);
    for (const listener of this.listeners.splice(0)) listener.handleEvent();
    this.onEnded(reason);
  }
}
