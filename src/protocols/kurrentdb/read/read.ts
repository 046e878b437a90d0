// Read: reads that end, and subscriptions.

import { create } from "@bufbuild/protobuf";
import {
  ReadRespSchema,
  type ReadReq,
  type ReadResp,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import type { Bound, ReadRequest } from "../../../log/verbs.ts";
import type { CallerContext } from "../mapping/context.ts";
import { EventStream, formOf, pieceOf, type ReadPiece } from "./event-stream.ts";
import { assertNotTombstoned, streamState, type KnownStream } from "../mapping/look-up.ts";
import { selectEverything, selectionOfTarget } from "../mapping/names.ts";
import { permit, readNeeds } from "../mapping/permissions.ts";
import {
  eventReadOf,
  safe,
  type AllRead,
  type EventRead,
  type StreamRead,
} from "./read-request.ts";
import { followEvents } from "./subscribe.ts";

/** What a stream of answers consists of. */
export type ReadAnswer = ReadResp | ReadPiece;

export function readCall(
  context: CallerContext,
  request: ReadReq,
  call: Call,
): AsyncGenerator<ReadAnswer> {
  const wanted = eventReadOf(context, request);
  permit(call, readNeeds(wanted.kind === "all" ? undefined : wanted.name, wanted.resolvesLinks));
  if (wanted.count === undefined) return followEvents(context, wanted, call);
  return wanted.kind === "all"
    ? eventsOfRead(context, wanted, call, allRequest(wanted), {})
    : readStream(context, wanted, call);
}

/** Undefined: the read has no events. A position is inclusive forwards and exclusive backwards. */
function allRequest({ from, isForwards }: AllRead): ReadRequest | undefined {
  const common = {
    selection: selectEverything,
    direction: isForwards ? "forwards" : "backwards",
  } as const;
  if (from.kind !== "at") return (from.kind === "start") === isForwards ? common : undefined;
  const position = safe(from.at) - (isForwards ? 0 : 1);
  if (position < 1 && !isForwards) return undefined;
  return { ...common, from: { kind: "position", position: Math.max(position, 1) } };
}

/** Undefined: the read has no events. */
function streamRequest({ from, isForwards, target }: StreamRead): ReadRequest | undefined {
  const selection = selectionOfTarget(target);
  const common = { selection, direction: isForwards ? "forwards" : "backwards" } as const;
  if (from.kind === "end") return isForwards ? undefined : common;
  const number = from.kind === "start" ? 1 : safe(from.at) + 1;
  if (from.kind === "start" && isForwards) return common;
  const bound: Bound =
    target.kind === "links"
      ? { kind: "position", position: number }
      : { kind: "version", version: number };
  return { ...common, from: bound };
}

async function* readStream(
  context: CallerContext,
  wanted: StreamRead,
  call: Call,
): AsyncGenerator<ReadAnswer> {
  const { target, name, endsWithRevision } = wanted;
  const isRecreated =
    target.kind === "metadata" && (await wasRecreated(context, target.name, name));
  let count = 0;
  const counted = { isRecreated, onEvents: (more: number) => void (count += more) };
  yield* eventsOfRead(context, wanted, call, streamRequest(wanted), counted);
  if (call.aborted || target.kind === "links" || (count > 0 && !endsWithRevision)) return;
  const stream = selectionOfTarget(target);
  const state = await streamState(context, stream.kind === "stream" ? stream.stream : name);
  if (target.kind === "stream") assertNotTombstoned(state, name);
  if (count === 0 && (state.version === 0 || state.isDeleted)) yield notFound(name);
  else if (endsWithRevision) yield* bounds(state, count);
}

/** Throws what clients are told of the metadata of a tombstoned stream. */
async function wasRecreated(
  context: CallerContext,
  stream: string,
  name: string,
): Promise<boolean> {
  const state = await streamState(context, stream);
  assertNotTombstoned(state, name);
  const { version, deletedThrough } = state;
  return deletedThrough > 0 && version > deletedThrough;
}

function notFound(name: string): ReadResp {
  const value = { streamIdentifier: { streamName: Buffer.from(name) } };
  return create(ReadRespSchema, { content: { case: "streamNotFound", value } });
}

function* bounds(state: KnownStream, count: number): Generator<ReadResp> {
  const { version, firstVersion } = state;
  if (count === 0 && firstVersion > 1) {
    const value = BigInt(firstVersion - 1);
    yield create(ReadRespSchema, { content: { case: "firstStreamPosition", value } });
  }
  const value = BigInt(version - 1);
  yield create(ReadRespSchema, { content: { case: "lastStreamPosition", value } });
}

interface Counting {
  readonly isRecreated?: boolean;
  readonly onEvents?: (count: number) => void;
}

/** The events of a read, several in each piece. */
async function* eventsOfRead(
  context: CallerContext,
  wanted: EventRead,
  call: Call,
  request: ReadRequest | undefined,
  { isRecreated = false, onEvents = () => {} }: Counting,
): AsyncGenerator<ReadPiece> {
  let left = safe(wanted.count ?? 0n);
  if (request === undefined || left === 0) return;
  const events = new EventStream(context, { ...formOf(wanted), isRecreated });
  const isFiltered = wanted.kind === "all" && wanted.filter !== undefined;
  const limited = isFiltered ? request : { ...request, limit: left };
  for await (const message of context.log.read(limited, call, call.gate)) {
    if (message.kind !== "batch") continue;
    const { batch } = message;
    const limit = left;
    const { count, piece } = await pieceOf(events, batch, (into) => into.write(batch, { limit }));
    left -= count;
    onEvents(count);
    if (piece !== undefined) yield piece;
    if (left === 0) return;
  }
}
