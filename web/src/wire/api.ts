// The methods of the server that the console calls, with the types of the contract.

import type {
  DiscardParkedResponseJson,
  GetGroupResponseJson,
  ListGroupsResponseJson,
  ListParkedResponseJson,
  ReplayParkedResponseJson,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import type { ListCheckpointsResponseJson } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import type {
  GetInfoResponseJson,
  GetStreamResponseJson,
  ListEventTypesResponseJson,
  ListStreamsResponseJson,
} from "../../../src/gen/annals/v1/info_pb.js";
import type {
  GetEventRequestJson,
  GetEventResponseJson,
  ReadRequestJson,
  ReadResponseJson,
  SubscribeRequestJson,
  SubscribeResponseJson,
} from "../../../src/gen/annals/v1/read_pb.js";
import type {
  GetSnapshotResponseJson,
  GetStateResponseJson,
  ListSnapshotsResponseJson,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import { stream, unary } from "./call.ts";
import { failureOf } from "./call-failure.ts";
import { tokenHeader } from "./token.ts";

const events = "EventStoreService";
const groups = "ConsumerGroupService";

interface Page {
  readonly prefix?: string;
  readonly pageSize?: number;
  readonly pageToken?: string;
}

export const api = {
  info: (signal?: AbortSignal) => unary<GetInfoResponseJson>(`${events}/GetInfo`, {}, signal),
  streams: (page: Page, signal?: AbortSignal) =>
    unary<ListStreamsResponseJson>(`${events}/ListStreams`, page, signal),
  stream: (name: string, signal?: AbortSignal) =>
    unary<GetStreamResponseJson>(`${events}/GetStream`, { stream: name }, signal),
  event: (request: GetEventRequestJson, signal?: AbortSignal) =>
    unary<GetEventResponseJson>(`${events}/GetEvent`, request, signal),
  types: (page: Page, signal?: AbortSignal) =>
    unary<ListEventTypesResponseJson>(`${events}/ListEventTypes`, page, signal),
  state: (name: string, version: string | undefined, signal?: AbortSignal) =>
    unary<GetStateResponseJson>(`${events}/GetState`, { stream: name, version }, signal),
  snapshots: (name: string, pageToken: string, signal?: AbortSignal) =>
    unary<ListSnapshotsResponseJson>(
      `${events}/ListSnapshots`,
      { stream: name, pageToken },
      signal,
    ),
  snapshot: (request: { stream: string; kind: string; maxVersion: string }, signal?: AbortSignal) =>
    unary<GetSnapshotResponseJson>(`${events}/GetSnapshot`, request, signal),
  read: (request: ReadRequestJson, signal: AbortSignal) =>
    stream<ReadResponseJson>(`${events}/Read`, request, signal),
  subscribe: (request: SubscribeRequestJson, signal: AbortSignal) =>
    stream<SubscribeResponseJson>(`${events}/Subscribe`, request, signal),
  groups: (page: Page, signal?: AbortSignal) =>
    unary<ListGroupsResponseJson>(`${groups}/ListGroups`, page, signal),
  group: (name: string, signal?: AbortSignal) =>
    unary<GetGroupResponseJson>(`${groups}/GetGroup`, { name }, signal),
  parked: (request: { group: string; pageToken: string }, signal?: AbortSignal) =>
    unary<ListParkedResponseJson>(`${groups}/ListParked`, { ...request, pageSize: 50 }, signal),
  replayParked: (group: string, positions: readonly string[], epoch: string) =>
    unary<ReplayParkedResponseJson>(`${groups}/ReplayParked`, { group, positions, epoch }),
  discardParked: (group: string, positions: readonly string[], epoch: string) =>
    unary<DiscardParkedResponseJson>(`${groups}/DiscardParked`, { group, positions, epoch }),
  checkpoints: (page: Page, signal?: AbortSignal) =>
    unary<ListCheckpointsResponseJson>("CheckpointService/ListCheckpoints", page, signal),
};

/** The text of `/metrics`. Undefined: this server has none, or does not tell them to this caller. */
export async function metricsText(signal?: AbortSignal): Promise<string | undefined> {
  const init = { headers: tokenHeader(), ...(signal && { signal }) };
  const response = await fetch("/metrics", init).catch((error: unknown) => {
    throw failureOf(error);
  });
  return response.ok ? response.text() : undefined;
}
