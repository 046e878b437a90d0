// Converts checkpoints.

import { create } from "@bufbuild/protobuf";
import type { Checkpoint, CheckpointUpdate } from "../../domain/checkpoint.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  ConsumerCheckpointSchema,
  type CheckpointUpdate as WireUpdate,
  type ConsumerCheckpoint,
} from "../../gen/annals/v1/checkpoint_service_pb.js";
import { checkMetadata, checkOwnName, checkText, checkUint64, type Violations } from "./checks.ts";
import { checkEpoch } from "./epoch.ts";
import { timestamp } from "./time.ts";

/** The name of a consumer, a group or a member. */
export function checkConsumerName(
  v: Violations,
  field: string,
  name: string,
  { consumerNameBytesMax: bytesMax }: Limits,
): string {
  return checkOwnName(v, field, name, { name: "consumer_name_bytes_max", bytesMax });
}

/** `prefix` is the path of the message that contains the fields, with its dot. */
export function convertUpdate(
  v: Violations,
  prefix: string,
  wire: Pick<WireUpdate, "consumer" | "position" | "metadata" | "epoch" | "source">,
  limits: Limits,
): CheckpointUpdate {
  const { source, metadata } = wire;
  const consumer = checkConsumerName(v, `${prefix}consumer`, wire.consumer, limits);
  const limit = { name: "consumer_name_bytes_max", bytesMax: limits.consumerNameBytesMax };
  checkText(v, `${prefix}source`, source, limit);
  checkMetadata(v, `${prefix}metadata`, metadata, limits);
  if (source !== "") {
    if (wire.epoch !== "") v.add(`${prefix}epoch`, "is of this store's positions: not with source");
    return { consumer, position: wire.position, source, metadata };
  }
  const position = checkUint64(v, `${prefix}position`, wire.position);
  const epoch = checkEpoch(v, `${prefix}epoch`, wire.epoch);
  return { consumer, position, source, metadata, epoch };
}

export function wireCheckpoint(checkpoint: Checkpoint): ConsumerCheckpoint {
  const wire = create(ConsumerCheckpointSchema, {
    consumer: checkpoint.consumer,
    position: BigInt(checkpoint.position),
    savedAt: timestamp(checkpoint.savedAt),
    epoch: checkpoint.epoch,
    source: checkpoint.source,
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  wire.metadata = checkpoint.metadata;
  return wire;
}
