// Stores the batches of an import exactly once and in order, even if some of their events are
// already stored. Every event has an id, so that an append with an unknown outcome is sent again
// unchanged. A batch that is partly stored, or stored in another order because a line of it repeats
// one of an earlier batch, is halved until each part is either stored or new.
// Batches are sent one after the other: if a second one were already on its way, the missing part
// of the first would be stored behind it.

import type { CallOptions } from "../../client/rpc/service-client.ts";
import { callErrorOf } from "../../client/store/call-failure.ts";
import { patiently } from "../../client/store/retry.ts";
import type { AppendResponse } from "../../gen/annals/v1/append_pb.js";
import { EventIdProblem } from "../../gen/annals/v1/errors_pb.js";
import type { ImportBatch, ImportEvent } from "./import-batches.ts";
import { keptTimesHint } from "./kept-times.ts";
import { BadLine } from "./input-lines.ts";
import { CommandError } from "../arguments/options.ts";
import type { EventStore } from "../connection/session.ts";

/** A stored append: consecutive events of a batch. */
export interface Stored {
  readonly count: number;
  readonly lastPosition: bigint;
  /** The store had them before they were sent for the first time. */
  readonly wasThere: boolean;
}

/** The import waits for a server that restarts, and ends if the server stays away. */
const policy = { attemptsMax: 12, delayMinMs: 100, delayMaxMs: 5_000 };

export interface AppendContext {
  readonly store: EventStore;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Yields each part when it is stored. Throws a `CommandError` that names the line. */
export async function* storeBatch(
  { events }: Pick<ImportBatch, "events">,
  context: AppendContext,
): AsyncGenerator<Stored> {
  try {
    yield await appendPatiently(events, context);
    return;
  } catch (error) {
    if (!isWorthHalving(error) || events.length < 2) throw namedLine(error, events);
  }
  const middle = Math.ceil(events.length / 2);
  yield* storeBatch({ events: events.slice(0, middle) }, context);
  yield* storeBatch({ events: events.slice(middle) }, context);
}

/** Repeats an append while its failure can be temporary. */
async function appendPatiently(
  events: readonly ImportEvent[],
  { store, timeoutMs, signal }: AppendContext,
): Promise<Stored> {
  let attempts = 0;
  const append = (call: CallOptions): Promise<AppendResponse> => {
    attempts += 1;
    return store.append({ events: [...events] }, call);
  };
  const { lastPosition, deduplicated } = await patiently(append, {
    policy,
    timeoutMs: policy.attemptsMax * (timeoutMs + policy.delayMaxMs),
    attemptTimeoutMs: timeoutMs,
    signal,
  });
  return { count: events.length, lastPosition, wasThere: deduplicated && attempts === 1 };
}

function isWorthHalving(error: unknown): boolean {
  const failure = callErrorOf(error)?.failure;
  if (failure?.reason !== "EVENT_ID_CONFLICT") return false;
  const { PARTLY_RECORDED, OTHER_ORDER } = EventIdProblem;
  return failure.conflict.events.every(
    ({ problem }) => problem === PARTLY_RECORDED || problem === OTHER_ORDER,
  );
}

/** The same failure, with the line of the file that it concerns. */
function namedLine(error: unknown, events: readonly ImportEvent[]): unknown {
  const failure = callErrorOf(error)?.failure;
  if (failure?.reason === "INVALID_FIELD") {
    const [violation] = failure.violations;
    const event = events[Number(/^events\[(\d+)\]/.exec(violation?.field ?? "")?.[1])];
    if (violation === undefined || event === undefined) return error;
    const field = violation.field.replace(/^events\[\d+\]\.?/, "") || "event";
    const hint = field === "recorded_at" ? `; ${keptTimesHint}` : "";
    return new BadLine(event.line, `${field}: ${violation.description}${hint}`, { cause: error });
  }
  if (failure?.reason !== "EVENT_ID_CONFLICT") return error;
  const lines = failure.conflict.events.flatMap(({ id, position, problem }) => {
    const event = events.find((candidate) => candidate.id === id);
    const how = problems[problem];
    const line = event === undefined ? "" : `line ${event.line}: `;
    const where = position === 0n ? "" : ` at position ${position}`;
    return problem === EventIdProblem.PARTLY_RECORDED
      ? []
      : [`${line}the id ${id} is already used${where}, ${how}`];
  });
  return new CommandError(lines.join("\n") || (error as Error).message, { cause: error });
}

const problems: Record<EventIdProblem, string> = {
  [EventIdProblem.UNSPECIFIED]: "but differs from this file",
  [EventIdProblem.OTHER_CONTENT]: "with other content",
  [EventIdProblem.OTHER_STREAM]: "in another stream",
  [EventIdProblem.OTHER_ORDER]: "in another order",
  [EventIdProblem.PARTLY_RECORDED]: "without the events around it",
};
