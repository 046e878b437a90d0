// What the handlers of the event store's methods stand on.

import type { EventLog } from "../../log/verbs.ts";
import type { Conversion } from "../convert/event.ts";
import type { CallEnvironment } from "../transport/call-environment.ts";

export interface Context extends Conversion {
  readonly log: EventLog;
  readonly environment: CallEnvironment;
  readonly serverVersion: string;
  /** Microseconds since 1970, UTC. */
  readonly startedAt: number;
}
