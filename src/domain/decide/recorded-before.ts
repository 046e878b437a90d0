// Whether an append is stored already, by the ids that its client chose.

import type { Append, Appended, EventIdConflict, EventIdProblem } from "../append.ts";
import { contentOf } from "../content.ts";
import { wholeBody, type NewEvent, type PlacedEvent, type StoredEvent } from "../event.ts";
import { sameContent } from "../record.ts";
import { stepBytes, type Steps } from "../steps.ts";
import { appended, type Overlay } from "./overlay.ts";

/** What a comparison costs, which decodes both events where their bytes differ. */
const comparedBytes = 512;
const comparedShare = 1 / 32;

/**
 * Whether the append is already stored, by the ids that its client chose. Undefined: none of them
 * is stored, so the append is new. Positions need not be contiguous: an import may be repeated with
 * different batches.
 */
export function* recordedBefore(
  append: Append,
  overlay: Overlay,
): Steps<Appended | EventIdConflict | undefined> {
  let recorded: StoredEvent[] | undefined;
  let problems: (EventIdProblem | undefined)[] | undefined;
  const elsewhere = new Set<StoredEvent>();
  for (const event of append.events) {
    if (!event.idFromClient) continue;
    const found = overlay.find(event.id);
    if (found === undefined) continue;
    (recorded ??= []).push(found);
    (problems ??= []).push(problemOf(event, found));
    if (event.stream !== found.stream) elsewhere.add(found);
    overlay.spentBytes += comparedBytes + event.body.length * comparedShare;
    if (overlay.spentBytes < stepBytes) continue;
    yield overlay.spentBytes;
    overlay.spentBytes = 0;
  }
  if (recorded === undefined || problems === undefined) return undefined;
  const complete = recorded.length === append.events.length;
  const inOrder = ascending(recorded);
  if (complete && inOrder && problems.every((problem) => problem === undefined)) {
    return appended(recorded, (recorded.at(-1) as StoredEvent).recordedAt, true);
  }
  // An event that is stored as proposed is listed too, because the append as a whole is not stored.
  const otherwise = complete && !inOrder ? "other-order" : "partly-recorded";
  const events = recorded.map((event, i) => {
    const { id, position } = event;
    const isElsewhere = elsewhere.has(event);
    return { id, position, isElsewhere, problem: problems[i] ?? otherwise };
  });
  return { kind: "event-id-conflict", events };
}

function ascending(events: readonly PlacedEvent[]): boolean {
  let before = 0;
  return events.every(({ position }) => {
    const rises = position > before;
    before = position;
    return rises;
  });
}

/** The difference between a proposed event and the stored event with its id, if there is one. */
function problemOf(proposed: NewEvent, recorded: StoredEvent): EventIdProblem | undefined {
  const { didHold } = recorded;
  const body = wholeBody(proposed);
  const isSame = didHold ? didHold(contentOf(body)) : sameContent(body, recorded.record);
  if (!isSame) return "other-content";
  return proposed.stream === recorded.stream ? undefined : "other-stream";
}
