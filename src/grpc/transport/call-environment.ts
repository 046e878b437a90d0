// What a handler sees of its call, and what every call of every service shares: where faults are
// logged, and when the server stops.

import type { AccessControl } from "../../access/access-control.ts";
import type { Need } from "../../access/grants.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { CancelSignal } from "../../log/cancellation.ts";
import type { Caller, Gate, Scheduler } from "../../log/scheduling/scheduler.ts";
import type { ClientMemory } from "../../log/scheduling/client-memory.ts";
import type { Logger } from "../../logger.ts";
import type { LargeAnswers } from "./large-answers.ts";
import { severityOf, statusOf, type CallStatus } from "./status.ts";

export interface CallEnvironment {
  readonly logger: Logger;
  readonly stopping: Stopping;
  /** What is held for clients. */
  readonly memory: ClientMemory;
  readonly largeAnswers: LargeAnswers;
  /** Shares the main thread among connections. */
  readonly scheduler: Scheduler;
  /** Undefined: nobody is asked who they are, and everybody may do everything. */
  readonly access?: AccessControl | undefined;
}

/** What a handler sees of its call. Its gate is its connection's. */
export interface Call extends CancelSignal, Caller {
  readonly gate: Gate;
  /** The client's address. */
  readonly peer: string;
  /** Whether the client's library makes this call again: an earlier attempt may have had effect. */
  readonly isRepeated: boolean;
  /** The same cancellation, for what needs Node's own signal. */
  readonly signal: AbortSignal;
  /** Why the call is over before its time, if it is. */
  readonly reason: AnnalsError | undefined;
  /** Who calls. Empty: nobody asked. */
  readonly principal: string;
  /** Throws PERMISSION_DENIED where the request touches more than the caller may. */
  permit(request: unknown): void;
  /** As `permit`, for what only the handler knows. */
  require(needs: readonly Need[]): void;
  /**
   * Draws from the budget what a handler holds beside its request, until the handler is done or
   * says `release`. Throws OVERLOADED.
   */
  hold(bytes: number): void;
  release(bytes: number): void;
  /** Resolves when the client takes what it is sent; undefined: it does now. */
  room(): Promise<void> | undefined;
}

/** The server begins to stop: calls that would wait for their client end instead. */
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

  /** Answers a function that ends the watch. */
  watch(listener: () => void): () => void {
    if (this.begunCalls) listener();
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** States of the store, in which every append fails alike: one line says it for a while. */
const lasting: ReadonlySet<string> = new Set(["DISK_FULL", "STORE_FAILED", "OUTCOME_UNKNOWN"]);
const toldEveryMs = 10_000;

/** When a reason was logged last, and how many calls have failed for it since. */
const told = new WeakMap<Logger, Map<string, { at: number; notLogged: number }>>();

/** The status of what was thrown, logged as loudly as it deserves. */
export function failed(
  environment: Pick<CallEnvironment, "logger">,
  method: string,
  peer: string,
  error: unknown,
  statusFor: (error: unknown) => CallStatus = statusOf,
): CallStatus {
  const status = statusFor(error);
  const fields = { method, peer, code: status.code };
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

/** How many calls have failed for the reason without a line. Undefined: so does this one. */
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
