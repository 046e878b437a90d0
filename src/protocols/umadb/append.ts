// Append. An append whose condition fails is a repeat, and accepted, if the first events that match
// the condition have the ids of its own events.

import { appendNeeds } from "../../access/requirements.ts";
import type { Append, AppendCondition } from "../../domain/append.ts";
import type { CheckpointUpdate } from "../../domain/checkpoint.ts";
import {
  AnnalsError,
  appendConflict,
  beyondHead,
  checkpointBackwards,
} from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import { stepBytes, type Steps } from "../../domain/steps.ts";
import {
  AppendRequestSchema,
  EventSchema,
  type AppendRequest,
  type AppendResponse,
  type Event,
  type TrackingInfo,
} from "../../gen/umadb/v1/umadb_pb.js";
import type { Call } from "../../grpc/transport/call-environment.ts";
import { splitRequest } from "../../grpc/transport/decode.ts";
import { integrity } from "./errors.ts";
import {
  trackingConsumer,
  newEventsInSteps,
  umadbQuery,
  batchRecords,
  boundedPosition,
  umadbSelection,
  sequencedOf,
  type UmadbContext,
} from "./mapping.ts";

/** What a decoded event takes in memory, with what is made of it, for each byte of the request. */
const decodedShare = 4;
/** What it costs to find an event in a request, as the scheduler counts: see domain/steps.ts. */
const entryCost = 32;

export async function appendEvents(
  context: UmadbContext,
  bytes: Buffer,
  call: Call,
): Promise<AppendResponse> {
  const { log, limits } = context;
  call.hold(bytes.length * decodedShare);
  const { request, events, uuids } = await call.inSteps(appendInSteps(bytes, limits));
  const { trackingInfo: tracking } = request;
  const condition = conditionOf(request, context);
  const append: Append = {
    events,
    expectations: [],
    conditions: condition === undefined ? [] : [condition],
    checkpoint: tracking && checkpointOf(tracking),
    principal: call.principal,
    bytes: events.reduce((sum, { body }) => sum + body.length, 0),
  };
  call.require(appendNeeds(append));
  if (events.length === 0 && append.checkpoint === undefined && condition === undefined) {
    return answer(0);
  }
  const { outcome } = await log.append(append, call, call);
  switch (outcome.kind) {
    case "appended":
      return answer(outcome.lastPosition);
    case "conflict":
    case "checkpoint-backwards": {
      const repeated = await repeatOf(context, condition, uuids, call);
      if (repeated !== undefined) return answer(repeated);
      if (outcome.kind === "conflict") throw integrity(appendConflict(outcome).message);
      // Clients know this one by its words.
      const { message } = checkpointBackwards(outcome);
      throw integrity(`non-increasing tracking position: ${message}`);
    }
    case "beyond-head":
      throw beyondHead(outcome);
    default:
      throw integrity(`the append is refused: ${outcome.kind}`);
  }
}

/** The request without its events, and these. */
function* appendInSteps(bytes: Buffer, limits: Limits) {
  const { rest, entries, decode } = splitRequest(AppendRequestSchema, "events", bytes);
  const cost = entries.length * entryCost;
  if (cost >= stepBytes) yield cost;
  const at = (i: number): Steps<Event> => decode(EventSchema, entries[i] as Uint8Array, i);
  const sent = { count: entries.length, at, tracking: rest.trackingInfo };
  return { request: rest, ...(yield* newEventsInSteps(sent, limits)) };
}

function answer(position: number): AppendResponse {
  return { $typeName: "umadb.v1.AppendResponse", position: BigInt(position) };
}

function conditionOf(
  { condition }: AppendRequest,
  { limits }: UmadbContext,
): AppendCondition | undefined {
  if (condition === undefined) return undefined;
  const query = umadbQuery(condition.failIfEventsMatch, limits);
  if (query === undefined) return undefined;
  return { query, after: boundedPosition(condition.after ?? 0n), mayBeAhead: true };
}

function checkpointOf({ source, position }: TrackingInfo): CheckpointUpdate {
  return { consumer: trackingConsumer(source), position, source: trackingSource, metadata: {} };
}

/** The source of checkpoints that are kept for this protocol. */
const trackingSource = "umadb";

/** The last position of the append of which this one is a repeat. Undefined: it is none. */
async function repeatOf(
  { log }: UmadbContext,
  condition: AppendCondition | undefined,
  uuids: readonly string[],
  call: Call,
): Promise<number | undefined> {
  if (condition === undefined || uuids.length === 0 || uuids.includes("")) return undefined;
  const { query, after } = condition;
  const from = { kind: "position", position: after + 1 } as const;
  const selection = umadbSelection(query);
  const limit = uuids.length;
  const read = { selection, direction: "forwards", from, limit, isGathered: true } as const;
  let count = 0;
  let last = 0n;
  for await (const message of log.read(read, call, call.gate)) {
    if (message.kind !== "batch") continue;
    for (const record of batchRecords(message.batch)) {
      const { position, event } = sequencedOf(record);
      if (event?.uuid !== uuids[count]) return undefined;
      count++;
      last = position;
    }
  }
  return count === uuids.length ? Number(last) : undefined;
}

/** The saved position of a source. Undefined: none. */
export async function trackedPosition(
  { log }: UmadbContext,
  source: string,
  call: Call,
): Promise<bigint | undefined> {
  const consumer = trackingConsumer(source);
  call.require([{ anyOf: ["consume"], extent: { kind: "name", name: consumer } }]);
  try {
    return BigInt((await log.checkpoints.get(consumer)).position);
  } catch (error) {
    if (error instanceof AnnalsError && error.reason === "CHECKPOINT_NOT_FOUND") return undefined;
    throw error;
  }
}
