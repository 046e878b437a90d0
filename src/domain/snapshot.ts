// A snapshot: the state of a stream at a version. It is a cache. It is stored as a side value whose
// name orders the snapshots of a stream by kind, the newest version first.

import { invariant } from "./errors.ts";
import { positionMax } from "./limits.ts";

/** What identifies a snapshot. */
export interface SnapshotKey {
  readonly stream: string;
  /** Empty: the default kind. */
  readonly kind: string;
  /** The stream's version that the state includes, from 1. */
  readonly version: number;
}

/** A snapshot to save. Every limit has been checked. */
export interface NewSnapshot extends SnapshotKey {
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
  /** The version may be one that the stream does not have yet. */
  readonly mayBeAhead?: boolean;
}

/** The position of a snapshot that may be ahead: of no event. The log does not vouch for it. */
export const unprovenPosition = 0;

export interface Snapshot extends Omit<NewSnapshot, "mayBeAhead"> {
  /** The position of the event at `version`, or `unprovenPosition`. */
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly savedAt: number;
}

export type SnapshotToSave = SnapshotKey & Pick<NewSnapshot, "mayBeAhead">;

/** A change of snapshots, decided in one order with appends. */
export type SnapshotRequest =
  | {
      readonly kind: "save-snapshot";
      readonly key: SnapshotToSave;
      /** The value to store. */
      readonly value: Uint8Array;
      /** The same without the state, which lists read. Absent: the value is small. */
      readonly head?: Uint8Array;
    }
  | { readonly kind: "delete-snapshots"; readonly names: readonly string[] };

/** The stream does not have the version, or no longer has it. Nothing was stored. */
export interface SnapshotBeyondStream {
  readonly kind: "snapshot-beyond-stream";
  readonly stream: string;
  readonly version: number;
  /** How many events the stream ever got. */
  readonly streamVersion: number;
  /** The version up to which the stream was deleted. 0: it never was. */
  readonly deletedThrough: number;
}

export type SnapshotOutcome =
  | { readonly kind: "snapshot-saved" }
  | { readonly kind: "snapshots-deleted" }
  | SnapshotBeyondStream;

/** On disk. Sorts before every character that names of streams and kinds may have. */
const separator = "\u0001";
/** On disk: the number of digits of `positionMax`. */
const versionDigits = 16;

/** The prefix of the names of a stream's snapshots, or of those of one kind. */
export function snapshotPrefix(stream: string, kind?: string): string {
  const parts = kind === undefined ? [stream] : [stream, kind];
  const isClear = parts.every((part) => !part.includes(separator));
  invariant(isClear, "names of streams and kinds hold no control characters");
  return parts.map((part) => `${part}${separator}`).join("");
}

export function snapshotName({ stream, kind, version }: SnapshotKey): string {
  const rest = `${positionMax - version}`.padStart(versionDigits, "0");
  return `${snapshotPrefix(stream, kind)}${rest}`;
}

/**
 * Among the snapshots of one kind, exactly those up to a version have names after this one. Empty:
 * all of them do.
 */
export function snapshotNameBefore(stream: string, kind: string, maxVersion: number): string {
  return maxVersion >= positionMax ? "" : snapshotName({ stream, kind, version: maxVersion + 1 });
}

/** Undefined: the name is not that of a snapshot. */
export function snapshotKeyOf(name: string): SnapshotKey | undefined {
  const [stream, kind, rest, ...more] = name.split(separator);
  if (!stream || kind === undefined || more.length > 0) return undefined;
  if (rest === undefined || !/^\d{16}$/.test(rest)) return undefined;
  const version = positionMax - Number(rest);
  return version >= 0 && Number(rest) <= positionMax ? { stream, kind, version } : undefined;
}
