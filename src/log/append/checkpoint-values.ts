// A checkpoint's stored form: an encoded annals.v1.ConsumerCheckpoint message as a note under the
// consumer's name, so that what is kept is what the contract documents.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Checkpoint } from "../../domain/checkpoint.ts";
import { corruption } from "../../domain/errors.ts";
import {
  ConsumerCheckpointSchema,
  type ConsumerCheckpoint,
} from "../../gen/annals/v1/checkpoint_service_pb.js";
import type { SideValueChange, Storage } from "../../storage/storage.ts";

const microsPerSecond = 1_000_000;
const nanosPerMicro = 1_000;

/** The checkpoints of those consumers that have one. Throws CORRUPTION. */
export async function loadCheckpoints(
  { sideValues }: Pick<Storage, "sideValues">,
  consumers: Iterable<string>,
): Promise<Map<string, Checkpoint>> {
  const found = await sideValues.get("checkpoint", consumers);
  return new Map([...found].map(([name, value]) => [name, decodeCheckpoint(name, value)]));
}

/** What a decision changes about checkpoints, as notes. */
export function checkpointSideValues(
  changes: ReadonlyMap<string, Checkpoint | undefined>,
): SideValueChange[] {
  return [...changes].map(([name, checkpoint]) => {
    return { space: "checkpoint", name, value: checkpoint && encode(checkpoint) };
  });
}

function encode({ consumer, position, metadata, savedAt }: Checkpoint): Uint8Array {
  const seconds = Math.floor(savedAt / microsPerSecond);
  const nanos = (savedAt - seconds * microsPerSecond) * nanosPerMicro;
  const message = create(ConsumerCheckpointSchema, {
    consumer,
    position: BigInt(position),
    savedAt: { seconds: BigInt(seconds), nanos },
  });
  // Not through `create`: it would take a key `__proto__` for a prototype.
  message.metadata = metadata;
  return toBinary(ConsumerCheckpointSchema, message);
}

/** Throws CORRUPTION. */
export function decodeCheckpoint(name: string, value: Uint8Array): Checkpoint {
  const { consumer, position, metadata, savedAt } = decode(name, value);
  if (consumer !== name || savedAt === undefined) throw corrupt(name, "is not what its name says");
  const micros = Number(savedAt.seconds) * microsPerSecond + savedAt.nanos / nanosPerMicro;
  return { consumer, position: Number(position), metadata, savedAt: micros };
}

function decode(name: string, value: Uint8Array): ConsumerCheckpoint {
  try {
    return fromBinary(ConsumerCheckpointSchema, value);
  } catch (error) {
    throw corrupt(name, "cannot be decoded", error);
  }
}

function corrupt(name: string, what: string, cause?: unknown) {
  return corruption(`the checkpoint of consumer ${JSON.stringify(name)} ${what}`, {}, cause);
}
