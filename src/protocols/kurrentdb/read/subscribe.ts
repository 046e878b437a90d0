// Subscriptions to a stream or to `$all`: the confirmation first, then events, and a message when
// the subscription has caught up. With a filter, checkpoints say how far the log was examined.

import { randomUUID } from "node:crypto";
import {
  lifecycleStream,
  type LifecycleEventType,
} from "../../../domain/lifecycle/lifecycle-event.ts";
import { scanRecord } from "../../../domain/record.ts";
import type { ReadResp } from "../../../gen/event_store/client/streams/streams_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import type { PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import type { SubscribeRequest, SubscribeStart } from "../../../log/verbs.ts";
import type { CallerContext } from "../mapping/context.ts";
import { streamDeleted } from "../mapping/errors.ts";
import { EventStream, formOf, pieceOf, readMessage, type ReadPiece } from "./event-stream.ts";
import { assertNotTombstoned, recordsOfBatch, streamState } from "../mapping/look-up.ts";
import { selectEverything, selectionOfTarget } from "../mapping/names.ts";
import { safe, type AllRead, type EventRead, type StreamRead } from "./read-request.ts";

const tombstoneType: LifecycleEventType = "$StreamTombstoned";
/** The log's own checkpoints are not passed on: clients expect them by events, not by time. */
const checkpointIntervalMs = 3_600_000;

export async function* followEvents(
  context: CallerContext,
  wanted: EventRead,
  call: Call,
): AsyncGenerator<ReadResp | ReadPiece> {
  const ended = new AbortController();
  const end = { handleEvent: () => ended.abort(call.reason) };
  call.addEventListener("abort", end);
  try {
    yield* wanted.kind === "all"
      ? followAll(context, wanted, ended.signal, call)
      : followStream(context, wanted, ended, call);
  } finally {
    call.removeEventListener("abort", end);
    ended.abort();
  }
}

function confirmation(events: EventStream): PrefixedMessages | undefined {
  const value = {
    $typeName: "event_store.client.streams.ReadResp.SubscriptionConfirmation" as const,
    subscriptionId: randomUUID(),
  };
  events.writer.message(readMessage({ case: "confirmation", value }));
  return events.writer.take();
}

async function* followAll(
  context: CallerContext,
  wanted: AllRead,
  signal: AbortSignal,
  { gate }: Call,
): AsyncGenerator<ReadPiece> {
  const { filter, from } = wanted;
  const head = context.log.info().head;
  const start: SubscribeStart =
    from.kind === "at"
      ? { kind: "after-position", position: Math.min(safe(from.at), head) }
      : { kind: from.kind === "end" ? "end" : "after-position", position: 0 };
  // A position beyond the head was not read from this store: what comes until then is left out.
  const after = from.kind === "at" && safe(from.at) > head ? safe(from.at) : 0;
  const events = new EventStream(context, formOf(wanted));
  yield confirmation(events) as PrefixedMessages;
  const checkpoints = new Checkpoints(filter?.checkpointEvents ?? Infinity);
  let isLive = false;
  const request: SubscribeRequest = { selection: selectEverything, start, checkpointIntervalMs };
  for await (const message of context.log.subscribe(request, signal, gate)) {
    if (message.kind === "batch") {
      const { batch } = message;
      const before = checkpoints.copy();
      const { piece } = await pieceOf(events, batch, (into) => {
        if (filter === undefined) return into.write(batch, { after });
        const own = into === events ? checkpoints : before.copy();
        const onExamined = (position: number): void => own.examined(into, position);
        return into.write(batch, { after, onExamined });
      });
      if (piece !== undefined) yield piece;
    } else if (message.kind === "caught-up" && !isLive) {
      isLive = true;
      if (filter !== undefined) checkpoints.add(events, message.position);
      events.writer.message(caughtUp(message, { position: message.position }));
      yield events.writer.take() as PrefixedMessages;
    }
  }
}

/** Writes a checkpoint when enough events were examined, and no checkpoint twice. */
class Checkpoints {
  private readonly interval: number;
  private count = 0;
  private last = 0;

  constructor(interval: number) {
    this.interval = interval;
  }

  copy(): Checkpoints {
    return Object.assign(new Checkpoints(this.interval), this);
  }

  examined(into: EventStream, position: number): void {
    if (++this.count >= this.interval) this.add(into, position);
  }

  add(into: EventStream, position: number): void {
    this.count = 0;
    if (position <= this.last) return;
    this.last = position;
    const value = {
      $typeName: "event_store.client.streams.ReadResp.Checkpoint" as const,
      commitPosition: BigInt(position),
      preparePosition: BigInt(position),
    };
    into.writer.message(readMessage({ case: "checkpoint", value }));
  }
}

function caughtUp(
  { time }: { readonly time: number },
  at: { readonly position?: number; readonly revision?: bigint | undefined },
): Uint8Array {
  const timestamp = {
    $typeName: "google.protobuf.Timestamp" as const,
    seconds: BigInt(Math.floor(time / 1_000_000)),
    nanos: (time % 1_000_000) * 1_000,
  };
  const position = at.position && {
    $typeName: "event_store.client.streams.ReadResp.Position" as const,
    commitPosition: BigInt(at.position),
    preparePosition: BigInt(at.position),
  };
  const value = {
    $typeName: "event_store.client.streams.ReadResp.CaughtUp" as const,
    timestamp,
    ...(at.revision !== undefined && { streamRevision: at.revision }),
    ...(position && { position }),
  };
  return readMessage({ case: "caughtUp", value });
}

async function* followStream(
  context: CallerContext,
  wanted: StreamRead,
  ended: AbortController,
  { gate }: Call,
): AsyncGenerator<ReadPiece> {
  const { target, name } = wanted;
  const { start, firstVersion } = await startOf(context, wanted);
  const events = new EventStream(context, { ...formOf(wanted), firstVersion });
  const tombstone = { isSet: false };
  if (target.kind === "stream") void watchTombstone(context, target.name, tombstone, ended);
  yield confirmation(events) as PrefixedMessages;
  let isLive = false;
  const selection = selectionOfTarget(target);
  const request: SubscribeRequest = { selection, start, checkpointIntervalMs };
  for await (const message of context.log.subscribe(request, ended.signal, gate)) {
    if (message.kind === "batch") {
      const { batch } = message;
      const { piece } = await pieceOf(events, batch, (into) => into.write(batch));
      if (piece !== undefined) yield piece;
    } else if (message.kind === "caught-up" && !isLive) {
      isLive = true;
      const revision = await lastRevision(context, wanted, message.position);
      events.writer.message(caughtUp(message, { revision }));
      yield events.writer.take() as PrefixedMessages;
    }
  }
  if (tombstone.isSet) throw streamDeleted(name);
}

/** Undefined: the stream has no events. */
async function lastRevision(
  context: CallerContext,
  { target }: StreamRead,
  position: number,
): Promise<bigint | undefined> {
  const selection = selectionOfTarget(target);
  if (selection.kind !== "stream") return position > 0 ? BigInt(position - 1) : undefined;
  const { version } = await streamState(context, selection.stream);
  return version > 0 ? BigInt(version - 1) : undefined;
}

/** Where a subscription begins. It may begin beyond the last event. */
async function startOf(
  context: CallerContext,
  { target, from, name }: StreamRead,
): Promise<{ start: SubscribeStart; firstVersion: number }> {
  const head = context.log.info().head;
  const selection = selectionOfTarget(target);
  if (selection.kind !== "stream") {
    const position = from.kind === "at" ? Math.min(safe(from.at) + 1, head) : 0;
    const kind = from.kind === "end" ? "end" : "after-position";
    return { start: { kind, position }, firstVersion: 0 };
  }
  const state = await streamState(context, selection.stream);
  if (target.kind === "stream") assertNotTombstoned(state, name);
  if (from.kind === "end") return { start: { kind: "end" }, firstVersion: 0 };
  const version = from.kind === "start" ? 0 : safe(from.at) + 1;
  if (version <= state.version)
    return { start: { kind: "after-version", version }, firstVersion: 0 };
  return { start: { kind: "after-position", position: head }, firstVersion: version + 1 };
}

/** Ends the subscription when its stream is tombstoned. Never rejects. */
async function watchTombstone(
  { log, caller }: CallerContext,
  stream: string,
  tombstone: { isSet: boolean },
  ended: AbortController,
): Promise<void> {
  const selection = { kind: "stream", stream: lifecycleStream(stream), withSystem: true } as const;
  const request: SubscribeRequest = { selection, start: { kind: "end" }, checkpointIntervalMs };
  try {
    for await (const message of log.subscribe(request, ended.signal, caller.gate)) {
      if (message.kind !== "batch") continue;
      const records = [...recordsOfBatch(message.batch)];
      tombstone.isSet = records.some((record) => scanRecord(record).type === tombstoneType);
      if (tombstone.isSet) ended.abort();
    }
  } catch {
    // The log stops, or cannot be read: the subscription itself says so.
  }
}
