// The checkpoint service: one handler for each method.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Checkpoint, ExpectedCheckpoint } from "../../domain/checkpoint.ts";
import { currentEpoch } from "../../domain/epoch.ts";
import {
  ConsumerCheckpointSchema,
  DeleteCheckpointResponseSchema,
  GetCheckpointResponseSchema,
  SaveCheckpointResponseSchema,
  WaitForResponseSchema,
  type CheckpointService,
  type DeleteCheckpointRequest,
  type GetCheckpointRequest,
  type ListCheckpointsRequest,
  type ListCheckpointsResponse,
  type SaveCheckpointRequest,
  type WaitForRequest,
} from "../../gen/annals/v1/checkpoint_service_pb.js";
import type { Encoded, Handlers } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { ServiceContext } from "./context.ts";
import { checkConsumerName, convertUpdate, wireCheckpoint } from "../convert/checkpoint.ts";
import { checkText, checkUint64, Violations } from "../convert/checks.ts";
import { requireEpoch } from "../convert/epoch.ts";
import { pageOf, type PagedList } from "../convert/page.ts";
import { checkDuration } from "../convert/time.ts";

export function checkpointService(context: ServiceContext): Handlers<typeof CheckpointService> {
  return {
    saveCheckpoint: (request, call) => save(context, request, call),
    getCheckpoint: (request) => get(context, request),
    listCheckpoints: (request, call) => list(context, request, call),
    deleteCheckpoint: (request, call) => remove(context, request, call),
    waitFor: (request, call) => waitFor(context, request, call),
  };
}

async function save({ log, limits }: ServiceContext, wire: SaveCheckpointRequest, call: Call) {
  const v = new Violations();
  const update = convertUpdate(v, "", wire, limits);
  v.throwIfAny();
  const position = Number(update.position);
  await requireEpoch(log, wire.epoch, [{ field: "position", position }]);
  const { reset } = wire;
  const saved = await log.checkpoints.save(
    { update, reset, expected: expectedIn(wire) },
    call.signal,
  );
  return create(SaveCheckpointResponseSchema, { checkpoint: wireCheckpoint(saved) });
}

function expectedIn({ expected }: SaveCheckpointRequest): ExpectedCheckpoint | undefined {
  if (expected.case === "expectedPosition") return expected.value;
  return expected.value === true ? "absent" : undefined;
}

async function get({ log, limits }: ServiceContext, wire: GetCheckpointRequest) {
  const checkpoint = wireCheckpoint(await log.checkpoints.get(consumerOf(wire, limits)));
  return create(GetCheckpointResponseSchema, { checkpoint });
}

function list(
  context: ServiceContext,
  wire: ListCheckpointsRequest,
  call: Call,
): Promise<Encoded<ListCheckpointsResponse>> {
  const { log, limits } = context;
  const { prefix } = wire;
  const v = new Violations();
  const { consumerNameBytesMax: bytesMax } = limits;
  checkText(v, "prefix", prefix, { name: "consumer_name_bytes_max", bytesMax });
  v.throwIfAny();
  const checkpoints: PagedList<Checkpoint> = {
    scope: ["ListCheckpoints", prefix],
    cursorOf: ({ consumer }) => consumer,
    encode: (checkpoint) => toBinary(ConsumerCheckpointSchema, wireCheckpoint(checkpoint)),
    list: (after, limit) => log.checkpoints.list({ prefix, after, limit }, call),
  };
  return pageOf(wire, context, checkpoints, call);
}

async function remove({ log, limits }: ServiceContext, wire: DeleteCheckpointRequest, call: Call) {
  const deleted = await log.checkpoints.remove(consumerOf(wire, limits), call.signal);
  return create(DeleteCheckpointResponseSchema, { deleted });
}

function consumerOf({ consumer }: { readonly consumer: string }, limits: ServiceContext["limits"]) {
  const v = new Violations();
  checkConsumerName(v, "consumer", consumer, limits);
  v.throwIfAny();
  return consumer;
}

async function waitFor({ log, limits }: ServiceContext, wire: WaitForRequest, call: Call) {
  const v = new Violations();
  const { who, timeout } = wire;
  const { waitTimeoutDefaultMs, waitTimeoutMaxMs } = limits;
  const timeoutMs =
    timeout === undefined
      ? waitTimeoutDefaultMs
      : checkDuration(v, "timeout", timeout, 0, waitTimeoutMaxMs);
  // A consumer may count the positions of another log, which may be greater.
  const position =
    who.case === "group" ? checkUint64(v, "position", wire.position) : Number(wire.position);
  if (who.case === undefined) v.add("who", "is required: consumer or group");
  else checkConsumerName(v, who.case, who.value, limits);
  v.throwIfAny();
  await requireEpoch(log, wire.epoch, [{ field: "position", position }]);
  const { signal } = call;
  const { value: name = "" } = who;
  const reached =
    who.case === "group"
      ? await log.groups.waitFor(name, position, timeoutMs, signal)
      : await log.checkpoints.waitFor(name, wire.position, timeoutMs, signal);
  const epoch = currentEpoch(log.info().identity.history);
  return create(WaitForResponseSchema, { position: BigInt(reached), epoch });
}
