// What a handler sees of its call, and what every call of every service shares: where faults are
// logged, and when the server stops.

import type { AccessControl } from "../../access/access-control.ts";
import type { Need } from "../../access/grants.ts";
import type { Proof } from "../../access/principal.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { Steps } from "../../domain/steps.ts";
import type { CancelSignal } from "../../log/cancellation.ts";
import type { Caller, Gate, Scheduler } from "../../log/scheduling/scheduler.ts";
import type { ClientMemory } from "../../log/scheduling/client-memory.ts";
import type { Logger } from "../../logger.ts";
import type { CallObserver } from "./call-observer.ts";
import type { LargeAnswers } from "./large-answers.ts";
import type { PrefixedMessages } from "./message-parts.ts";
import { severityOf, statusOf, type CallStatus } from "./status.ts";
import { newRequestId, requestInfo } from "./status-details.ts";
import type { Turns } from "./turns.ts";

export interface CallEnvironment {
  readonly logger: Logger;
  readonly stopping: Stopping;
  /** The budget for everything that is held in memory for clients. */
  readonly memory: ClientMemory;
  readonly largeAnswers: LargeAnswers;
  /** Of compressed messages, and of long ones in JSON: only a few are read or made at a time. */
  readonly inflations: Turns;
  readonly longMessages: Turns;
  /** Shares the main thread among connections. */
  readonly scheduler: Scheduler;
  /** Undefined: the server does not authenticate callers, and allows every call. */
  readonly access?: AccessControl | undefined;
  /** Undefined: nobody is told of calls. */
  readonly observer?: CallObserver | undefined;
}

/** What a handler sees of its call. Its gate is its connection's. */
export interface Call extends CancelSignal, Caller {
  readonly gate: Gate;
  /** The same for all calls of a connection. */
  readonly connection: object;
  /** The client's address. */
  readonly peer: string;
  /** The header `traceparent`, if the client's call is part of a trace. */
  readonly traceParent: string | undefined;
  /** Whether the client library repeats the call: an earlier attempt may have taken effect. */
  readonly isRepeated: boolean;
  /** The cancellation as an `AbortSignal`, for Node's own functions. */
  readonly signal: AbortSignal;
  /** Why the call ended early. Undefined: it has not. */
  readonly reason: AnnalsError | undefined;
  /** The caller's name. Empty: the server does not authenticate callers. */
  readonly principal: string;
  /** What was proven of the caller. Undefined: the server does not authenticate callers. */
  readonly proof: Proof | undefined;
  readonly headers: ReadonlyMap<string, string>;
  /** Throws PERMISSION_DENIED if the caller may not touch what the request touches. */
  permit(request: unknown): void;
  /** Like `permit`, for requirements that only the handler knows. */
  require(needs: readonly Need[]): void;
  /**
   * Draws from the budget what a handler holds besides its request, until the handler ends or
   * calls `release`. Throws OVERLOADED.
   */
  hold(bytes: number): void;
  release(bytes: number): void;
  /** Does long work step by step, each in its turn; at once, if its first step is all of it. */
  inSteps<T>(steps: Steps<T>): T | Promise<T>;
  /** Sends the headers of the answer now. Some clients wait for them before they go on. */
  sendHeaders(): void;
  /** Resolves when the client takes more of the answer. Undefined: it does so now. */
  room(): Promise<void> | undefined;
  /** Sends an answer while the handler yields none. False: the client does not take it now. */
  offer(answer: PrefixedMessages): boolean;
}

/** The start of the server's shutdown. Calls that would wait for their client end then. */
export class Stopping {
  private readonly listeners = new Set<() => void>();
  private begunCalls = false;

  get begun(): boolean {
    return this.begunCalls;
  }

  begin(): void {
    this.begunCalls = true;
    for (const listener of this.listeners) listener();
    this.listeners.clear();
  }

  /** Returns a function that ends the watch. */
  watch(listener: () => void): () => void {
    if (this.begunCalls) listener();
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The failure where a call or a connection may not hold any more. */
export function tooMuchHeld(): AnnalsError {
  const message =
    "client_memory_bytes: the server holds what it may for its clients, and this one holds the " +
    "most: try again";
  return new AnnalsError({ reason: "OVERLOADED", retryAfterMs: 1_000 }, message);
}

/** States of the store in which every append fails. Each is logged once in a while. */
const lasting: ReadonlySet<string> = new Set(["DISK_FULL", "STORE_FAILED", "OUTCOME_UNKNOWN"]);
const toldEveryMs = 10_000;

/** When a reason was last logged, and how many calls have failed with it since. */
const told = new WeakMap<Logger, Map<string, { at: number; notLogged: number }>>();

/** As much of a call as is told of its failure. */
export interface FailedCall {
  readonly peer: string;
  readonly traceParent?: string | undefined;
}

/** The status of a thrown error, with a request id. It is also logged at the level that fits it. */
export function failed(
  environment: Pick<CallEnvironment, "logger">,
  method: string,
  { peer, traceParent }: FailedCall,
  error: unknown,
  statusFor: (error: unknown) => CallStatus = statusOf,
): CallStatus {
  const known = statusFor(error);
  const requestId = newRequestId();
  // Other protocols have details of their own.
  const added = statusFor === statusOf ? [requestInfo(requestId)] : [];
  const status = { ...known, details: [...known.details, ...added] };
  const traceId = traceIdOf(traceParent);
  const trace = traceId === undefined ? {} : { traceId };
  const fields = { method, peer, code: status.code, requestId, ...trace };
  const severity = severityOf(error);
  if (!(error instanceof AnnalsError) || !lasting.has(error.reason)) {
    environment.logger[severity]("call failed", { ...fields, error });
    return status;
  }
  const { reason, message: why, cause } = error;
  const notLogged = notLoggedSince(environment.logger, reason);
  if (notLogged === undefined) return status;
  environment.logger[severity]("call failed", {
    ...fields,
    reason,
    why,
    ...(cause instanceof Error && { cause: cause.message }),
    ...(notLogged > 0 && { notLogged }),
  });
  return status;
}

/** Source: https://www.w3.org/TR/trace-context/#traceparent-header */
export function traceIdOf(traceParent: string | undefined): string | undefined {
  if (traceParent === undefined) return undefined;
  return /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(-|$)/.exec(traceParent)?.[1];
}

/** The number of failures that were not logged before this one. Undefined: do not log this one. */
function notLoggedSince(logger: Logger, reason: string): number | undefined {
  const reasons = told.get(logger) ?? new Map<string, { at: number; notLogged: number }>();
  told.set(logger, reasons);
  const now = performance.now();
  const last = reasons.get(reason);
  if (last !== undefined && now - last.at < toldEveryMs) {
    last.notLogged++;
    return undefined;
  }
  reasons.set(reason, { at: now, notLogged: 0 });
  return last?.notLogged ?? 0;
}
