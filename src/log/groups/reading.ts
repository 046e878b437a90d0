// Reads the log for a group: the events of its query, the events of one key again, and single
// events by position. All reads are scheduled like any other read.

import { auditStream } from "../../domain/event.ts";
import { narrowToKey } from "../../domain/group/narrowing.ts";
import { keyOf, type GroupSettings } from "../../domain/group/settings.ts";
import type { GroupEvent } from "../../domain/group/state.ts";
import type { KeyReading } from "../../domain/group/state-machine.ts";
import { matches, selectAll, type Query, type Selection } from "../../domain/query.ts";
import { scanRecord, scanRecordedAt } from "../../domain/record.ts";
import { firstRecord, recordsOf } from "../read/records.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";

export function selectionOf(query: Query): Selection {
  return query.items.length === 0 ? selectAll : { kind: "query", query };
}

/** A record in the form that is offered to the state machine. */
export function groupEvent(record: Uint8Array): GroupEvent {
  const recordedAt = scanRecordedAt(record);
  return { ...scanRecord(record), recordedAt, frame: record };
}

export interface KeyEvents {
  readonly events: readonly GroupEvent[];
  /** There are no other events of the key up to this position. */
  readonly knownThrough: number;
}

/** The next events of one key. Undefined: the signal was aborted. */
export async function readKey(
  source: Source,
  { query, ordering }: GroupSettings,
  { queue, after, to, countMax }: KeyReading,
  signal: AbortSignal,
): Promise<KeyEvents | undefined> {
  const { key } = queue;
  // If every event is its own key, there is only one to find.
  const last = ordering.kind === "none" ? Math.min(Number(key), to) : to;
  const narrowed = narrowToKey(query, ordering, key);
  const read = {
    selection: narrowed === undefined ? selectionOf(query) : selectionOf(narrowed),
    direction: "forwards",
    positions: { first: after + 1, last },
    batchBytes: schedulingPolicy.groupBatchBytes,
  } as const;
  const events: GroupEvent[] = [];
  if (narrowed?.items.length === 0) return { events, knownThrough: to };
  for await (const batch of scheduledRead(source, read, signal)) {
    for (const record of recordsOf(batch)) {
      const event = groupEvent(record);
      if (!matches(query, event) || keyOf(event, event.position, ordering) !== key) continue;
      events.push(event);
      if (events.length === countMax) return { events, knownThrough: event.position };
    }
  }
  return signal.aborted ? undefined : { events, knownThrough: to };
}

/** System events too, which a query selects only by name: a group may have parked one. */
const everyEvent: readonly Selection[] = [
  { kind: "all", withSystem: true },
  { kind: "stream", stream: auditStream, withSystem: true },
];

/** Whatever the group's query is. Undefined: it is not in the log any more. */
export async function recordAt(source: Source, position: number): Promise<Uint8Array | undefined> {
  const positions = { first: position, last: position };
  for (const selection of everyEvent) {
    const record = await firstRecord(source, { selection, direction: "forwards", positions });
    if (record !== undefined) return record;
  }
  return undefined;
}
