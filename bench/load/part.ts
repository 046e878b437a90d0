// A part of a load while it runs, whatever client drives it.

import type { Calls } from "./call.ts";
import type { LoadJob } from "./job.ts";
import type { Meter } from "./meter.ts";

export interface PartContext {
  readonly job: LoadJob;
  readonly calls: Calls;
  readonly meter: Meter;
  /** The server's head before the load; 0 where nothing of the load needs it. */
  readonly head: number;
}

export interface RunningPart {
  /** Resolves when the measurement may begin: everything is connected, followers have caught up. */
  readonly ready: Promise<void>;
  /** Resolves when a bounded part has done all it had to; absent where a part is not bounded. */
  readonly done?: Promise<void> | undefined;
  /** No new calls; open ones are cut off. */
  stop(): void;
}
