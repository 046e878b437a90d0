// The log as far as it proves itself: chunks whose CRC, positions and hash chain are right, and the
// gaps between them. What is known of the events that were in the gaps is gathered here too: from
// the versions of the streams, and from the rest of the index.

import { corruption } from "../../../domain/errors.ts";
import {
  chunksRewrittenBy,
  lossStream,
  lossType,
  removalStream,
  removalType,
} from "../../../domain/lifecycle/removal-event.ts";
import { scanRecord } from "../../../domain/record.ts";
import type { Range } from "../../storage.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";
import {
  firstHash,
  frameOffsets,
  hashOf,
  openChunk,
  previousHashOf,
  recordOf,
  type Chunk,
} from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";

/** Chunks that are compared with one another where several claim the same positions. */
const windowMax = 64;
const pageBytes = 512 * 1024;
/** A high-water mark that claims more lost events than these is not believed. */
const lostAtEndMax = 20_000_000;

/** Positions whose events are lost. */
export interface Gap extends Range {
  /** The chunk before it. Undefined: the log begins with the gap. */
  readonly before: Chunk | undefined;
  /** The hash that the log must have at its end, by the chunk after it or the high-water mark. */
  readonly hash: Uint8Array | undefined;
  /** The time of the chunk behind it. 0: there is none. */
  readonly recordedAt: number;
}

export type SalvagedPart = { readonly chunk: Chunk } | { readonly gap: Gap };

/** The log in order, from position 1 to its last position that is known. */
export async function* provedLog(
  kv: ReadableKv,
  acknowledged: Acknowledged | undefined,
): AsyncGenerator<SalvagedPart> {
  const window = new Window(kv);
  let before: Chunk | undefined;
  for (;;) {
    await window.fill();
    const next = (before?.last ?? 0) + 1;
    const joined = window.take(next, before ? hashOf(before) : firstHash);
    if (joined !== undefined) {
      before = joined;
      yield { chunk: joined };
      continue;
    }
    const behind = window.skipTo(next);
    if (behind === undefined) break;
    const { first, recordedAt } = behind;
    yield {
      gap: { first: next, last: first - 1, before, hash: previousHashOf(behind), recordedAt },
    };
    before = behind;
    yield { chunk: behind };
  }
  const first = (before?.last ?? 0) + 1;
  const last = acknowledged?.position ?? 0;
  if (last < first || last - first >= lostAtEndMax) return;
  yield { gap: { first, last, before, hash: acknowledged?.hash, recordedAt: 0 } };
}

/** The next chunks by their last positions. */
class Window {
  private readonly scan;
  private chunks: Chunk[] = [];
  private isEnded = false;

  constructor(kv: ReadableKv) {
    const [first, last] = [chunkKey(0), chunkKey(Number.MAX_SAFE_INTEGER)];
    this.scan = openScan(kv, { first, last, limit: windowMax, bytesMax: pageBytes });
  }

  async fill(): Promise<void> {
    while (this.chunks.length < windowMax && !this.isEnded) {
      const entries = await this.scan.next();
      this.isEnded = entries.length === 0;
      this.chunks.push(...entries.map(([key, value]) => openChunk(key, value)));
    }
  }

  /**
   * The chunk that begins at a position and continues a chain. If several do, one of them is from a
   * write that was given up: the other one is continued in turn.
   */
  take(first: number, hash: Uint8Array): Chunk | undefined {
    const able = this.chunks.filter((each) => continues(each, first, hash));
    const continued = able.length > 1 ? able.find((each) => this.isContinued(each)) : undefined;
    const taken = continued ?? able[0];
    this.chunks = this.chunks.filter((each) => taken === undefined || each.last > taken.last);
    return taken;
  }

  /** The first chunk behind a gap. What begins before cannot be part of the log. */
  skipTo(next: number): Chunk | undefined {
    const behind = this.chunks
      .filter(({ first }) => first > next)
      .toSorted((a, b) => a.first - b.first)[0];
    this.chunks = this.chunks.filter(({ last }) => behind !== undefined && last > behind.last);
    return behind;
  }

  private isContinued(chunk: Chunk): boolean {
    const hash = hashOf(chunk);
    return this.chunks.some((each) => continues(each, chunk.last + 1, hash));
  }
}

function continues(chunk: Chunk, first: number, hash: Uint8Array): boolean {
  return chunk.first === first && Buffer.compare(previousHashOf(chunk), hash) === 0;
}

/** An event of a stream, by its place. */
export interface StreamPoint {
  readonly version: number;
  readonly position: number;
}

/** Versions of a stream that no chunk holds, between two events that are there. */
export interface MissingVersions {
  readonly stream: string;
  readonly before: StreamPoint;
  readonly behind: StreamPoint;
}

/** What one walk through the log finds. */
export interface Survey {
  /** The last position, lost or not. */
  readonly last: number;
  readonly events: number;
  readonly gaps: readonly Gap[];
  readonly missing: readonly MissingVersions[];
  /** The last event of each stream that is there. Empty where there are no gaps. */
  readonly streams: ReadonlyMap<string, StreamPoint>;
  /** Last positions of chunks whose rewriting is told by an event that is lost. */
  readonly orphans: ReadonlySet<number>;
  /** Chunks that are there only as before their rewriting, with the records of that. */
  readonly outdated: ReadonlyMap<number, readonly Uint8Array[]>;
}

export async function survey(
  parts: AsyncIterable<SalvagedPart>,
  reached: (position: number) => void,
): Promise<Survey> {
  const surveyed = new Surveying();
  for await (const part of parts) {
    if ("gap" in part) surveyed.gaps.push(part.gap);
    else surveyed.add(part.chunk);
    surveyed.last = "gap" in part ? part.gap.last : part.chunk.last;
    reached(surveyed.last);
  }
  return surveyed.result();
}

class Surveying {
  last = 0;
  readonly gaps: Gap[] = [];
  private events = 0;
  private readonly streams = new Map<string, StreamPoint>();
  private readonly missing: MissingVersions[] = [];
  /** For each rewritten chunk, the position of the event that records the rewrite. */
  private readonly rewritten = new Map<number, number>();
  /** The records of rewritings, by the last positions of the chunks. */
  private readonly recorded = new Map<number, Uint8Array[]>();
  private readonly removals = new Set<number>();

  add(chunk: Chunk): void {
    this.events += chunk.count;
    if (chunk.reclaimed) this.rewritten.set(chunk.last, chunk.reclaimed.recordedIn);
    const offsets = frameOffsets(chunk);
    for (let i = 0; i < chunk.count; i++) {
      const record = recordOf(chunk.records.subarray(offsets[i], offsets[i + 1]));
      const { stream, type, version, position } = scanRecord(record);
      const isRemoval = stream === removalStream && type === removalType;
      const isLoss = stream === lossStream && type === lossType;
      if (isRemoval || isLoss) this.removals.add(position);
      if (isRemoval) {
        for (const last of chunksRewrittenBy(record).keys()) {
          this.recorded.set(last, [...(this.recorded.get(last) ?? []), record]);
        }
      }
      if (stream !== "") this.place(stream, { version, position });
    }
  }

  private place(stream: string, place: StreamPoint): void {
    const before = this.streams.get(stream) ?? { version: 0, position: 0 };
    if (place.version <= before.version) {
      throw corruption(`${stream} has version ${place.version} twice`, { first: place.position });
    }
    if (place.version > before.version + 1) this.missing.push({ stream, before, behind: place });
    this.streams.set(stream, place);
  }

  result(): Survey {
    const { last, events, gaps, missing, streams, rewritten, removals } = this;
    const orphans = [...rewritten].filter(([, recordedIn]) => !removals.has(recordedIn));
    const outdated = [...this.recorded].filter(([end]) => !rewritten.has(end) && !isIn(gaps, end));
    return {
      last,
      events,
      gaps,
      missing,
      streams,
      orphans: new Set(orphans.map(([end]) => end)),
      outdated: new Map(outdated),
    };
  }
}

function isIn(gaps: readonly Gap[], position: number): boolean {
  return gaps.some(({ first, last }) => first <= position && position <= last);
}
