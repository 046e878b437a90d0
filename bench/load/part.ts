// A running part of a load, for any client.

import type { Calls } from "./call.ts";
import type { LoadJob } from "./job.ts";
import type { Meter } from "./meter.ts";

export interface PartContext {
  readonly job: LoadJob;
  readonly calls: Calls;
  readonly meter: Meter;
  /** The server's head before the load. 0 if the load does not need it. */
  readonly head: number;
}

export interface RunningPart {
  /**
   * Resolves when the measurement can begin: everything is connected, and subscribers have caught
   * up.
   */
  readonly ready: Promise<void>;
  /** Resolves when a bounded part has finished. Absent: the part is not bounded. */
  readonly done?: Promise<void> | undefined;
  /** Makes no new calls and cuts off open ones. */
  stop(): void;
}
