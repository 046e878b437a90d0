// What a follower does not do: its log is written by its leader alone.

import { AnnalsError } from "../domain/errors.ts";
import type { Storage } from "../storage/storage.ts";
import type { GroupLog } from "./group-verbs.ts";

/** The refusal of everything that writes. Undefined: this is no follower. */
export function refusedByFollower(storage: Pick<Storage, "following">): AnnalsError | undefined {
  const leader = storage.following?.().leader;
  if (leader === undefined) return undefined;
  const message = `this server follows ${leader} and writes nothing by itself: ask ${leader}`;
  return new AnnalsError({ reason: "NOT_LEADER", leader }, message);
}

/** Throws NOT_LEADER before anything is looked up. */
export function requireLeader(storage: Pick<Storage, "following">): void {
  const refusal = refusedByFollower(storage);
  if (refusal !== undefined) throw refusal;
}

/** A group is where its members are, so a follower has none. */
export function groupsOfLeader(storage: Pick<Storage, "following">, groups: GroupLog): GroupLog {
  if (storage.following === undefined) return groups;
  const refuse = async (): Promise<never> => {
    requireLeader(storage);
    throw new Error("a server without a leader was asked as a follower");
  };
  return {
    create: refuse,
    update: refuse,
    reset: refuse,
    remove: refuse,
    get: refuse,
    settings: refuse,
    list: refuse,
    join: refuse,
    listParked: refuse,
    replayParked: refuse,
    discardParked: refuse,
    waitFor: refuse,
  };
}
