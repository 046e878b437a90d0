// The side values that a decision writes with its events: checkpoints, and snapshots that are saved
// or deleted. A checkpoint is stored as an encoded annals.v1.ConsumerCheckpoint message under the
// consumer's name, so that the stored form is the one that the contract documents.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Checkpoint } from "../../domain/checkpoint.ts";
import type { Decision, OutcomeOf, Proposal } from "../../domain/decide/decide.ts";
import type { History } from "../../domain/epoch.ts";
import { corruption } from "../../domain/errors.ts";
import {
  ConsumerCheckpointSchema,
  type ConsumerCheckpoint,
} from "../../gen/annals/v1/checkpoint_service_pb.js";
import { snapshotName, snapshotPrefix } from "../../domain/snapshot.ts";
import type { SideValueChange, Storage } from "../../storage/storage.ts";

const microsPerSecond = 1_000_000;
const nanosPerMicro = 1_000;

/** The checkpoints of the consumers that have one. Throws CORRUPTION. */
export async function loadCheckpoints(
  { sideValues, identity }: Pick<Storage, "sideValues" | "identity">,
  consumers: Iterable<string>,
): Promise<Map<string, Checkpoint>> {
  const found = await sideValues.get("checkpoint", consumers);
  const { history } = identity;
  return new Map([...found].map(([name, value]) => [name, decodeCheckpoint(name, value, history)]));
}

/**
 * The side values to write with the decision's events: its own changes, and `sideWrites`. Each name
 * occurs once, with its last change. Undefined: none.
 */
export async function decidedSideValues(
  storage: Pick<Storage, "sideValues">,
  proposals: readonly Proposal[],
  { outcomes, checkpoints }: Decision<OutcomeOf<Proposal>>,
  sideWrites: readonly SideValueChange[],
): Promise<SideValueChange[] | undefined> {
  const changes = new Map<string, SideValueChange>();
  const put = (change: SideValueChange) => changes.set(`${change.space} ${change.name}`, change);
  const putSnapshot = (name: string, value?: Uint8Array, head?: Uint8Array) => {
    put({ space: "snapshot", name, value });
    put({ space: "snapshot-head", name, value: head });
  };
  for (const sideWrite of sideWrites) put(sideWrite);
  for (const [name, checkpoint] of checkpoints) {
    put({ space: "checkpoint", name, value: checkpoint && encode(checkpoint) });
  }
  for (const [i, outcome] of outcomes.entries()) {
    const proposal = proposals[i] as Proposal;
    if (proposal.kind === undefined) continue;
    if (proposal.kind === "save-snapshot" && outcome.kind === "snapshot-saved") {
      putSnapshot(snapshotName(proposal.key), proposal.value, proposal.head);
    } else if (proposal.kind === "delete-snapshots") {
      for (const name of proposal.names) putSnapshot(name);
    } else if (proposal.kind === "delete-stream" && outcome.kind === "stream-changed") {
      const prefix = snapshotPrefix(proposal.stream);
      const changed = [...changes.values()].filter(
        ({ space, name }) => space === "snapshot" && name.startsWith(prefix),
      );
      const stored = await snapshotNames(storage, prefix, "");
      for (const { name } of changed) putSnapshot(name);
      for (const name of stored) putSnapshot(name);
    }
  }
  return changes.size === 0 ? undefined : [...changes.values()];
}

/** Snapshots deleted by one commit: each may have a head as well. */
const snapshotsAtOnce = 128;

/**
 * Some names of snapshots that begin with `prefix`, after a given name. Empty: there are no more.
 */
export async function snapshotNames(
  { sideValues }: Pick<Storage, "sideValues">,
  prefix: string,
  after: string,
): Promise<string[]> {
  const page = { space: "snapshot", prefix, after, limit: snapshotsAtOnce } as const;
  return (await sideValues.list({ ...page, namesOnly: true })).map(({ name }) => name);
}

function encode(checkpoint: Checkpoint): Uint8Array {
  const { consumer, position, metadata, savedAt, epoch, source } = checkpoint;
  const seconds = Math.floor(savedAt / microsPerSecond);
  const nanos = (savedAt - seconds * microsPerSecond) * nanosPerMicro;
  const message = create(ConsumerCheckpointSchema, {
    consumer,
    position: BigInt(position),
    savedAt: { seconds: BigInt(seconds), nanos },
    epoch,
    source,
  });
  // Not through `create`, which would treat a key `__proto__` as a prototype.
  message.metadata = metadata;
  return toBinary(ConsumerCheckpointSchema, message);
}

/** Earlier builds did not store the epoch: it was the first one. Throws CORRUPTION. */
export function decodeCheckpoint(name: string, value: Uint8Array, history: History): Checkpoint {
  const { consumer, metadata, savedAt, source, ...stored } = decode(name, value);
  const epoch = stored.epoch === "" ? history[0].id : stored.epoch;
  if (consumer !== name || savedAt === undefined) throw corrupt(name, "is not what its name says");
  const micros = Number(savedAt.seconds) * microsPerSecond + savedAt.nanos / nanosPerMicro;
  const position = source === "" ? Number(stored.position) : stored.position;
  return { consumer, position, source, metadata, epoch, savedAt: micros };
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
