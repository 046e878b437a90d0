// What every handler needs.

import type { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import type { ServedLog } from "../../log/served-log.ts";
import type { Conversion } from "../convert/append-message.ts";
import type { Paging } from "../convert/page.ts";
import type { Handlers } from "../transport/methods.ts";
import type { CallEnvironment } from "../transport/call-environment.ts";

export interface ServiceContext extends Conversion, Paging {
  readonly log: ServedLog;
  readonly environment: CallEnvironment;
  readonly serverVersion: string;
  /** Whether the trace of an append's call is recorded with its events. */
  readonly recordsTraces: boolean;
  /** Microseconds since 1970, UTC. */
  readonly startedAt: number;
  /** Makes a follower a store of its own. Absent: this server is no follower. */
  readonly promote?: (() => Promise<Promotion>) | undefined;
}

interface Promotion {
  readonly storeId: string;
  readonly epoch: string;
  readonly head: number;
  readonly isExact: boolean;
}

/** The methods of the event store are implemented in several files. */
export type EventStoreMethods = Partial<Handlers<typeof EventStoreService>>;
