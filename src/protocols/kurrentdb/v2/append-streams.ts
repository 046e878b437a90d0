// An append to several streams at once: all of it is stored or nothing. As for one stream, the log
// decides first, and what its rules do not know is settled stream by stream.

import type { Append, Conflict, Outcome, StreamExpectation } from "../../../domain/append.ts";
import type { NewEvent } from "../../../domain/event.ts";
import type { Steps } from "../../../domain/steps.ts";
import type { CancelSignal } from "../../../log/cancellation.ts";
import { inSteps } from "../../../log/scheduling/scheduler.ts";
import {
  attemptsMax,
  eventsInSteps,
  expectedInLog,
  overtaken,
  settleStream,
  type AppendResult,
  type ExpectedRevision,
  type StreamAppend,
} from "../append/append-rules.ts";
import type { CallerContext } from "../mapping/context.ts";
import type { Proposed } from "../append/proposed-event.ts";

export interface StreamsAppend {
  /** In order. Events of several streams may alternate. */
  readonly records: readonly { readonly stream: string; readonly event: Proposed }[];
  /** The expectations of each stream, whether it is written to or not. */
  readonly expectations: ReadonlyMap<string, ExpectedRevision>;
  /** The caller's name. Empty: the server does not authenticate callers. */
  readonly principal: string;
}

export interface StreamsAppended {
  readonly kind: "appended";
  readonly position: number;
  /** In the order of each stream's first event. */
  readonly streams: readonly {
    readonly stream: string;
    readonly revision: number;
    /** Undefined: the append was stored before. */
    readonly position: number | undefined;
  }[];
}

export type StreamsResult =
  | StreamsAppended
  | Conflict
  /** The stream is deleted, for ever if it is tombstoned. */
  | { readonly kind: "deleted"; readonly stream: string }
  /** A part of the append is stored, and another is not. */
  | { readonly kind: "stream-conflict"; readonly stream: string; readonly current: number };

/** A stream's part of an append. */
interface Part {
  readonly append: StreamAppend;
  events: readonly NewEvent[];
}

export async function appendToStreams(
  context: CallerContext,
  append: StreamsAppend,
  signal: CancelSignal,
): Promise<StreamsResult> {
  const parts = await inSteps(context.caller, partsInSteps(append));
  for (let i = 0; i < attemptsMax; i++) {
    const events = inOrder(append, parts);
    const { outcome } = await context.log.append(logAppend(append, events), signal, context.caller);
    if (outcome.kind === "appended" && !outcome.deduplicated) return placed(outcome, events);
    if (outcome.kind === "tombstoned") return { kind: "deleted", stream: outcome.stream };
    const result = await settleParts(context, parts, outcome);
    if (result !== undefined) return result;
  }
  throw overtaken();
}

function* partsInSteps(append: StreamsAppend): Steps<Map<string, Part>> {
  const { records, expectations, principal } = append;
  const byStream = new Map<string, Proposed[]>();
  for (const { stream, event } of records) {
    const own = byStream.get(stream);
    if (own === undefined) byStream.set(stream, [event]);
    else own.push(event);
  }
  const parts = new Map<string, Part>();
  for (const [stream, events] of byStream) {
    const expected = expectations.get(stream) ?? { kind: "any" };
    const part = { stream, expected, events, principal };
    parts.set(stream, { append: part, events: yield* eventsInSteps(part) });
  }
  return parts;
}

/** The events of all parts in the order of the records. */
function inOrder({ records }: StreamsAppend, parts: ReadonlyMap<string, Part>): NewEvent[] {
  const next = new Map<string, number>();
  return records.flatMap(({ stream }) => {
    const i = next.get(stream) ?? 0;
    next.set(stream, i + 1);
    return parts.get(stream)?.events[i] ?? [];
  });
}

function logAppend(
  { expectations, principal }: StreamsAppend,
  events: readonly NewEvent[],
): Append {
  const wanted: StreamExpectation[] = [];
  for (const [stream, revision] of expectations) {
    const expected = expectedInLog(revision);
    if (expected !== undefined) wanted.push({ stream, expected });
  }
  const bytes = events.reduce((sum, { body }) => sum + body.length, 0);
  return { events, expectations: wanted, conditions: [], bytes, principal };
}

function placed(
  { streams, firstPosition, lastPosition }: Outcome & { readonly kind: "appended" },
  events: readonly NewEvent[],
): StreamsAppended {
  const last = new Map(events.map(({ stream }, i) => [stream, firstPosition + i]));
  return {
    kind: "appended",
    position: lastPosition,
    streams: streams.map(({ stream, lastVersion }) => ({
      stream,
      revision: lastVersion - 1,
      position: last.get(stream),
    })),
  };
}

/** Undefined: to be appended again, as the parts have it now. */
async function settleParts(
  context: CallerContext,
  parts: ReadonlyMap<string, Part>,
  outcome: Outcome,
): Promise<StreamsResult | undefined> {
  if (outcome.kind === "conflict") {
    // This append cannot make such an expectation true.
    const isFinal = outcome.streams.some(
      ({ stream, expected }) => !parts.has(stream) || expected.kind === "exists",
    );
    if (isFinal) return outcome;
  }
  const stored: [string, AppendResult & { readonly kind: "appended" }][] = [];
  let isNew = false;
  for (const [stream, part] of parts) {
    const settled = await settleStream(context, part.append, outcome, part.events);
    if (!("kind" in settled)) {
      part.events = settled;
      isNew = true;
    } else if (settled.kind === "appended") stored.push([stream, settled]);
    else if (settled.kind === "deleted") return { kind: "deleted", stream };
    else if (outcome.kind === "conflict") return outcome;
    else return { kind: "stream-conflict", stream, current: settled.current };
  }
  const [first] = stored;
  if (first === undefined) return undefined;
  if (isNew) return { kind: "stream-conflict", stream: first[0], current: first[1].revision };
  const position = Math.max(...stored.map(([, { position: at }]) => at));
  const streams = stored.map(([stream, { revision }]) => {
    return { stream, revision, position: undefined };
  });
  return { kind: "appended", position, streams };
}
