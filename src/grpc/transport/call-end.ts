// The early end of a call, before its answer is complete. The client's cancellation and the
// deadline become one signal, whose reason is the failure to report.

import { AnnalsError } from "../../domain/errors.ts";
import type { CancelListener, CancelSignal } from "../../log/cancellation.ts";

/** Why a call ended early, as the error that its handler sees. */
export interface EndWords {
  readonly cancelled: string;
  readonly deadlineExceeded: string;
}

/** The part of a call that ends it early. */
export abstract class EndableCall implements CancelSignal {
  private readonly words: EndWords;
  private readonly timer: NodeJS.Timeout | undefined;
  private controller: AbortController | undefined;
  private endReason: AnnalsError | undefined;
  private readonly listeners: CancelListener[] = [];
  private isSettled = false;

  /** `timeoutMs` is the time until the deadline. Absent: there is no deadline. */
  constructor(timeoutMs: number | undefined, words: EndWords) {
    this.words = words;
    if (timeoutMs === undefined) return;
    this.timer = setTimeout(() => {
      this.revoke(new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, words.deadlineExceeded));
    }, timeoutMs);
  }

  /** Created on first use, because most calls never wait for anything. */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.endReason !== undefined) this.controller.abort(this.endReason);
    return this.controller.signal;
  }

  get aborted(): boolean {
    return this.endReason !== undefined;
  }

  /** Why the call ended early. Undefined: it has not. */
  get reason(): AnnalsError | undefined {
    return this.endReason;
  }

  /** Removing a listener is a linear search, so a call should have few. */
  addEventListener(_: "abort", listener: CancelListener): void {
    this.listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: CancelListener): void {
    const at = this.listeners.lastIndexOf(listener);
    if (at < 0) return;
    if (at === this.listeners.length - 1) this.listeners.pop();
    else this.listeners.splice(at, 1);
  }

  /** Ends the call: its caller may not go on, or the call must release what it holds. */
  revoke(reason: AnnalsError): void {
    if (this.isSettled || this.endReason !== undefined) return;
    this.endReason = reason;
    clearTimeout(this.timer);
    this.controller?.abort(reason);
    for (const listener of this.listeners.splice(0)) listener.handleEvent();
    this.onEnded(reason);
  }

  protected cancel(): void {
    this.revoke(new AnnalsError({ reason: "CANCELLED" }, this.words.cancelled));
  }

  /** The answer is complete: neither deadline nor cancellation means anything any more. */
  protected disarm(): void {
    this.isSettled = true;
    clearTimeout(this.timer);
  }

  /** Called once, after the listeners. */
  protected abstract onEnded(reason: AnnalsError): void;
}
