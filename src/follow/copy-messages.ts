// A copy over the network, as its receiver reads it: messages of the contract become parts of a
// copy. What they hold is checked by the receiver.

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { CallError } from "../client/rpc/call-error.ts";
import type { CallOptions, ServiceClient } from "../client/rpc/service-client.ts";
import {
  firstEpoch,
  isEpochId,
  type Epoch,
  type EpochCause,
  type History,
} from "../domain/epoch.ts";
import { AnnalsError } from "../domain/errors.ts";
import type {
  BackupService,
  CopyBegin,
  CopyEntry,
  CopyResponse,
} from "../gen/annals/v1/backup_service_pb.js";
import { EpochCause as WireCause, type Epoch as WireEpoch } from "../gen/annals/v1/info_pb.js";
import { CopyRefused } from "../storage/copy.ts";
import type { CopiedStore, CopyPart, CopyStart, StoredEntry } from "../storage/copy.ts";

type Methods<Service> = Service extends { method: infer M } ? M : never;
export type Backups = ServiceClient<Methods<typeof BackupService>>;

/** Throws COPY_DIVERGED, and CallError for every other failure of the call. */
export async function* copyFrom(
  backups: Backups,
  start: CopyStart,
  options: CallOptions,
): AsyncGenerator<CopyPart> {
  const { position, chain, cursor, follow } = start;
  const request = { position: BigInt(position), chain, cursor, follow };
  let head = 0;
  try {
    for await (const message of backups.copy(request, options)) {
      const part = partOf(message);
      if (part?.kind === "begin") ({ head } = part.store);
      if (part !== undefined) yield part;
    }
  } catch (error) {
    if (!(error instanceof CallError) || error.reason !== "COPY_DIVERGED") throw error;
    throw new AnnalsError({ reason: "COPY_DIVERGED", position, head }, error.message, error);
  }
}

/** Undefined: a message of a later version. */
function partOf({ message }: CopyResponse): CopyPart | undefined {
  switch (message.case) {
    case "begin":
      return { kind: "begin", store: storeOf(message.value) };
    case "commits": {
      const { chunks, rewritten, sideValues, whole, cursor, head } = message.value;
      const commits = {
        chunks,
        rewritten,
        sideValues: sideValues.map(entryOf),
        isWhole: whole,
        cursor: cursor === "" ? undefined : cursor,
        head: Number(head),
      };
      return { kind: "commits", commits };
    }
    case "sideValues":
      return { kind: "side-values", entries: message.value.entries.map(entryOf) };
    case "state": {
      const { position, chain, sideValueCount, sideValuesSha256, cursor } = message.value;
      const state = {
        position: Number(position),
        chain,
        sideValueCount: Number(sideValueCount),
        sideValuesHash: sideValuesSha256,
        cursor,
      };
      return { kind: "state", state };
    }
    case "progress":
      return { kind: "progress", head: Number(message.value.head) };
    case undefined:
      return undefined;
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const epochsMax = 1_001;

/** What a receiver keeps in its identity has to make sense. Throws CopyRefused. */
function storeOf(begin: CopyBegin): CopiedStore {
  const { storeId, createdAt, formatVersion, epochs, time, head, continued } = begin;
  const [first, ...rest] = epochs.map(epochOf);
  const times = { createdAt: microsOf(createdAt), time: microsOf(time) };
  const isMade = first?.id === firstEpoch(storeId, times.createdAt).id && first.after === 0;
  if (!uuid.test(storeId) || !isMade || epochs.length > epochsMax || !rest.every(isSound)) {
    throw new CopyRefused("the leader's store id and its epochs make no sense");
  }
  const history: History = [first, ...rest];
  return {
    storeId,
    formatVersion,
    history,
    ...times,
    head: Number(head),
    isContinued: continued,
  };
}

function isSound({ id, after, beganAt }: Epoch): boolean {
  return isEpochId(id) && [after, beganAt].every((each) => Number.isSafeInteger(each) && each >= 0);
}

function entryOf({ key, value }: CopyEntry): StoredEntry {
  return { key, value: value.length === 0 ? undefined : value };
}

const causes: Readonly<Record<WireCause, EpochCause>> = {
  [WireCause.UNSPECIFIED]: "creation",
  [WireCause.CREATION]: "creation",
  [WireCause.RESTORE]: "restore",
  [WireCause.ACCEPTED_LOSS]: "accepted-loss",
  [WireCause.SALVAGE]: "salvage",
  [WireCause.PROMOTION]: "promotion",
};

function epochOf({ epoch: id, afterPosition, beganAt, cause }: WireEpoch): Epoch {
  return { id, after: Number(afterPosition), beganAt: microsOf(beganAt), cause: causes[cause] };
}

function microsOf(time: Timestamp | undefined): number {
  return Number(time?.seconds ?? 0n) * 1_000_000 + Math.floor((time?.nanos ?? 0) / 1_000);
}
