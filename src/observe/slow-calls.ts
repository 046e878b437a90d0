// Logs calls of one answer that took long, each with a request id, and no more of them than
// somebody can read: a disk that stalls makes every call slow at once.

import type { CallEnd, CallObserver, ObservedCall } from "../grpc/transport/call-observer.ts";
import { traceIdOf } from "../grpc/transport/call-environment.ts";
import { newRequestId } from "../grpc/transport/status-details.ts";
import { statusName } from "../grpc/transport/status.ts";

const linesPerSecond = 10;

export interface SlowCallOptions {
  readonly slowMs: number;
  readonly nowMs: () => number;
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class SlowCalls implements CallObserver {
  private readonly options: SlowCallOptions;
  private secondBeganMs = Number.NEGATIVE_INFINITY;
  private lines = 0;
  private notLogged = 0;

  constructor(options: SlowCallOptions) {
    this.options = options;
  }

  /** A stream lasts as long as its client wants. */
  ended(call: ObservedCall, { ms, code, requestBytes, answerBytes }: CallEnd): void {
    if (ms < this.options.slowMs || call.isStream) return;
    if (!this.mayLog()) return void this.notLogged++;
    const { path: method, peer, headers } = call;
    const traceId = traceIdOf(headers.get("traceparent"));
    this.options.warn("slow call", {
      method,
      peer,
      ms: Math.round(ms),
      status: statusName(code),
      requestBytes,
      answerBytes,
      requestId: newRequestId(),
      ...(traceId !== undefined && { traceId }),
      ...(this.notLogged > 0 && { notLogged: this.notLogged }),
    });
    this.notLogged = 0;
  }

  private mayLog(): boolean {
    const nowMs = this.options.nowMs();
    if (nowMs - this.secondBeganMs >= 1_000) {
      this.secondBeganMs = nowMs;
      this.lines = 0;
    }
    return ++this.lines <= linesPerSecond;
  }
}
