// The log as those see it who serve clients. Work for a client passes the gate of its connection:
// to name none does not compile here, because all such clients would wait for each other at the
// log's own gate.

import type { Append } from "../domain/append.ts";
import type { Snapshot } from "../domain/snapshot.ts";
import type { EventTypeFacts, NamePage } from "../storage/storage.ts";
import type { CancelSignal } from "./cancellation.ts";
import type { GroupInfo, GroupLog, GroupPage, ParkedEvent, ParkedPage } from "./group-verbs.ts";
import type { ReadSignal } from "./scheduling/scheduled-read.ts";
import type { Caller, Gate } from "./scheduling/scheduler.ts";
import type {
  CheckpointLog,
  CheckpointPage,
  EventLog,
  FindEventRequest,
  GetStateRequest,
  LoadMessage,
  LoadRequest,
  Offer,
  ReadMessage,
  ReadRequest,
  SnapshotGetRequest,
  SnapshotListRequest,
  StreamInfo,
  StreamState,
  SubscribeMessage,
  SubscribeRequest,
} from "./verbs.ts";

export type { Caller };

type Signal = AbortSignal | undefined;

interface ForConnections {
  readonly groups: Omit<GroupLog, keyof GroupsForConnections> & GroupsForConnections;
  readonly checkpoints: Omit<CheckpointLog, "list"> & {
    list(page: CheckpointPage, caller: Caller): ReturnType<CheckpointLog["list"]>;
  };
  append(
    append: Append,
    signal: CancelSignal | undefined,
    caller: Pick<Caller, "gate">,
  ): ReturnType<EventLog["append"]>;
  lookAhead(append: Append, gate: Gate): ReturnType<EventLog["lookAhead"]>;
  read(
    request: ReadRequest,
    signal: ReadSignal | undefined,
    gate: Gate,
  ): AsyncIterable<ReadMessage>;
  subscribe(
    request: SubscribeRequest,
    signal: AbortSignal,
    gate: Gate,
    offer?: Offer,
  ): AsyncIterable<SubscribeMessage>;
  getSnapshot(request: SnapshotGetRequest, gate: Gate): Promise<Snapshot>;
  listSnapshots(request: SnapshotListRequest, caller: Caller): Promise<Snapshot[]>;
  load(request: LoadRequest, signal: Signal, gate: Gate): AsyncIterable<LoadMessage>;
  getState(request: GetStateRequest, signal: Signal, gate: Gate): Promise<StreamState>;
  findEvent(request: FindEventRequest, caller: Caller): ReturnType<EventLog["findEvent"]>;
  getStream(stream: string, caller: Caller): Promise<StreamInfo>;
  listStreams(page: NamePage, caller: Caller): Promise<StreamInfo[]>;
  listEventTypes(page: NamePage, caller: Caller): Promise<EventTypeFacts[]>;
}

interface GroupsForConnections {
  get(name: string, signal: Signal, gate: Gate): Promise<GroupInfo>;
  list(page: GroupPage, signal: Signal, gate: Gate): Promise<GroupInfo[]>;
  listParked(page: ParkedPage, gate: Gate): Promise<ParkedEvent[]>;
}

export type ServedLog = Omit<EventLog, keyof ForConnections> & ForConnections;
