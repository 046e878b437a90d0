// What the handlers of the KurrentDB protocol need.

import type { Limits } from "../../../domain/limits.ts";
import type { CallEnvironment } from "../../../grpc/transport/call-environment.ts";
import type { EventLog } from "../../../log/verbs.ts";

export interface KurrentContext {
  readonly log: EventLog;
  readonly limits: Limits;
  readonly environment: CallEnvironment;
  /** The address that clients are told to connect to. */
  readonly advertised: () => { readonly host: string; readonly port: number };
}

/** What most handlers need. */
export type LogContext = Pick<KurrentContext, "log" | "limits">;
