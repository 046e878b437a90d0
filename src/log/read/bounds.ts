// Where a read begins and ends: versions, positions and times made ranges, both ends inclusive,
// whatever the direction. A contradiction becomes an empty range.

import { positionMax } from "../../domain/limits.ts";
import type { Range, Storage } from "../../storage/storage.ts";
import type { Bound, ReadRequest } from "../verbs.ts";

export interface Bounds {
  /** At most the head's position. */
  readonly positions: Range;
  /** Only where the request names a version. */
  readonly versions: Range | undefined;
}

/** `head` is the position the whole read is a view of. */
export async function boundsOf(
  storage: Storage,
  { direction, from, to }: Pick<ReadRequest, "direction" | "from" | "to">,
  head: number,
): Promise<Bounds> {
  const [low, high] = direction === "forwards" ? [from, to] : [to, from];
  const versions = versionsBetween(low, high);
  const first = low === undefined ? 1 : await firstPositionOf(storage, low);
  const last = high === undefined ? head : await lastPositionOf(storage, high);
  return { positions: { first: Math.max(first, 1), last: Math.min(last, head) }, versions };
}

/** The last position recorded at or before a time: several events may share it. */
async function positionThrough(storage: Storage, time: number): Promise<number> {
  return (await storage.positionAt(time + 1)) - 1;
}

function versionsBetween(low: Bound | undefined, high: Bound | undefined): Range | undefined {
  const first = low?.kind === "version" ? low.version : undefined;
  const last = high?.kind === "version" ? high.version : undefined;
  if (first === undefined && last === undefined) return undefined;
  return { first: first ?? 1, last: last ?? positionMax };
}

async function firstPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return 1;
    case "position":
      return bound.position;
    case "time":
      return await storage.positionAt(bound.time);
  }
}

async function lastPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return positionMax;
    case "position":
      return bound.position;
    case "time":
      return await positionThrough(storage, bound.time);
  }
}
