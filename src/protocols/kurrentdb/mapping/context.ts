// What the handlers of the KurrentDB protocol need.

import type { Limits } from "../../../domain/limits.ts";
import type { CallEnvironment } from "../../../grpc/transport/call-environment.ts";
import type { Caller, ServedLog } from "../../../log/served-log.ts";

export interface KurrentContext {
  readonly log: ServedLog;
  readonly limits: Limits;
  readonly environment: CallEnvironment;
  /** The address that clients are told to connect to. */
  readonly advertised: () => { readonly host: string; readonly port: number };
}

/** What most handlers need. */
export type LogContext = Pick<KurrentContext, "log" | "limits">;

/** What looks something up on behalf of a call. */
export interface CallerContext extends LogContext {
  readonly caller: Caller;
}

export function onBehalfOf(caller: Caller, { log, limits }: LogContext): CallerContext {
  return { log, limits, caller };
}
