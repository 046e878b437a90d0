// Stores a batch exactly once and in order, whatever is there of it already. Every event has an id,
// so an append whose outcome is unknown is simply sent again; a batch of which only a part is there
// is halved until its parts are either there or new. Batches go one after the other: with a second
// one under way, the rest of a partly stored batch would land behind it.

import { callErrorOf } from "../client/store/call-failure.ts";
import { patiently } from "../client/store/retry.ts";
import type { AppendResponse } from "../gen/annals/v1/append_pb.js";
import { EventIdProblem } from "../gen/annals/v1/errors_pb.js";
import type { ImportBatch, ImportEvent } from "./import-batches.ts";
import { CommandError } from "./options.ts";
import type { EventStore } from "./session.ts";

/** A stored append: some consecutive events of a batch. */
export interface Stored {
  readonly count: number;
  readonly lastPosition: bigint;
}

/** A restart of the server is waited for; a server that stays away ends the import. */
const policy = { attemptsMax: 12, delayMinMs: 100, delayMaxMs: 5_000 };

export interface AppendContext {
  readonly store: EventStore;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Yields as its parts are stored. Throws a `CommandError` that names the line. */
export async function* storeBatch(
  { events }: Pick<ImportBatch, "events">,
  context: AppendContext,
): AsyncGenerator<Stored> {
  try {
    const { lastPosition } = await appendPatiently(events, context);
    yield { count: events.length, lastPosition };
    return;
  } catch (error) {
    if (!isPartlyThere(error) || events.length < 2) throw namedLine(error, events);
  }
  const middle = Math.ceil(events.length / 2);
  yield* storeBatch({ events: events.slice(0, middle) }, context);
  yield* storeBatch({ events: events.slice(middle) }, context);
}

/** Sends the same append again while trying again can help. */
function appendPatiently(
  events: readonly ImportEvent[],
  { store, timeoutMs, signal }: AppendContext,
): Promise<AppendResponse> {
  return patiently((call) => store.append({ events: [...events] }, call), {
    policy,
    timeoutMs: policy.attemptsMax * (timeoutMs + policy.delayMaxMs),
    attemptTimeoutMs: timeoutMs,
    signal,
  });
}

function isPartlyThere(error: unknown): boolean {
  const failure = callErrorOf(error)?.failure;
  if (failure?.reason !== "EVENT_ID_CONFLICT") return false;
  const { PARTLY_RECORDED } = EventIdProblem;
  return failure.conflict.events.every(({ problem }) => problem === PARTLY_RECORDED);
}

/** The same failure in the words of the file: which line, and what of it. */
function namedLine(error: unknown, events: readonly ImportEvent[]): unknown {
  const failure = callErrorOf(error)?.failure;
  if (failure?.reason === "INVALID_FIELD") {
    const [violation] = failure.violations;
    const event = events[Number(/^events\[(\d+)\]/.exec(violation?.field ?? "")?.[1])];
    if (violation === undefined || event === undefined) return error;
    const field = violation.field.replace(/^events\[\d+\]\.?/, "") || "event";
    return new CommandError(`line ${event.line}: ${field}: ${violation.description}`, {
      cause: error,
    });
  }
  if (failure?.reason !== "EVENT_ID_CONFLICT") return error;
  const lines = failure.conflict.events.flatMap(({ id, position, problem }) => {
    const event = events.find((candidate) => candidate.id === id);
    const how = problems[problem];
    const line = event === undefined ? "" : `line ${event.line}: `;
    return problem === EventIdProblem.PARTLY_RECORDED
      ? []
      : [`${line}the id ${id} is at position ${position} already, ${how}`];
  });
  return new CommandError(lines.join("\n") || (error as Error).message, { cause: error });
}

const problems: Record<EventIdProblem, string> = {
  [EventIdProblem.UNSPECIFIED]: "but not as this file has it",
  [EventIdProblem.OTHER_CONTENT]: "with other content",
  [EventIdProblem.OTHER_STREAM]: "in another stream",
  [EventIdProblem.OTHER_ORDER]: "in another order",
  [EventIdProblem.PARTLY_RECORDED]: "without the events around it",
};
