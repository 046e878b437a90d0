// A snapshot in domain words: a stream's state at a version. A cache, never truth. It is kept as a
// side value; its name there puts a stream's snapshots side by side, by kind, newest version first.

import { invariant } from "./errors.ts";
import { positionMax } from "./limits.ts";

/** What tells a snapshot from every other. */
export interface SnapshotKey {
  readonly stream: string;
  /** Empty: the default kind. */
  readonly kind: string;
  /** The stream's version that the state includes, from 1. */
  readonly version: number;
}

/** What a client asks to save, checked against every limit. */
export interface NewSnapshot extends SnapshotKey {
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Snapshot extends NewSnapshot {
  /** The position of the event at `version`. */
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly savedAt: number;
}

/** A change of snapshots, decided on in one order with the appends. */
export type SnapshotRequest =
  | {
      readonly kind: "save-snapshot";
      readonly key: SnapshotKey;
      /** As it is to be stored. */
      readonly value: Uint8Array;
    }
  | { readonly kind: "delete-snapshots"; readonly names: readonly string[] };

/** The stream has no such version, or no longer has it. Nothing was stored. */
export interface SnapshotBeyondStream {
  readonly kind: "snapshot-beyond-stream";
  readonly stream: string;
  readonly version: number;
  /** How many events the stream ever got. */
  readonly streamVersion: number;
  /** The version up to which the stream was deleted; 0: it never was. */
  readonly deletedThrough: number;
}

export type SnapshotOutcome =
  | { readonly kind: "snapshot-saved" }
  | { readonly kind: "snapshots-deleted" }
  | SnapshotBeyondStream;

/** On disk. Sorts before every character that names of streams and kinds may hold. */
const separator = "\u0001";
/** On disk: as many as `positionMax` has. */
const versionDigits = 16;

/** What the names of a stream's snapshots begin with; `kind` given, of that kind alone. */
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

/** Of one kind, only snapshots of at most a version have names after this one. Empty: all have. */
export function snapshotNameBefore(stream: string, kind: string, maxVersion: number): string {
  return maxVersion >= positionMax ? "" : snapshotName({ stream, kind, version: maxVersion + 1 });
}

/** Undefined: no snapshot has such a name. */
export function snapshotKeyOf(name: string): SnapshotKey | undefined {
  const [stream, kind, rest, ...more] = name.split(separator);
  if (!stream || kind === undefined || more.length > 0) return undefined;
  if (rest === undefined || !/^\d{16}$/.test(rest)) return undefined;
  const version = positionMax - Number(rest);
  return version >= 0 && Number(rest) <= positionMax ? { stream, kind, version } : undefined;
}
