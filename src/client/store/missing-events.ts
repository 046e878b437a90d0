// Detects removed events of a query, because a fold over the remaining ones would silently give
// another state. A removed event keeps its position, type and tags, so that the query still finds
// it.

import { View, type RecordedEvent as WireRecorded } from "../../gen/annals/v1/event_pb.js";
import type { CallOptions } from "../rpc/service-client.ts";
import { storeErrorOf } from "./call-failure.ts";
import { firstConnection, type Context, type OperationOptions } from "./context.ts";
import { MissingEventsError, NotFoundError } from "./errors.ts";
import { safeInteger, wireInteger } from "./numbers.ts";
import { patiently } from "./retry.ts";
import { wireSelection, type Selection } from "./selection.ts";

/** Streams whose deletion is remembered. */
const rememberedMax = 10_000;
/** The type of the system events that record a policy. */
const policyType = "$StreamUpdated";

/**
 * The events of a batch that are not removed. Throws a `MissingEventsError` if a policy has removed
 * one. Events that were removed with their stream's deletion are skipped, because a deleted stream
 * starts over.
 */
export async function leftOf(
  context: Context,
  events: readonly WireRecorded[],
  call: CallOptions,
): Promise<readonly WireRecorded[]> {
  const removed = events.filter((event) => event.removed !== undefined);
  for (const { stream, version } of removed) {
    if (version <= (await deletedThrough(context, stream, version, call))) continue;
    throw new MissingEventsError(stream, safeInteger(version));
  }
  return removed.length === 0 ? events : events.filter((event) => event.removed === undefined);
}

/**
 * What has to be complete: a selection, after a position (exclusive; absent: from the first event).
 */
export type Complete = Selection & {
  readonly after?: number | undefined;
  /** The epoch of `after`. Absent: not checked. */
  readonly epoch?: string | undefined;
};

/**
 * Reads a selection without payloads. If no policy was ever set in the store, there is nothing to
 * check.
 */
export async function assertComplete(
  context: Context,
  wanted: Complete,
  { signal, timeoutMs = Number.MAX_SAFE_INTEGER }: OperationOptions = {},
): Promise<void> {
  const after = wireInteger(wanted.after ?? 0, "after");
  const request = {
    selection: wireSelection(wanted),
    from: { case: "fromPosition", value: after + 1n } as const,
    epoch: wanted.epoch ?? "",
    view: View.HEADERS,
    withRemoved: true,
  };
  await firstConnection(context, { signal });
  await patiently(
    async (call) => {
      const types = await context.rpc.listEventTypes({ prefix: policyType }, call);
      if (types.eventTypes.length === 0) return;
      for await (const { message } of context.rpc.read(request, { signal })) {
        if (message.case === "batch") await leftOf(context, message.value.events, call);
      }
    },
    { policy: context.retry, timeoutMs, attemptTimeoutMs: context.attemptTimeoutMs, signal },
  );
}

/** At least up to `version`, if it was deleted that far. 0: never. */
async function deletedThrough(
  { rpc, deletedThrough: known }: Context,
  stream: string,
  version: bigint,
  call: CallOptions,
): Promise<bigint> {
  const remembered = known.get(stream) ?? 0n;
  if (version <= remembered) return remembered;
  try {
    const answer = await rpc.getStream({ stream }, call);
    const through = answer.stream?.deletedThrough ?? 0n;
    if (known.size >= rememberedMax) known.clear();
    known.set(stream, through);
    return through;
  } catch (error) {
    if (storeErrorOf(error) instanceof NotFoundError) return 0n;
    throw error;
  }
}
