// What is known of lost events, and what takes their place. The rest of the index may tell their
// streams, types and tags, and even have their records. The versions that are missing in streams
// are given to lost positions, each between the events of its stream that are there, so that
// positions and versions stay dense. Nothing else is made up.

import { randomInt } from "node:crypto";
import { corruption } from "../../../domain/errors.ts";
import { type CommitEvent, idChances, ownId, positionInId } from "../../../domain/event.ts";
import { composeFrame, headerBody, scanRecord, scanRecordedAt } from "../../../domain/record.ts";
import { recordOf } from "../format/chunk.ts";
import { composeLostRecord } from "../../removed-record.ts";
import type { Gap, MissingVersions, StreamPoint, Survey } from "./salvage-log.ts";
import type { IndexRemains } from "./salvage-index.ts";

/** The type of a lost event of which nothing is known. */
const unknownType = "(lost)";

/** What is known of a lost event. */
export interface LostEvent {
  readonly position: number;
  /** Empty: it had none, or it is not known. */
  readonly stream: string;
  readonly version: number;
  /** Undefined: not known. */
  readonly type: string | undefined;
  readonly tags: readonly string[];
}

export interface Losses {
  /** By position: events whose records the index has. They are not lost. */
  readonly recovered: ReadonlyMap<number, Uint8Array>;
  readonly lost: ReadonlyMap<number, LostEvent>;
}

/** Tells for each position of the gaps what is there. Throws CORRUPTION. */
export function lossesOf(surveyed: Survey, remains: IndexRemains): Losses {
  const { gaps, missing, streams } = surveyed;
  const { recovered, facts } = remains;
  const known = new Map<string, StreamPoint[]>();
  const knowPlace = (stream: string, place: StreamPoint): void => {
    if (stream === "") return;
    const places = known.get(stream);
    if (places) places.push(place);
    else known.set(stream, [place]);
  };
  for (const [position, frame] of recovered) {
    const { stream, version } = scanRecord(recordOf(frame));
    knowPlace(stream, { version, position });
  }
  for (const [position, { stream, version }] of facts) {
    if (!recovered.has(position)) knowPlace(stream, { version, position });
  }
  const free = freePositions(gaps, (at) => !recovered.has(at) && !facts.get(at)?.stream);
  const placed = placeVersions(wantsOf(missing, streams, known), free);
  const lost = new Map<number, LostEvent>();
  for (const gap of gaps) {
    for (let position = gap.first; position <= gap.last; position++) {
      if (recovered.has(position)) continue;
      const fact = facts.get(position);
      const at = fact?.stream ? fact : (placed.get(position) ?? { stream: "", version: 0 });
      const { stream, version } = at;
      lost.set(position, { position, stream, version, type: fact?.type, tags: fact?.tags ?? [] });
    }
  }
  return { recovered, lost };
}

function freePositions(gaps: readonly Gap[], isFree: (position: number) => boolean): number[] {
  const free: number[] = [];
  for (const { first, last } of gaps) {
    for (let at = first; at <= last; at++) if (isFree(at)) free.push(at);
  }
  return free;
}

/** A version that must get a position between two others. */
interface Wanted {
  readonly stream: string;
  readonly version: number;
  readonly after: number;
  readonly before: number;
}

/** The versions without a position. A stream's places are in one order, or they are damaged. */
function wantsOf(
  missing: readonly MissingVersions[],
  streams: ReadonlyMap<string, StreamPoint>,
  known: ReadonlyMap<string, readonly StreamPoint[]>,
): Wanted[] {
  const segments = new Map<string, StreamPoint[]>();
  const add = (stream: string, ...places: readonly StreamPoint[]): void => {
    segments.set(stream, [...(segments.get(stream) ?? []), ...places]);
  };
  for (const { stream, before, behind } of missing) add(stream, before, behind);
  for (const [stream, places] of known) {
    add(stream, streams.get(stream) ?? { version: 0, position: 0 }, ...places);
  }
  const wants: Wanted[] = [];
  for (const [stream, places] of segments) {
    const sorted = places.toSorted((a, b) => a.version - b.version);
    const isWithin = isInside(missing.filter((each) => each.stream === stream));
    for (let i = 1; i < sorted.length; i++) {
      const [before, behind] = [sorted[i - 1] as StreamPoint, sorted[i] as StreamPoint];
      if (behind.version === before.version && behind.position === before.position) continue;
      if (behind.position <= before.position || behind.version === before.version) {
        throw corruption(`the index of stream ${stream} disagrees with its events`, { stream });
      }
      const isTail = before.version >= (streams.get(stream)?.version ?? 0);
      const wanted = versionsBetween(before, behind).filter((each) => isTail || isWithin(each));
      const bounds = { stream, after: before.position, before: behind.position };
      wants.push(...wanted.map((version) => ({ ...bounds, version })));
    }
  }
  return wants;
}

function versionsBetween(before: StreamPoint, behind: StreamPoint): number[] {
  const count = behind.version - before.version - 1;
  return Array.from({ length: count }, (_, i) => before.version + 1 + i);
}

function isInside(missing: readonly MissingVersions[]): (version: number) => boolean {
  return (version) =>
    missing.some(({ before, behind }) => before.version < version && version < behind.version);
}

/**
 * Gives each wanted version a free position: those with the earliest end first, each the first free
 * position in its bounds. That finds a way if there is one, and there was one.
 */
function placeVersions(
  wants: readonly Wanted[],
  free: readonly number[],
): Map<number, { stream: string; version: number }> {
  const placed = new Map<number, { stream: string; version: number }>();
  // The next place that is free from each one on, found by following and shortening the way.
  const next = free.map((_, i) => i);
  next.push(free.length);
  const freeFrom = (start: number): number => {
    let end = start;
    while (next[end] !== end) end = next[end] as number;
    for (let at = start; next[at] !== end;) [at, next[at]] = [next[at] as number, end];
    return end;
  };
  for (const want of wants.toSorted((a, b) => a.before - b.before || a.version - b.version)) {
    const at = freeFrom(firstAfter(free, want.after));
    const position = free[at] ?? Number.POSITIVE_INFINITY;
    if (position >= want.before) {
      throw corruption(`no position is left for version ${want.version} of ${want.stream}`);
    }
    placed.set(position, want);
    next[at] = at + 1;
  }
  return placed;
}

function firstAfter(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** An event for the place of a gap, and its time. */
export interface FillingEvent {
  readonly event: CommitEvent;
  readonly recordedAt: number;
}

/** The events for the positions of a gap: what the index had, and lost records for the others. */
export function* filling(
  gap: Gap,
  { recovered, lost }: Losses,
  { idsFromClients }: IndexRemains,
): Generator<FillingEvent> {
  let recordedAt = gap.before?.recordedAt ?? firstTimeIn(gap, recovered);
  for (let position = gap.first; position <= gap.last; position++) {
    const frame = recovered.get(position);
    if (frame !== undefined) {
      const record = recordOf(frame);
      recordedAt = Math.max(recordedAt, scanRecordedAt(record));
      const header = scanRecord(record);
      const isOwn = positionInId(header.id) === position;
      const idFromClient = !isOwn && idsFromClients.has(position);
      yield { event: { ...header, frame, idFromClient }, recordedAt };
    } else {
      const event = lostRecordOf(lost.get(position) as LostEvent, recordedAt);
      yield { event, recordedAt };
    }
  }
}

/** The time of the first event of a gap at the start of the log that is not lost. */
function firstTimeIn(gap: Gap, recovered: Losses["recovered"]): number {
  for (let position = gap.first; position <= gap.last; position++) {
    const frame = recovered.get(position);
    if (frame !== undefined) return scanRecordedAt(recordOf(frame));
  }
  return gap.recordedAt;
}

function lostRecordOf(event: LostEvent, recordedAt: number): CommitEvent {
  const { position, version, stream, type = unknownType, tags } = event;
  const id = ownId(randomInt(idChances), position, recordedAt);
  const body = headerBody({ stream, type, tags });
  const known = composeFrame(body, version, position, recordedAt, { ownId: id });
  const frame = composeLostRecord(recordOf(known));
  const header = { id, stream, type, tags: [...tags], version, position };
  return { ...header, idFromClient: false, frame };
}
