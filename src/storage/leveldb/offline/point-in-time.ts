// The point at which a restore ends before its backup does. A commit is the unit: its appends
// became durable together, and where one append ends and the next begins is not recorded. So the
// log is cut behind the last commit up to the point, at the end of a chunk, and the hash chain
// stays as it was.
//
// Chunks that are kept may have been rewritten by a removal that is not: the backup does not have
// what that removed. It stays removed (see restored-removals.ts).

import { scanRecord } from "../../../domain/record.ts";
import { frameOffsets, hashOf, mayShareCommit, recordOf, type Chunk } from "../format/chunk.ts";
import { isLostRecord, isRemovedRecord, removalPolicyOf } from "../../removed-record.ts";
import { BackupRefused } from "./backup-file.ts";

/** Both inclusive. `time` is microseconds since 1970, UTC. */
export type RestorePoint = { readonly position: number } | { readonly time: number };

/** Positions and the times at which the first and the last were recorded. */
export interface LeftOut {
  readonly first: number;
  readonly last: number;
  readonly firstRecordedAt: number;
  readonly lastRecordedAt: number;
}

export interface Cut {
  /** The last position that is kept. 0: none is. */
  readonly position: number;
  /** When it was recorded. 0: none is kept. */
  readonly recordedAt: number;
  /** Undefined: everything is kept. */
  readonly leftOut: LeftOut | undefined;
  /** The commit in which the point lies, which is left out as a whole. Undefined: between two. */
  readonly divided: { readonly first: number; readonly last: number } | undefined;
  /** Whether a chunk that is kept was rewritten by a removal that is not. */
  readonly isRewrittenLater: boolean;
  /** The hash that the chain has at each of the asked positions where a kept chunk ends. */
  readonly chainAt: ReadonlyMap<number, string>;
}

/** Looks through the whole log. `asked`: positions whose hash is to be told. */
export async function findCut(
  chunks: AsyncIterable<Chunk>,
  point: RestorePoint,
  asked: ReadonlySet<number>,
): Promise<Cut> {
  const search = new CutSearch(point, asked);
  for await (const chunk of chunks) search.next(chunk);
  return search.found();
}

class CutSearch {
  private readonly point: RestorePoint;
  private readonly asked: ReadonlySet<number>;
  private readonly chainAt = new Map<number, string>();
  private previous: Chunk | undefined;
  /** The last end of a commit, and when it was recorded. */
  private boundary = { position: 0, recordedAt: 0 };
  /** Set when the point is passed. */
  private cut: { position: number; recordedAt: number } | undefined;
  private leftOut: LeftOut | undefined;
  /** The last position of the commit that was passed into, once its end is known. */
  private dividedThrough: number | undefined;
  /** When the first event behind the boundary was recorded. */
  private pendingSince = 0;
  private rewrittenIn = 0;

  constructor(point: RestorePoint, asked: ReadonlySet<number>) {
    this.point = point;
    this.asked = asked;
  }

  next(chunk: Chunk): void {
    const { previous } = this;
    if (previous === undefined || !mayShareCommit(previous, chunk)) {
      if (this.cut !== undefined) this.dividedThrough ??= previous?.last;
      const { last: position = 0, recordedAt = 0 } = previous ?? {};
      this.boundary = { position, recordedAt };
      this.pendingSince = chunk.recordedAt;
    }
    if (this.cut === undefined && !this.isKept(chunk)) this.cut = this.boundary;
    if (this.cut === undefined) {
      this.rewrittenIn = Math.max(this.rewrittenIn, chunk.reclaimed?.recordedIn ?? 0);
      if (this.asked.has(chunk.last)) this.chainAt.set(chunk.last, hexOf(hashOf(chunk)));
    } else {
      const firstRecordedAt = this.leftOut?.firstRecordedAt ?? this.pendingSince;
      const first = this.cut.position + 1;
      const { last, recordedAt: lastRecordedAt } = chunk;
      this.leftOut = { first, last, firstRecordedAt, lastRecordedAt };
    }
    this.previous = chunk;
  }

  found(): Cut {
    const { previous, leftOut, point, chainAt } = this;
    const end = { position: previous?.last ?? 0, recordedAt: previous?.recordedAt ?? 0 };
    const { position, recordedAt } = this.cut ?? end;
    const isInside = "position" in point && point.position > position && leftOut !== undefined;
    const divided = isInside
      ? { first: position + 1, last: this.dividedThrough ?? end.position }
      : undefined;
    const isRewrittenLater = this.rewrittenIn > position;
    return { position, recordedAt, leftOut, divided, isRewrittenLater, chainAt };
  }

  private isKept(chunk: Chunk): boolean {
    const { point } = this;
    return "time" in point ? chunk.recordedAt <= point.time : chunk.last <= point.position;
  }
}

function hexOf(hash: Uint8Array): string {
  return Buffer.from(hash).toString("hex");
}

/** What is known of a stream's events that are gone: the last one, and what removed them. */
export interface GoneOfStream {
  readonly version: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  readonly events: number;
  /** The position of the last lifecycle event that removed some of them. */
  readonly policy: number;
}

/** What a removal behind the cut did to chunks before it. */
export interface LaterRemovals {
  /** The last positions of the chunks, without and with lost events. */
  readonly chunks: readonly number[];
  readonly chunksWithLost: readonly number[];
  readonly streams: ReadonlyMap<string, GoneOfStream>;
}

/** Looks through the log up to the cut. Throws BackupRefused. */
export async function findLaterRemovals(
  log: AsyncIterable<Chunk>,
  cut: number,
): Promise<LaterRemovals> {
  const chunks: number[] = [];
  const chunksWithLost: number[] = [];
  const streams = new Map<string, GoneOfStream>();
  for await (const chunk of log) {
    if (chunk.last > cut) break;
    if ((chunk.reclaimed?.recordedIn ?? 0) <= cut) continue;
    let holdsLost = false;
    for (const record of recordsOf(chunk)) {
      holdsLost ||= isLostRecord(record);
      if (!isRemovedRecord(record)) continue;
      const { stream, version, position } = scanRecord(record);
      if (stream === "") throw new BackupRefused(`position ${position} was removed from no stream`);
      const known = streams.get(stream);
      streams.set(stream, {
        version,
        recordedAt: chunk.recordedAt,
        events: (known?.events ?? 0) + 1,
        policy: Math.max(known?.policy ?? 0, removalPolicyOf(record)),
      });
    }
    (holdsLost ? chunksWithLost : chunks).push(chunk.last);
  }
  return { chunks, chunksWithLost, streams };
}

function recordsOf(chunk: Chunk): Uint8Array[] {
  const offsets = frameOffsets(chunk);
  return Array.from({ length: chunk.count }, (_, i) =>
    recordOf(chunk.records.subarray(offsets[i], offsets[i + 1])),
  );
}
