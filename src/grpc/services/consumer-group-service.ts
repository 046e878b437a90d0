// The consumer group service: each method of the contract, from the wire to the log and back.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  CreateGroupResponseSchema,
  DeleteGroupResponseSchema,
  DiscardParkedResponseSchema,
  GetGroupResponseSchema,
  GroupSchema,
  ListGroupsResponseSchema,
  ReplayParkedResponseSchema,
  ResetGroupResponseSchema,
  UpdateGroupResponseSchema,
  type ConsumerGroupService,
  type CreateGroupRequest,
  type DeleteGroupRequest,
  type DiscardParkedRequest,
  type GetGroupRequest,
  type ListGroupsRequest,
  type Group,
  type ReplayParkedRequest,
  type ResetGroupRequest,
  type UpdateGroupRequest,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { Handlers } from "../transport/bind.ts";
import type { Call } from "../transport/call.ts";
import { consume } from "./consume.ts";
import type { Context } from "./context.ts";
import { checkConsumerName } from "../convert/checkpoint.ts";
import { checkText, Violations } from "../convert/checks.ts";
import {
  convertChanges,
  convertPositions,
  convertSettings,
  convertStart,
  wireGroup,
} from "../convert/group.ts";
import { pageOf } from "../convert/page.ts";
import { listParked } from "./list-parked.ts";

export function consumerGroupService(context: Context): Handlers<typeof ConsumerGroupService> {
  return {
    createGroup: (request) => createGroup(context, request),
    updateGroup: (request) => updateGroup(context, request),
    deleteGroup: (request) => deleteGroup(context, request),
    getGroup: (request, call) => getGroup(context, request, call),
    listGroups: (request, call) => listGroups(context, request, call),
    resetGroup: (request) => resetGroup(context, request),
    consume: (requests) => consume(context, requests),
    listParked: (request) => listParked(context, request),
    replayParked: (request) => replayParked(context, request),
    discardParked: (request) => discardParked(context, request),
  };
}

async function createGroup({ log, limits }: Context, wire: CreateGroupRequest) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const settings = convertSettings(v, wire.settings, limits);
  const start = convertStart(v, wire.start, wire.replace, limits);
  v.throwIfAny();
  const group = wireGroup(await log.groups.create(name, settings, start), limits);
  return create(CreateGroupResponseSchema, { group });
}

async function updateGroup({ log, limits }: Context, wire: UpdateGroupRequest) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const changes = convertChanges(v, { prefix: "", retryDelayMs: 0 }, wire, limits);
  v.throwIfAny();
  const group = wireGroup(await log.groups.update(name, changes), limits);
  return create(UpdateGroupResponseSchema, { group });
}

async function deleteGroup({ log, limits }: Context, wire: DeleteGroupRequest) {
  const deleted = await log.groups.remove(named("name", wire.name, limits));
  return create(DeleteGroupResponseSchema, { deleted });
}

async function getGroup({ log, limits }: Context, wire: GetGroupRequest, call: Call) {
  const info = await log.groups.get(named("name", wire.name, limits), call.signal);
  return create(GetGroupResponseSchema, { group: wireGroup(info, limits) });
}

async function listGroups({ log, limits }: Context, wire: ListGroupsRequest, call: Call) {
  const { prefix } = wire;
  const v = new Violations();
  const { consumerNameBytesMax: bytesMax } = limits;
  checkText(v, "prefix", prefix, { name: "consumer_name_bytes_max", bytesMax });
  v.throwIfAny();
  const { entries, nextPageToken } = await pageOf(
    wire,
    { ...limits, pageSizeMax: limits.groupsPageSizeMax },
    ["ListGroups", prefix],
    ({ name }: Group) => name,
    (group) => toBinary(GroupSchema, group).length,
    async (after, limit) => {
      const infos = await log.groups.list({ prefix, after, limit }, call.signal);
      return infos.map((info) => wireGroup(info, limits));
    },
  );
  return create(ListGroupsResponseSchema, { groups: entries, nextPageToken });
}

async function resetGroup({ log, limits }: Context, wire: ResetGroupRequest) {
  const v = new Violations();
  const name = checkConsumerName(v, "name", wire.name, limits);
  const start = convertStart(v, wire.start, false, limits);
  v.throwIfAny();
  const group = wireGroup(await log.groups.reset(name, start), limits);
  return create(ResetGroupResponseSchema, { group });
}

async function replayParked({ log, limits }: Context, wire: ReplayParkedRequest) {
  const [group, positions] = parkedAsked(wire, limits);
  const replayedCount = BigInt(await log.groups.replayParked(group, positions));
  return create(ReplayParkedResponseSchema, { replayedCount });
}

async function discardParked({ log, limits }: Context, wire: DiscardParkedRequest) {
  const [group, positions] = parkedAsked(wire, limits);
  const discardedCount = BigInt(await log.groups.discardParked(group, positions));
  return create(DiscardParkedResponseSchema, { discardedCount });
}

function parkedAsked(
  wire: ReplayParkedRequest | DiscardParkedRequest,
  limits: Context["limits"],
): [group: string, positions: number[]] {
  const v = new Violations();
  const group = checkConsumerName(v, "group", wire.group, limits);
  const positions = convertPositions(v, wire.positions, limits);
  v.throwIfAny();
  return [group, positions];
}

function named(field: string, name: string, limits: Context["limits"]): string {
  const v = new Violations();
  checkConsumerName(v, field, name, limits);
  v.throwIfAny();
  return name;
}
