// GetStream, ListStreams, ListEventTypes and GetInfo.

import { create, toBinary } from "@bufbuild/protobuf";
import { currentEpoch } from "../../domain/epoch.ts";
import { jsonTextBytesMax } from "../../domain/json.ts";
import { positionMax, type Limits } from "../../domain/limits.ts";
import {
  Durability,
  FollowerPhase,
  EventTypeInfoSchema,
  GetInfoResponseSchema,
  GetStreamResponseSchema,
  ReclaimPhase,
  StreamInfoSchema,
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
import type { FollowStatus } from "../../storage/copy.ts";
import type { EventTypeFacts, ReclaimStatus } from "../../storage/storage.ts";
import type { Call } from "../transport/call-environment.ts";
import type { Encoded } from "../transport/methods.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";
import { checkText, Violations } from "../convert/checks.ts";
import { epochInfo } from "../convert/epoch.ts";
import { pageOf, type PagedList } from "../convert/page.ts";
import { checkStreamName } from "../convert/read-request.ts";
import { wireStreamInfo } from "../convert/stream.ts";
import { timeSpan, timestamp } from "../convert/time.ts";

export function infoMethods(context: ServiceContext) {
  return {
    getStream: (request, call) => getStream(context, request, call),
    listStreams: (request, call) => listStreams(context, request, call),
    listEventTypes: (request, call) => listEventTypes(context, request, call),
    getInfo: () => getInfo(context),
  } satisfies EventStoreMethods;
}

async function getStream(
  { log, limits }: ServiceContext,
  wire: GetStreamRequest,
  call: Call,
): Promise<GetStreamResponse> {
  const v = new Violations();
  const stream = checkStreamName(v, "stream", wire.stream, limits);
  v.throwIfAny();
  const info = await log.getStream(stream, call);
  return create(GetStreamResponseSchema, { stream: wireStreamInfo(info) });
}

function listStreams(
  context: ServiceContext,
  wire: ListStreamsRequest,
  call: Call,
): Promise<Encoded<ListStreamsResponse>> {
  const { log, limits } = context;
  const { prefix } = wire;
  checkPrefix(prefix, "stream_name_bytes_max", limits.streamNameBytesMax);
  const streams: PagedList<StreamInfo> = {
    scope: ["ListStreams", prefix],
    cursorOf: (last) => last.stream,
    encode: (info) => toBinary(StreamInfoSchema, create(StreamInfoSchema, wireStreamInfo(info))),
    list: (after, limit) => log.listStreams({ prefix, after, limit }, call),
  };
  return pageOf(wire, context, streams, call);
}

function listEventTypes(
  context: ServiceContext,
  wire: ListEventTypesRequest,
  call: Call,
): Promise<Encoded<ListEventTypesResponse>> {
  const { log, limits } = context;
  const { prefix } = wire;
  checkPrefix(prefix, "type_bytes_max", limits.typeBytesMax);
  const types: PagedList<EventTypeFacts> = {
    scope: ["ListEventTypes", prefix],
    cursorOf: (last) => last.type,
    encode: (facts) => toBinary(EventTypeInfoSchema, wireEventType(facts)),
    list: (after, limit) => log.listEventTypes({ prefix, after, limit }, call),
  };
  return pageOf(wire, context, types, call);
}

function wireEventType({ type, recordedCount, firstPosition, lastPosition }: EventTypeFacts) {
  return create(EventTypeInfoSchema, {
    type,
    recordedCount: BigInt(recordedCount),
    firstPosition: BigInt(firstPosition),
    lastPosition: BigInt(lastPosition),
  });
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
  unreachable: WriteState.RECOVERING,
  failed: WriteState.FAILED,
  following: WriteState.FOLLOWING,
} as const;

const reclaimPhases = {
  waiting: ReclaimPhase.WAITING,
  looking: ReclaimPhase.LOOKING,
  reclaiming: ReclaimPhase.RECLAIMING,
  compacting: ReclaimPhase.COMPACTING,
  stopped: ReclaimPhase.STOPPED,
} as const;

function getInfo({ log, limits, serverVersion, startedAt }: ServiceContext): GetInfoResponse {
  const { identity, head, writeState, subscriberCount, reclaiming, following } = log.info();
  const { storeId, engine, formatVersion, history } = identity;
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
    epoch: currentEpoch(history),
    epochs: history.map(epochInfo),
    ...(reclaiming && { reclaiming: reclaimInfo(reclaiming) }),
    ...(following && { follower: followerInfo(following) }),
  });
}

const followerPhases = {
  copying: FollowerPhase.COPYING,
  following: FollowerPhase.FOLLOWING,
  disconnected: FollowerPhase.DISCONNECTED,
  refused: FollowerPhase.REFUSED,
} as const;

function followerInfo({ leader, phase, why, leaderHead, lagEvents, lagMs }: FollowStatus) {
  return {
    leader,
    phase: followerPhases[phase],
    why,
    leaderHead: BigInt(leaderHead),
    lagEvents: BigInt(lagEvents),
    lag: timeSpan(lagMs * 1_000),
  };
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
    jsonTextBytesMax,
  };
}
