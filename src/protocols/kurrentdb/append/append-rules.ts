// How an append of this protocol is decided. The log decides it first, by its own rules, which
// agree in nearly every case. The rest is settled here, by what is stored:
//
//   ids        belong to a stream here, while an id of the log is taken for ever. An event whose id
//              is taken elsewhere is stored under a derived id, with the client's in its metadata.
//   retries    with an exact revision are recognised by the ids at exactly the expected revisions;
//              others by the stream of the first id. Contents are not compared.

import type {
  Append,
  Appended,
  EventIdConflict,
  Expected,
  Outcome,
} from "../../../domain/append.ts";
import { AnnalsError } from "../../../domain/errors.ts";
import type { NewEvent } from "../../../domain/event.ts";
import { Effort, type Steps } from "../../../domain/steps.ts";
import type { CancelSignal } from "../../../log/cancellation.ts";
import { inSteps } from "../../../log/scheduling/scheduler.ts";
import { derivedId } from "../mapping/ids.ts";
import {
  storedAt,
  storedFrom,
  streamState,
  type StoredPlace,
  type KnownStream,
} from "../mapping/look-up.ts";
import type { CallerContext } from "../mapping/context.ts";
import { eventForLog, type Proposed } from "./proposed-event.ts";

export type ExpectedRevision =
  | { readonly kind: "any" | "exists" | "none" }
  | { readonly kind: "revision"; readonly revision: bigint };

export interface StreamAppend {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  /** At least one. */
  readonly events: readonly Proposed[];
  /** The caller's name. Empty: the server does not authenticate callers. */
  readonly principal: string;
}

export type AppendResult =
  | { readonly kind: "appended"; readonly revision: number; readonly position: number }
  /** `current` -1: the stream has no events. */
  | { readonly kind: "conflict"; readonly current: number }
  | { readonly kind: "deleted" };

/** How often an append is decided anew. */
export const attemptsMax = 10;

/** Throws what `EventLog.append` throws. */
export async function appendToStream(
  context: CallerContext,
  asked: StreamAppend,
  signal?: CancelSignal,
): Promise<AppendResult> {
  let append = asked;
  const made = inSteps(context.caller, eventsInSteps(append));
  let events = made instanceof Promise ? await made : made;
  for (let i = 0; i < attemptsMax; i++) {
    const { outcome } = await context.log.append(logAppend(append, events), signal, context.caller);
    if (outcome.kind === "appended" && !outcome.deduplicated) {
      return appended(outcome, append.stream);
    }
    if (outcome.kind === "tombstoned") return { kind: "deleted" };
    const settled = await settleStream(context, append, outcome, events);
    if ("kind" in settled) return settled;
    events = settled;
    // A stream of metadata alone exists here: the log does not have to agree.
    if (append.expected.kind === "exists" && outcome.kind === "conflict") {
      append = { ...append, expected: { kind: "any" } };
    }
  }
  throw overtaken();
}

/** Each time, another append was faster. */
export function overtaken(): AnnalsError {
  const failure = { reason: "OVERLOADED", retryAfterMs: 250 } as const;
  return new AnnalsError(failure, "overtaken by other writers");
}

/** What an event costs, and each byte of its metadata: see domain/steps.ts. */
const eventCost = 256;
const byteShare = 1 / 8;

export function* eventsInSteps({ stream, events }: StreamAppend): Steps<NewEvent[]> {
  const [first] = events;
  if (first !== undefined && events.length === 1) return [eventForLog(first, stream)];
  const seen = new Set<string>();
  const all: NewEvent[] = [];
  const effort = new Effort();
  for (const [i, proposed] of events.entries()) {
    const isTwin = seen.has(proposed.id);
    seen.add(proposed.id);
    const id = isTwin ? derivedId(proposed.id, stream, "twin", i) : undefined;
    all.push(eventForLog(proposed, stream, id));
    if (effort.spend(eventCost + proposed.metadata.length * byteShare)) yield effort.take();
  }
  return all;
}

function logAppend(
  { stream, expected, principal }: StreamAppend,
  events: readonly NewEvent[],
): Append {
  let bytes = 0;
  for (const { body } of events) bytes += body.length;
  const wanted = expectedInLog(expected);
  const expectations = wanted === undefined ? [] : [{ stream, expected: wanted }];
  return { events, expectations, conditions: [], bytes, principal };
}

/** Undefined: nothing is expected. */
export function expectedInLog(expected: ExpectedRevision): Expected | undefined {
  switch (expected.kind) {
    case "any":
      return undefined;
    case "exists":
      return { kind: "exists" };
    case "none":
      return { kind: "absent" };
    case "revision":
      return { kind: "version", version: Number(expected.revision) + 1 };
  }
}

function appended({ streams, lastPosition: position }: Appended, stream: string): AppendResult {
  const written = streams.find((each) => each.stream === stream);
  const revision = (written?.lastVersion ?? 0) - 1;
  return { kind: "appended", revision, position };
}

/** The result for one stream, or the events to append to it instead. */
export async function settleStream(
  context: CallerContext,
  append: StreamAppend,
  outcome: Outcome,
  events: readonly NewEvent[],
): Promise<AppendResult | NewEvent[]> {
  const { stream, expected } = append;
  const state = await streamState(context, stream);
  if (state.isTombstoned) return { kind: "deleted" };
  if (expected.kind === "exists") {
    if (state.isDeleted) return { kind: "deleted" };
    if (state.version === 0 && !state.hasMetadata) return conflict(state);
  }
  if (expected.kind === "any" || expected.kind === "exists") {
    return settleByIds(context, append, state, outcome, events);
  }
  return settleByRevision(context, append, state, outcome, events);
}

function conflict({ version }: KnownStream): AppendResult {
  return { kind: "conflict", current: version - 1 };
}

async function settleByRevision(
  context: CallerContext,
  append: StreamAppend,
  state: KnownStream,
  outcome: Outcome,
  events: readonly NewEvent[],
): Promise<AppendResult | NewEvent[]> {
  const { stream, expected } = append;
  const from = expected.kind === "revision" ? Number(expected.revision) + 1 : 0;
  const isNew = expected.kind === "none" && (state.isDeleted || state.version === 0);
  if (isNew || from === state.version) {
    // The expectation holds by now, or only the ids were in the way.
    if (outcome.kind === "conflict") return [...events];
    return substituted(append, events, `at ${state.version}`);
  }
  if (from > state.version) return conflict(state);
  const stored = await storedFrom(context, stream, from + 1, append.events.length);
  const last = stored.at(-1);
  const isRetry =
    last !== undefined &&
    stored.length === append.events.length &&
    stored.every(({ id }, i) => id === append.events[i]?.id);
  if (!isRetry) return conflict(state);
  return { kind: "appended", revision: last.version - 1, position: last.position };
}

/** Settles an append by the streams of the stored ids. Deleted events do not count. */
async function settleByIds(
  context: CallerContext,
  append: StreamAppend,
  state: KnownStream,
  outcome: Outcome,
  events: readonly NewEvent[],
): Promise<AppendResult | NewEvent[]> {
  const where = `after ${state.deletedThrough}`;
  if (outcome.kind === "appended") {
    const written = outcome.streams.find(({ stream }) => stream === append.stream);
    const isLeft = (written?.firstVersion ?? 0) > state.deletedThrough;
    return isLeft ? appended(outcome, append.stream) : substituted(append, events, where);
  }
  if (outcome.kind !== "event-id-conflict") return [...events];
  const found = await storedById(context, outcome, events);
  const isHere = (at: StoredPlace | undefined): at is StoredPlace =>
    at?.stream === append.stream && at.version > state.deletedThrough;
  if (!isHere(found[0])) {
    return substituted(append, events, where);
  }
  const last = found.at(-1);
  if (!found.every(isHere) || !isHere(last)) return conflict(state);
  return { kind: "appended", revision: last.version - 1, position: last.position };
}

/** For each event, what is stored under its id. */
function storedById(
  context: CallerContext,
  outcome: EventIdConflict,
  events: readonly NewEvent[],
): Promise<(StoredPlace | undefined)[]> {
  const positions = new Map(outcome.events.map(({ id, position }) => [id, position]));
  return Promise.all(
    events.map(async ({ id }) => {
      const position = positions.get(id);
      return position === undefined ? undefined : await storedAt(context, position);
    }),
  );
}

/** The events under ids of their own, the same ones for a retry. */
function substituted(
  { stream, events: proposed }: StreamAppend,
  events: readonly NewEvent[],
  where: string,
): NewEvent[] {
  return proposed.map((each, i) => {
    const derived = derivedId(each.id, stream, where, i);
    // The derived id is taken, too: derive another one.
    const isTaken = events[i]?.id === derived;
    return eventForLog(each, stream, isTaken ? derivedId(derived, "again") : derived);
  });
}
