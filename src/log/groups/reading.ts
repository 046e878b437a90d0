// How a group reads the log: what its query selects, the events of one key again, one event by its
// position. By the same cursor as every read, through the same gate.

import { narrowToKey } from "../../domain/group/narrowing.ts";
import { keyOf, type GroupSettings } from "../../domain/group/settings.ts";
import type { GroupEvent } from "../../domain/group/state.ts";
import type { KeyReading } from "../../domain/group/state-machine.ts";
import { matches, selectAll, type Query, type Selection } from "../../domain/query.ts";
import { recordsIn, scanRecord } from "../../domain/record.ts";
import { firstRecord } from "../read/records.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";

/** Half a turn's work. */
export const readingBytes = 64 * 1024;

export function selectionOf(query: Query): Selection {
  return query.items.length === 0 ? selectAll : { kind: "query", query };
}

/** A record as the state machine is offered it. */
export function groupEvent(record: Uint8Array): GroupEvent {
  return { ...scanRecord(record), frame: record };
}

export interface KeyEvents {
  readonly events: readonly GroupEvent[];
  /** There are no others of the key up to here. */
  readonly knownThrough: number;
}

/** The next events of one key. Undefined: ended by the signal. */
export async function readKey(
  source: Source,
  { query, ordering }: GroupSettings,
  { queue, after, to, countMax }: KeyReading,
  signal: AbortSignal,
): Promise<KeyEvents | undefined> {
  const { key } = queue;
  // Where every event is its own key there is but one to find.
  const last = ordering.kind === "none" ? Math.min(Number(key), to) : to;
  const narrowed = narrowToKey(query, ordering, key);
  const read = {
    selection: narrowed === undefined ? selectionOf(query) : selectionOf(narrowed),
    direction: "forwards",
    positions: { first: after + 1, last },
    batchBytes: readingBytes,
  } as const;
  const events: GroupEvent[] = [];
  if (narrowed?.items.length === 0) return { events, knownThrough: to };
  for await (const batch of scheduledRead(source, read, signal)) {
    for (const frames of batch.frames) {
      for (const record of recordsIn(frames)) {
        const event = groupEvent(record);
        if (!matches(query, event) || keyOf(event, event.position, ordering) !== key) continue;
        events.push(event);
        if (events.length === countMax) return { events, knownThrough: event.position };
      }
    }
  }
  return signal.aborted ? undefined : { events, knownThrough: to };
}

/** Undefined: it is not in the log any more. */
export async function recordAt(
  source: Source,
  query: Query,
  position: number,
): Promise<Uint8Array | undefined> {
  const read = { direction: "forwards", positions: { first: position, last: position } } as const;
  const selection = selectionOf(query);
  const found = await firstRecord(source, { ...read, selection });
  if (found !== undefined || selection.kind === "all") return found;
  // Parked by a group that this one replaced, whose query was another one.
  return firstRecord(source, { ...read, selection: selectAll });
}
