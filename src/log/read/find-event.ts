// Finds an event by its id. The engine keeps every id for good, or finds the event by the position
// in an id that it made itself, so that this costs two looks and no search.

import { selectAll } from "../../domain/query.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import { inTurn, type Caller } from "../scheduling/scheduler.ts";
import type { FindEventRequest } from "../verbs.ts";
import { firstRecord } from "./records.ts";

/** Its record, or undefined. */
export async function findEvent(
  source: Source,
  { id, stream }: FindEventRequest,
  caller: Caller,
): Promise<Uint8Array | undefined> {
  const { viewBatchBytesMin } = schedulingPolicy;
  const { head, events } = await inTurn(caller, viewBatchBytesMin, () =>
    source.storage.facts({ streams: [], ids: [id], conditions: [] }),
  );
  const position = events.get(id)?.position;
  if (position === undefined) return undefined;
  // The read leaves out events of other streams and, where it is of all, system events.
  return firstRecord(source, {
    selection: stream === undefined ? selectAll : { kind: "stream", stream },
    direction: "forwards",
    positions: { first: position, last: position },
    asOf: head.position,
    withRemovedRecords: true,
  });
}
