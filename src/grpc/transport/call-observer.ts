// Who is told of calls: what counts them, traces them, or logs the slow ones. The transport knows
// no more of it than this.

import type { StatusCode } from "./status.ts";

export interface ObservedCall {
  /** As `/package.Service/Method`. */
  readonly path: string;
  readonly peer: string;
  readonly isStream: boolean;
  /** The request's headers. */
  readonly headers: ReadonlyMap<string, string>;
}

/** How a call ended. */
export interface CallEnd {
  readonly code: StatusCode;
  readonly ms: number;
  /** Of the request and of the answers, as far as they came and were sent. */
  readonly requestBytes: number;
  readonly answerBytes: number;
}

/** The methods must not throw, and are called for every call: they must be cheap. */
export interface CallObserver {
  begun?(call: ObservedCall): void;
  /** Runs what a call does, so that what happens in it can be told to belong to it. */
  around?<T>(call: ObservedCall, work: () => T): T;
  ended(call: ObservedCall, end: CallEnd): void;
  /** A connection was refused or ended, for this reason. */
  refused?(reason: string): void;
}
