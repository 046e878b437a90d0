// The consumer group service: one handler for each method.

import { create, toBinary } from "@bufbuild/protobuf";
import { groupNeeds } from "../../access/requirements.ts";
import { AnnalsError } from "../../domain/errors.ts";
import { positionMax } from "../../domain/limits.ts";
import { queryBytes } from "../../domain/query.ts";
import {
  CreateGroupResponseSchema,
  DeleteGroupResponseSchema,
  DiscardParkedResponseSchema,
  GetGroupResponseSchema,
  GroupSchema,
  ParkedEventSchema,
  ReplayParkedResponseSchema,
  ResetGroupResponseSchema,
  UpdateGroupResponseSchema,
  type ConsumeRequest,
  type ConsumeResponse,
  type ConsumerGroupService,
  type CreateGroupRequest,
  type DeleteGroupRequest,
  type DiscardParkedRequest,
  type GetGroupRequest,
  type GroupStart,
  type ListGroupsRequest,
  type ListGroupsResponse,
  type ListParkedRequest,
  type ListParkedResponse,
  type ReplayParkedRequest,
  type ResetGroupRequest,
  type UpdateGroupRequest,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import { currentEpoch } from "../../domain/epoch.ts";
import type { GroupInfo, GroupMember, ParkedEvent } from "../../log/group-verbs.ts";
import { inView, wrap } from "../convert/batches.ts";
import { checkConsumerName } from "../convert/checkpoint.ts";
import { checkText, Violations } from "../convert/checks.ts";
import { epochField, requireEpoch } from "../convert/epoch.ts";
import {
  convertJoin,
  convertMemberRequest,
  deliveryMessages,
  neverJoined,
  wireJoined,
  wireNews,
} from "../convert/group-member.ts";
import {
  convertChanges,
  convertPositions,
  convertStart,
  settingsInSteps,
  wireGroup,
} from "../convert/group.ts";
import { pageBytesMax, pageOf, type PagedList } from "../convert/page.ts";
import { convertView, type EventView } from "../convert/read-request.ts";
import { timestamp } from "../convert/time.ts";
import type { Answer, Encoded, Handlers } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { ServiceContext } from "./context.ts";

export function consumerGroupService(
  context: ServiceContext,
): Handlers<typeof ConsumerGroupService> {
  return {
    createGroup: (request, call) => createGroup(context, request, call),
    updateGroup: (request) => updateGroup(context, request),
    deleteGroup: (request) => deleteGroup(context, request),
    getGroup: (request, call) => getGroup(context, request, call),
    listGroups: (request, call) => listGroups(context, request, call),
    resetGroup: (request) => resetGroup(context, request),
    consume: (requests, call) => consume(context, requests, call),
    listParked: (request, call) =>
      context.environment.largeAnswers.make(call, () => listParked(context, request, call)),
    replayParked: (request) => replayParked(context, request),
    discardParked: (request) => discardParked(context, request),
  };
}

async function createGroup({ log, limits }: ServiceContext, wire: CreateGroupRequest, call: Call) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const settings = await call.inSteps(settingsInSteps(v, wire.settings, limits));
  const start = convertStart(v, wire.start, wire.replace, limits);
  v.throwIfAny();
  await requireStart(log, wire.start);
  const group = wireGroup(await log.groups.create(name, settings, start), limits);
  return create(CreateGroupResponseSchema, { group });
}

/** Throws EPOCH_MISMATCH. */
async function requireStart(log: ServiceContext["log"], wire: GroupStart | undefined) {
  const { start, epoch = "" } = wire ?? {};
  const position = start?.case === "afterPosition" ? Number(start.value) : 0;
  await requireEpoch(log, epoch, [{ field: "start.after_position", position }], "start.epoch");
}

async function updateGroup({ log, limits }: ServiceContext, wire: UpdateGroupRequest) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const changes = convertChanges(v, { prefix: "", retryDelayMs: 0 }, wire, limits);
  v.throwIfAny();
  const group = wireGroup(await log.groups.update(name, changes), limits);
  return create(UpdateGroupResponseSchema, { group });
}

async function deleteGroup({ log, limits }: ServiceContext, wire: DeleteGroupRequest) {
  const deleted = await log.groups.remove(named("name", wire.name, limits));
  return create(DeleteGroupResponseSchema, { deleted });
}

async function getGroup({ log, limits }: ServiceContext, wire: GetGroupRequest, call: Call) {
  const info = await log.groups.get(named("name", wire.name, limits), call.signal, call.gate);
  return create(GetGroupResponseSchema, { group: wireGroup(info, limits) });
}

function listGroups(
  context: ServiceContext,
  wire: ListGroupsRequest,
  call: Call,
): Promise<Encoded<ListGroupsResponse>> {
  const { log, limits } = context;
  const { prefix } = wire;
  const v = new Violations();
  const { consumerNameBytesMax: bytesMax } = limits;
  checkText(v, "prefix", prefix, { name: "consumer_name_bytes_max", bytesMax });
  v.throwIfAny();
  const groups: PagedList<GroupInfo> = {
    scope: ["ListGroups", prefix],
    cursorOf: ({ name }) => name,
    encode: (info) => toBinary(GroupSchema, wireGroup(info, limits)),
    list: (after, limit) => log.groups.list({ prefix, after, limit }, call.signal, call.gate),
  };
  const paging = { ...context, limits: { ...limits, pageSizeMax: limits.groupsPageSizeMax } };
  return pageOf(wire, paging, groups, call);
}

async function resetGroup({ log, limits }: ServiceContext, wire: ResetGroupRequest) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const start = convertStart(v, wire.start, false, limits);
  v.throwIfAny();
  await requireStart(log, wire.start);
  const group = wireGroup(await log.groups.reset(name, start), limits);
  return create(ResetGroupResponseSchema, { group });
}

async function replayParked({ log, limits }: ServiceContext, wire: ReplayParkedRequest) {
  const [group, positions] = await parkedAsked(wire, log, limits);
  const replayedCount = BigInt(await log.groups.replayParked(group, positions));
  return create(ReplayParkedResponseSchema, { replayedCount });
}

async function discardParked({ log, limits }: ServiceContext, wire: DiscardParkedRequest) {
  const [group, positions] = await parkedAsked(wire, log, limits);
  const discardedCount = BigInt(await log.groups.discardParked(group, positions));
  return create(DiscardParkedResponseSchema, { discardedCount });
}

/** Throws EPOCH_MISMATCH: the last position is shared with another history only if all are. */
async function parkedAsked(
  wire: ReplayParkedRequest | DiscardParkedRequest,
  log: ServiceContext["log"],
  limits: ServiceContext["limits"],
): Promise<[group: string, positions: number[]]> {
  const v = new Violations();
  const group = checkConsumerName(v, "group", wire.group, limits);
  const positions = convertPositions(v, wire.positions, limits);
  v.throwIfAny();
  const position = positions.reduce((last, each) => Math.max(last, each), 0);
  await requireEpoch(log, wire.epoch, [{ field: "positions", position }]);
  return [group, positions];
}

function named(field: string, name: string, limits: ServiceContext["limits"]): string {
  const v = new Violations();
  checkConsumerName(v, field, name, limits);
  v.throwIfAny();
  return name;
}

/**
 * A member of a group, for as long as its call lasts. What it is told is pulled by its window, what
 * it says goes to the group; the one that ends first ends the other.
 */
async function* consume(
  { log, limits }: ServiceContext,
  requests: AsyncIterable<ConsumeRequest>,
  call: Call,
): AsyncGenerator<Answer<ConsumeResponse>> {
  const incoming = requests[Symbol.asyncIterator]();
  const first = await incoming.next();
  if (first.done === true) throw neverJoined();
  const { group, wish, view } = convertJoin(first.value, limits);
  await permitReceiving(log, group, call);
  // A member keeps its group, and with it the group's query, in memory.
  call.hold(queryBytes((await log.groups.settings(group)).query));
  const member = await log.groups.join(group, wish);
  const listening = listen(member, incoming, limits);
  // A failure is for the end of the call; a call that ends early never asks for it.
  listening.catch(() => {});
  try {
    yield wireJoined(member.leaseMs, wish.permits);
    for await (const message of member.messages()) {
      if (message.kind !== "deliveries") yield wireNews(message);
      else yield* deliveryMessages(message.deliveries, view, limits);
    }
  } finally {
    member.leave();
  }
  await listening;
}

/** The events of a group are for those who may read all that its query selects. */
async function permitReceiving(
  log: ServiceContext["log"],
  group: string,
  call: Call,
): Promise<void> {
  if (call.principal === "") return;
  const { query } = await log.groups.settings(group);
  call.require(groupNeeds(group, query));
}

/** Reads the member's messages until its last one. A failure ends the membership. */
async function listen(
  member: GroupMember,
  incoming: AsyncIterator<ConsumeRequest>,
  limits: ServiceContext["limits"],
): Promise<void> {
  try {
    for (;;) {
      const next = await incoming.next();
      if (next.done === true) break;
      const room = member.handle(convertMemberRequest(next.value, limits));
      if (room !== undefined) await room;
    }
    member.finish();
  } catch (error) {
    // The group ends its members itself when the server stops, once what they said is durable.
    if (error instanceof AnnalsError && error.reason === "STOPPING") return;
    member.leave();
    throw error;
  }
}

const tagEvent = 0x2a;
/** `ListParkedResponse.epoch`. */
const tagParkedEpoch = 0x1a;

/** Parked events with their records. Records may be large: see `ParkedPage.bytesMax`. */
async function listParked(
  context: ServiceContext,
  wire: ListParkedRequest,
  call: Call,
): Promise<Encoded<ListParkedResponse>> {
  const { log, limits } = context;
  const v = new Violations();
  const group = checkConsumerName(v, "group", wire.group, limits);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  await permitReceiving(log, group, call);
  const parked: PagedList<ParkedEvent> = {
    scope: ["ListParked", group],
    cursorOf: ({ position }) => `${position}`,
    encode: (one) => parkedBytes(one, view, limits),
    list: (cursor, limit) => {
      const after = cursor === "" ? 0 : Math.min(Number(cursor), positionMax);
      return log.groups.listParked({ group, after, limit, bytesMax: pageBytesMax }, call.gate);
    },
  };
  const epoch = epochField(tagParkedEpoch, currentEpoch(log.info().identity.history));
  return Buffer.concat([await pageOf(wire, context, parked, call), epoch]);
}

function parkedBytes(
  { position, attempts, reason, parkedAt, record }: ParkedEvent,
  view: EventView,
  limits: ServiceContext["limits"],
): Uint8Array {
  const fields = { position: BigInt(position), attempts, reason, parkedAt: timestamp(parkedAt) };
  const head = toBinary(ParkedEventSchema, create(ParkedEventSchema, fields));
  if (record === undefined) return head;
  return Buffer.concat([head, wrap(tagEvent, inView(record, view, limits))]);
}
