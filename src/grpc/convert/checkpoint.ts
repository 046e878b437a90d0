// Converts checkpoints.

import { create } from "@bufbuild/protobuf";
import type { Checkpoint, CheckpointUpdate } from "../../domain/checkpoint.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  ConsumerCheckpointSchema,
  type CheckpointUpdate as WireUpdate,
  type ConsumerCheckpoint,
} from "../../gen/annals/v1/checkpoint_service_pb.js";
import { checkOwnName, checkUint64, checkMetadata, type Violations } from "./checks.ts";
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
  wire: Pick<WireUpdate, "consumer" | "position" | "metadata" | "epoch">,
  limits: Limits,
): CheckpointUpdate {
  const consumer = checkConsumerName(v, `${prefix}consumer`, wire.consumer, limits);
  const position = checkUint64(v, `${prefix}position`, wire.position);
  checkMetadata(v, `${prefix}metadata`, wire.metadata, limits);
  const epoch = checkEpoch(v, `${prefix}epoch`, wire.epoch);
  return { consumer, position, metadata: wire.metadata, epoch };
}

export function wireCheckpoint(checkpoint: Checkpoint): ConsumerCheckpoint {
  const wire = create(ConsumerCheckpointSchema, {
    consumer: checkpoint.consumer,
    position: BigInt(checkpoint.position),
    savedAt: timestamp(checkpoint.savedAt),
    epoch: checkpoint.epoch,
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  wire.metadata = checkpoint.metadata;
  return wire;
}
