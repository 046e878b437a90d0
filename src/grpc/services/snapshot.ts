// Snapshots and GetState.

import { create } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import type { Snapshot } from "../../domain/snapshot.ts";
import {
  DeleteSnapshotsResponseSchema,
  SaveSnapshotResponseSchema,
  type DeleteSnapshotsRequest,
  type DeleteSnapshotsResponse,
  type GetSnapshotRequest,
  type GetSnapshotResponse,
  type ListSnapshotsRequest,
  type ListSnapshotsResponse,
  type GetStateRequest,
  type GetStateResponse,
  type SaveSnapshotRequest,
  type SaveSnapshotResponse,
} from "../../gen/annals/v1/snapshot_pb.js";
import type { Encoded } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";
import { wrap } from "../convert/batches.ts";
import { requireEpoch } from "../convert/epoch.ts";
import { pageOf, type PagedList } from "../convert/page.ts";
import { convertGetState } from "../convert/read-request.ts";
import {
  stateInSteps,
  snapshotBytes,
  convertGet,
  convertListed,
  convertSave,
  convertSelected,
} from "../convert/snapshot.ts";
import { timestamp } from "../convert/time.ts";

const tagSnapshot = 0x0a;

export function snapshotMethods(context: ServiceContext) {
  return {
    saveSnapshot: (request, call) => saveSnapshot(context, request, call),
    getSnapshot: (request, call) =>
      context.environment.largeAnswers.make(call, () => getSnapshot(context, request, call)),
    listSnapshots: (request, call) => {
      const { view, snapshots } = listOf(context, request, call);
      const page = () => pageOf<Snapshot, ListSnapshotsResponse>(request, context, snapshots, call);
      return view === "headers" ? page() : context.environment.largeAnswers.make(call, page);
    },
    deleteSnapshots: (request, call) => deleteSnapshots(context, request, call),
    getState: (request, call) =>
      context.environment.largeAnswers.make(call, () => getState(context, request, call)),
  } satisfies EventStoreMethods;
}

async function saveSnapshot(
  { log, limits }: ServiceContext,
  wire: SaveSnapshotRequest,
  call: Call,
): Promise<SaveSnapshotResponse> {
  const snapshot = convertSave(wire, limits);
  const { stream, version } = snapshot;
  await requireEpoch(log, wire.epoch, [{ field: "version", stream, version }]);
  const { position, savedAt } = await log.saveSnapshot(snapshot, call.signal);
  const saved = { position: BigInt(position), savedAt: timestamp(savedAt) };
  return create(SaveSnapshotResponseSchema, saved);
}

async function getSnapshot(
  { log, limits }: ServiceContext,
  wire: GetSnapshotRequest,
  call: Call,
): Promise<Encoded<GetSnapshotResponse>> {
  const { view, ...asked } = convertGet(wire, limits);
  const snapshot = await log.getSnapshot(asked, call.gate);
  return wrap(tagSnapshot, [snapshotBytes(snapshot, view, limits)]);
}

function listOf({ log, limits }: ServiceContext, wire: ListSnapshotsRequest, call: Call) {
  const { view, ...asked } = convertListed(wire, limits);
  const { stream, kind } = asked;
  const snapshots: PagedList<Snapshot> = {
    scope: ["ListSnapshots", stream, ...(kind === undefined ? [] : [kind])],
    cursorOf: (last) => `${last.version} ${last.kind}`,
    encode: (snapshot) => snapshotBytes(snapshot, view, limits),
    list: (after, limit) =>
      log.listSnapshots(
        { ...asked, limit, after: keyOf(after), withData: view !== "headers" },
        call,
      ),
  };
  return { view, snapshots };
}

/** The snapshot that a page cursor names: its version, a space, its kind. */
function keyOf(cursor: string): { kind: string; version: number } | undefined {
  if (cursor === "") return undefined;
  const space = cursor.indexOf(" ");
  const version = Number(cursor.slice(0, space));
  if (!Number.isSafeInteger(version)) throw invalidField("page_token", "is malformed");
  return { kind: cursor.slice(space + 1), version };
}

async function deleteSnapshots(
  { log, limits }: ServiceContext,
  wire: DeleteSnapshotsRequest,
  call: Call,
): Promise<DeleteSnapshotsResponse> {
  const selection = convertSelected(wire, limits);
  const deletedCount = BigInt(await log.deleteSnapshots(selection, call.signal));
  return create(DeleteSnapshotsResponseSchema, { deletedCount });
}

async function getState(
  { log, limits }: ServiceContext,
  wire: GetStateRequest,
  call: Call,
): Promise<Encoded<GetStateResponse>> {
  const state = await log.getState(convertGetState(wire, limits), call.signal, call.gate);
  return call.inSteps(stateInSteps(state, limits));
}
