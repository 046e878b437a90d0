// The log as a copy gets it: chunks as they are stored, in messages that end with a commit where
// they can, and with each removal the chunks that it rewrote. What was removed from the store is
// so removed from its copies.

import { corruption } from "../../../domain/errors.ts";
import {
  chunksRewrittenBy,
  lossStream,
  lossType,
  removalStream,
  removalType,
} from "../../../domain/lifecycle/removal-event.ts";
import { scanRecord } from "../../../domain/record.ts";
import { frameOffsets, mayShareCommit, openChunk, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { walkLog } from "../verify/log-walk.ts";

/** A part is cut near this many bytes. One with a single large event has more. */
const partBytesDefault = 256 * 1024;
/**
 * Where the clock stood still, the end of a commit may not show. After so many bytes without one,
 * any end of a chunk is taken for it.
 */
const undividedBytesMax = 64 * 1024 * 1024;
const keysAtOnceMax = 64;

export interface LogStretch {
  readonly kv: ReadableKv;
  /** The receiver has the log up to here, exclusive. A commit ends there. */
  readonly after: number;
  /** Inclusive. A commit ends there. */
  readonly last: number;
  /**
   * Chunks that the receiver got in this copy, from this position on, are rewritten as of
   * `rewrittenAsOf`.
   */
  readonly sentFrom: number;
  readonly rewrittenAsOf: number;
  /** A part is cut near this many bytes. Absent: 256 KiB. */
  readonly partBytes?: number | undefined;
}

interface SentLog {
  readonly chunks: readonly Uint8Array[];
  readonly rewritten: readonly Uint8Array[];
  readonly isWhole: boolean;
}

/** Throws CORRUPTION: damage is never sent. */
export async function* logParts(stretch: LogStretch): AsyncGenerator<SentLog> {
  const { kv, after, last, partBytes = partBytesDefault } = stretch;
  const found = (finding: string): never => {
    throw corruption(`the log cannot be copied: ${finding}`, { first: after + 1, last });
  };
  const previous = after > 0 ? await chunkEndingAt(kv, after) : undefined;
  let waiting: Waiting[] = [];
  let bytes = 0;
  let undivided = 0;
  for await (const chunk of walkLog(kv, { first: after + 1, last, previous, found })) {
    const before = waiting.at(-1)?.chunk;
    const isDivided = before === undefined || !mayShareCommit(before, chunk);
    if (bytes >= partBytes) {
      const isWhole = isDivided || undivided >= undividedBytesMax;
      yield partOf(waiting, isWhole);
      if (isWhole) undivided = 0;
      waiting = [];
      bytes = 0;
    }
    const rewritten = await rewrittenBy(chunk, stretch);
    waiting.push({ chunk, rewritten });
    for (const value of [chunk.value, ...rewritten]) bytes += value.length;
    undivided += chunk.value.length;
  }
  if (waiting.length > 0) yield partOf(waiting, true);
}

interface Waiting {
  readonly chunk: Chunk;
  readonly rewritten: readonly Uint8Array[];
}

function partOf(waiting: readonly Waiting[], isWhole: boolean): SentLog {
  return {
    chunks: waiting.map(({ chunk }) => chunk.value),
    rewritten: waiting.flatMap(({ rewritten }) => rewritten),
    isWhole,
  };
}

/** The chunk that ends at a position. Throws CORRUPTION if there is none. */
async function chunkEndingAt(kv: ReadableKv, last: number): Promise<Chunk> {
  const key = chunkKey(last);
  const [value] = await kv.getMany([key]);
  if (!value) throw corruption(`no chunk ends at position ${last}`, { first: last });
  return openChunk(key, value);
}

/** A removal in a chunk of the log, or the record of a salvage: both rewrote chunks. */
export interface FoundRemoval {
  readonly position: number;
  /** The SHA-256 of each rewritten chunk, by its last position. */
  readonly chunks: ReadonlyMap<number, Uint8Array>;
}

/** Throws CORRUPTION. */
export function removalsIn(chunk: Chunk): FoundRemoval[] {
  if (!chunk.holdsSystemEvents) return [];
  const offsets = frameOffsets(chunk);
  return Array.from({ length: chunk.count }, (_, i) =>
    recordOf(chunk.records.subarray(offsets[i], offsets[i + 1])),
  ).flatMap((record) => {
    const { stream, type, position } = scanRecord(record);
    const isRemoval = stream === removalStream && type === removalType;
    if (!isRemoval && !(stream === lossStream && type === lossType)) return [];
    return [{ position, chunks: chunksRewrittenBy(record) }];
  });
}

/**
 * The chunks that the removals in a chunk rewrote and the receiver does not have as they are. One
 * that was rewritten once more comes with that later removal.
 */
async function rewrittenBy(chunk: Chunk, stretch: LogStretch): Promise<Uint8Array[]> {
  const rewritten: Uint8Array[] = [];
  for (const { position, chunks } of removalsIn(chunk)) {
    const isSent = (last: number): boolean =>
      last >= stretch.sentFrom && position <= stretch.rewrittenAsOf;
    const lasts = [...chunks.keys()].filter((last) => !isSent(last));
    rewritten.push(...(await rewrittenIn(stretch.kv, position, lasts)));
  }
  return rewritten;
}

async function rewrittenIn(
  kv: ReadableKv,
  recordedIn: number,
  lasts: readonly number[],
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (let at = 0; at < lasts.length; at += keysAtOnceMax) {
    const keys = lasts.slice(at, at + keysAtOnceMax).map(chunkKey);
    const values = await kv.getMany(keys);
    const present = values.map((value, i) => value && openChunk(keys[i] as Uint8Array, value));
    for (const chunk of present) {
      if (chunk?.reclaimed?.recordedIn === recordedIn) found.push(chunk.value);
    }
  }
  return found;
}
