// GetStream, ListStreams, ListEventTypes and GetInfo.

import { create } from "@bufbuild/protobuf";
import { positionMax, type Limits } from "../../domain/limits.ts";
import {
  Durability,
  GetInfoResponseSchema,
  GetStreamResponseSchema,
  ListEventTypesResponseSchema,
  ListStreamsResponseSchema,
  ReclaimPhase,
  WriteState,
  type GetInfoResponse,
  type GetStreamRequest,
  type GetStreamResponse,
  type ListEventTypesRequest,
  type ListEventTypesResponse,
  type ListStreamsRequest,
  type ListStreamsResponse,
} from "../../gen/annals/v1/info_pb.js";
import type { StreamInfo } from "../../log/verbs.ts";
import type { EventTypeFacts, ReclaimStatus } from "../../storage/storage.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";
import { checkText, Violations } from "../convert/checks.ts";
import { pageOf } from "../convert/page.ts";
import { checkStreamName } from "../convert/read-request.ts";
import { wireStreamInfo } from "../convert/stream.ts";
import { timestamp } from "../convert/time.ts";

/** Bytes of a list's entry besides its name. */
const entryBytes = 128;
/** Bytes of a label besides its text. */
const labelBytes = 12;

export function infoMethods(context: ServiceContext) {
  return {
    getStream: (request) => getStream(context, request),
    listStreams: (request) => listStreams(context, request),
    listEventTypes: (request) => listEventTypes(context, request),
    getInfo: () => getInfo(context),
  } satisfies EventStoreMethods;
}

async function getStream(
  { log, limits }: ServiceContext,
  wire: GetStreamRequest,
): Promise<GetStreamResponse> {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  v.throwIfAny();
  return create(GetStreamResponseSchema, { stream: wireStreamInfo(await log.getStream(stream)) });
}

async function listStreams(
  { log, limits }: ServiceContext,
  wire: ListStreamsRequest,
): Promise<ListStreamsResponse> {
  const { prefix } = wire;
  checkPrefix(prefix, "stream_name_bytes_max", limits.streamNameBytesMax);
  const { entries, nextPageToken } = await pageOf(wire, limits, {
    scope: ["ListStreams", prefix],
    cursorOf: ({ stream }: StreamInfo) => stream,
    bytesOf: streamBytes,
    list: (after, limit) => log.listStreams({ prefix, after, limit }),
  });
  return create(ListStreamsResponseSchema, { streams: entries.map(wireStreamInfo), nextPageToken });
}

function streamBytes({ stream, lifecycle }: StreamInfo): number {
  let bytes = entryBytes + Buffer.byteLength(stream);
  for (const [key, value] of Object.entries(lifecycle?.policy.labels ?? {})) {
    bytes += labelBytes + Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  return bytes;
}

async function listEventTypes(
  { log, limits }: ServiceContext,
  wire: ListEventTypesRequest,
): Promise<ListEventTypesResponse> {
  const { prefix } = wire;
  checkPrefix(prefix, "type_bytes_max", limits.typeBytesMax);
  const { entries, nextPageToken } = await pageOf(wire, limits, {
    scope: ["ListEventTypes", prefix],
    cursorOf: ({ type }: EventTypeFacts) => type,
    bytesOf: ({ type }) => entryBytes + Buffer.byteLength(type),
    list: (after, limit) => log.listEventTypes({ prefix, after, limit }),
  });
  const eventTypes = entries.map(({ type, recordedCount, firstPosition, lastPosition }) => ({
    type,
    recordedCount: BigInt(recordedCount),
    firstPosition: BigInt(firstPosition),
    lastPosition: BigInt(lastPosition),
  }));
  return create(ListEventTypesResponseSchema, { eventTypes, nextPageToken });
}

function checkPrefix(prefix: string, name: string, bytesMax: number): void {
  const v = new Violations();
  checkText(v, "prefix", prefix, { name, bytesMax });
  v.throwIfAny();
}

const durabilities = { synced: Durability.SYNCED, memory: Durability.MEMORY } as const;
const writeStates = {
  accepting: WriteState.ACCEPTING,
  "disk-full": WriteState.DISK_FULL,
  recovering: WriteState.RECOVERING,
  failed: WriteState.FAILED,
} as const;

const reclaimPhases = {
  waiting: ReclaimPhase.WAITING,
  looking: ReclaimPhase.LOOKING,
  reclaiming: ReclaimPhase.RECLAIMING,
  compacting: ReclaimPhase.COMPACTING,
  stopped: ReclaimPhase.STOPPED,
} as const;

function getInfo({ log, limits, serverVersion, startedAt }: ServiceContext): GetInfoResponse {
  const { identity, head, writeState, subscriberCount, reclaiming } = log.info();
  const { storeId, engine, formatVersion } = identity;
  const intervalMs = limits.checkpointIntervalDefaultMs;
  return create(GetInfoResponseSchema, {
    serverVersion,
    storeId,
    engine,
    formatVersion,
    subscriberCount,
    head: BigInt(head),
    durability: durabilities[identity.durability],
    limits: limitsInForce(limits),
    startedAt: timestamp(startedAt),
    createdAt: timestamp(identity.createdAt),
    checkpointIntervalDefault: {
      seconds: BigInt(Math.floor(intervalMs / 1_000)),
      nanos: (intervalMs % 1_000) * 1_000_000,
    },
    writeState: writeStates[writeState],
    ...(reclaiming && { reclaiming: reclaimInfo(reclaiming) }),
  });
}

function reclaimInfo({ phase, rounds, events, bytesFreed, lastFinishedAt }: ReclaimStatus) {
  return {
    phase: reclaimPhases[phase],
    rounds: BigInt(rounds),
    events: BigInt(events),
    // Removed records of very short events can be longer than the events were.
    bytesFreed: BigInt(Math.max(0, bytesFreed)),
    ...(lastFinishedAt > 0 && { lastFinishedAt: timestamp(lastFinishedAt) }),
  };
}

function limitsInForce(limits: Limits) {
  return {
    ...limits,
    eventBytesMax: BigInt(limits.eventBytesMax),
    appendBytesMax: BigInt(limits.appendBytesMax),
    snapshotBytesMax: BigInt(limits.snapshotBytesMax),
    appendQueueBytesMax: BigInt(limits.appendQueueBytesMax),
    positionMax: BigInt(positionMax),
  };
}
