// What a store sends to its copies, backups and followers, in terms that the contract has as well
// (backup_service.proto). Chunks and entries are bytes, which only engines look into.

import type { History } from "../domain/epoch.ts";

/** An entry as an engine stores it beside the log. Without a value: it is deleted. */
export interface StoredEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** What the receiver of a copy has by now. */
export interface CopyStart {
  /** The last position. 0: nothing. */
  readonly position: number;
  /** The hash that the log has there. Empty at position 0. */
  readonly chain: Uint8Array;
  /** What the last part with a `cursor` said. Empty: the side values are sent as a whole. */
  readonly cursor: string;
  /** True: the copy goes on with what is committed from now on, and does not end. */
  readonly follow: boolean;
}

/** The store of which a copy is made. */
export interface CopiedStore {
  readonly storeId: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  readonly formatVersion: number;
  readonly history: History;
  /** See `Storage.now`. */
  readonly time: number;
  readonly head: number;
  /** Side values are not sent as a whole: the receiver has them as of its cursor. */
  readonly isContinued: boolean;
}

/** Part of a commit, or some whole commits. */
export interface CopiedCommits {
  /** Chunks of the log as they are stored, in order. */
  readonly chunks: readonly Uint8Array[];
  /** Chunks that the receiver has, rewritten by a removal among `chunks`. */
  readonly rewritten: readonly Uint8Array[];
  readonly sideValues: readonly StoredEntry[];
  /** A commit ends here. What came since the last end belongs together. */
  readonly isWhole: boolean;
  /** Present if the receiver then has the side values as of here. */
  readonly cursor?: string | undefined;
  /** The sender's last position. */
  readonly head: number;
}

/** What the receiver has once it has all parts before, to be compared. */
export interface CopiedState {
  readonly position: number;
  readonly chain: Uint8Array;
  readonly sideValueCount: number;
  /** SHA-256 of the keys and values of all side values, in order. */
  readonly sideValuesHash: Uint8Array;
  readonly cursor: string;
}

/** A copy begins with `begin`; all side values come before `state`. */
export type CopyPart =
  | { readonly kind: "begin"; readonly store: CopiedStore }
  | { readonly kind: "commits"; readonly commits: CopiedCommits }
  | { readonly kind: "side-values"; readonly entries: readonly StoredEntry[] }
  | { readonly kind: "state"; readonly state: CopiedState }
  /** Sent while nothing is committed. */
  | { readonly kind: "progress"; readonly head: number };

/** How a copy that follows a store is getting on. */
export interface FollowStatus {
  /** The address of the store that it copies. */
  readonly leader: string;
  /**
   * `copying`: it is not whole yet, and answers nothing. `following`: it is connected.
   * `disconnected`: it tries to connect. `refused`: what the leader has does not continue it.
   */
  readonly phase: "copying" | "following" | "disconnected" | "refused";
  /** Why it is disconnected or refused. Empty: it is neither. */
  readonly why: string;
  /** The leader's last position, as far as it is known. */
  readonly leaderHead: number;
  readonly lagEvents: number;
  /** The time since it last had everything that the leader had. 0: it has everything. */
  readonly lagMs: number;
}

/** The receiving side of a copy. */
export interface CopyTarget {
  /** What it has. Throws what a read throws. */
  start(): Promise<CopyStart>;
  /** Whether everything that it has may be read. */
  readonly isWhole: boolean;
  /** Whether its side values are as of its head. */
  readonly isExact: boolean;
  /** The store's epochs as the copy knows them. */
  readonly history: History;
  /** Makes durable what came. Throws CopyRefused, and what a commit throws. */
  receive(part: CopyPart): Promise<void>;
}

/** What came is no sound continuation of the copy. */
export class CopyRefused extends Error {
  override readonly name = "CopyRefused";
}
