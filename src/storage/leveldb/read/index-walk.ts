// A walk that follows postings. The chunks of candidates are fetched in pages, and each candidate's
// record decides whether it matches. A stream's versions are checked to be dense.

import { corruption } from "../../../domain/errors.ts";
import { selects } from "../../../domain/query.ts";
import { scanRecord } from "../../../domain/record.ts";
import type { StorageRead } from "../../storage.ts";
import { frameOffsets, recordOf, type Chunk } from "../format/chunk.ts";
import { skipsRemoved, type OpenStore } from "../state/open-store.ts";
import type { TermHead } from "../state/term-table.ts";
import { chunkHolding, chunksEndingAt } from "./chunks.ts";
import { chunkOfVersion, MergedPostings } from "./postings.ts";
import type { Candidates, PostingRange } from "./postings.ts";
import { found, FoundEvent, type Stretch, type Walk } from "./stretch.ts";

const chunksPerPageFirst = 12;
const chunksPerPageMax = 64;
const pageBytesTarget = 512 * 1024;

export function indexWalk(
  store: OpenStore,
  read: StorageRead,
  terms: readonly TermHead[],
  head: number,
): Walk {
  return { silentMax: chunksPerPageMax, stretches: stretchesOf(store, read, terms, head) };
}

async function* stretchesOf(
  store: OpenStore,
  read: StorageRead,
  terms: readonly TermHead[],
  head: number,
): AsyncGenerator<Stretch> {
  const range = await postingRange(store, read, terms, head);
  if (range === undefined) return;
  const postings = new MergedPostings(store.kv, terms, range);
  let pageCount = chunksPerPageFirst;
  for (let ended = false; !ended;) {
    const page = await postings.take(pageCount);
    const behind = page.findIndex((each) => isBehind(read, each));
    ended = behind >= 0 || page.length < pageCount;
    if (behind >= 0) page.length = behind;
    if (page.length === 0) return;
    const chunks = await chunksOf(store, page);
    let bytes = 1;
    for (const [i, candidates] of page.entries()) {
      bytes += (chunks[i]?.value ?? candidates.posting.records).length;
      yield stretchOf(read, candidates, chunks[i]);
    }
    const fitting = Math.floor((pageBytesTarget * page.length) / bytes);
    pageCount = Math.max(1, Math.min(pageCount * 2, fitting, chunksPerPageMax));
  }
}

/** The postings to read: limited by the read's positions and, for a stream, by its versions. */
async function postingRange(
  store: OpenStore,
  read: StorageRead,
  terms: readonly TermHead[],
  head: number,
): Promise<PostingRange | undefined> {
  const { positions, versions } = read;
  const { first, last } = positions;
  const reverse = read.direction === "backwards";
  let firstChunk = first;
  let lastChunk = head;
  if (last < head) lastChunk = (await chunkHolding(store, last, head)).last;
  const [stream] = terms;
  if (versions && stream && stream.count > 0) {
    const lowest = Math.max(1, versions.first);
    const highest = Math.min(versions.last, stream.count);
    if (lowest > highest) return undefined;
    if (!reverse && lowest > 1) {
      firstChunk = Math.max(firstChunk, await chunkOfVersion(store.kv, stream, lowest));
    }
    if (reverse && highest < stream.count) {
      lastChunk = Math.min(lastChunk, await chunkOfVersion(store.kv, stream, highest));
    }
  }
  const skips = () => skipsRemoved(store, read);
  return { firstChunk, lastChunk, reverse, skipsRemoved: skips, removedRuns: store.removedRuns };
}

/** The chunks of the candidates whose postings have no records. */
async function chunksOf(
  store: OpenStore,
  page: readonly Candidates[],
): Promise<(Chunk | undefined)[]> {
  const lasts: number[] = [];
  for (const { frames, chunkLast } of page) if (frames === undefined) lasts.push(chunkLast);
  if (lasts.length === 0) return [];
  const chunks = await chunksEndingAt(store, lasts);
  let next = 0;
  return page.map(({ frames }) => (frames === undefined ? chunks[next++] : undefined));
}

/** Whether all further candidates are beyond the read's end. */
function isBehind(read: StorageRead, { posting, chunkFirst, chunkLast }: Candidates): boolean {
  const { positions, versions } = read;
  if (read.direction === "forwards") {
    return chunkFirst > positions.last || posting.before >= (versions?.last ?? Infinity);
  }
  const newest = posting.before + posting.ordinals.length;
  return chunkLast < positions.first || newest < (versions?.first ?? 0);
}

function stretchOf(read: StorageRead, candidates: Candidates, chunk: Chunk | undefined): Stretch {
  const { selection, positions, direction } = read;
  const { chunkFirst, chunkLast } = candidates;
  return {
    chunk,
    whole: undefined,
    through:
      direction === "forwards"
        ? Math.min(chunkLast, positions.last)
        : Math.max(chunkFirst, positions.first),
    ...found(() => eventsIn(read, candidates, chunk)),
    ...(selection.kind === "stream" && { streams: () => [selection.stream] }),
  };
}

/** The candidates of a chunk that the read selects, in its order. */
function* eventsIn(
  read: StorageRead,
  candidates: Candidates,
  chunk: Chunk | undefined,
): Generator<FoundEvent> {
  const { selection, versions, positions } = read;
  const { ordinals, chunkFirst, posting } = candidates;
  const frames = framesOf(candidates, chunk);
  const forwards = read.direction === "forwards";
  for (let i = 0; i < ordinals.length; i++) {
    const at = forwards ? i : ordinals.length - 1 - i;
    const position = chunkFirst + (ordinals[at] as number);
    if (position < positions.first || position > positions.last) continue;
    const frame = frames[at] as Uint8Array;
    const header = scanRecord(recordOf(frame));
    if (header.position !== position) {
      throw corruption("a record disagrees with its position", { first: position });
    }
    if (selection.kind === "stream") {
      const version = posting.before + at + 1;
      if (header.stream !== selection.stream || header.version !== version) {
        throw corruption("the index of a stream disagrees with the log", {
          first: position,
          stream: selection.stream,
        });
      }
      if (versions && (version < versions.first || version > versions.last)) continue;
    }
    if (selects(selection, header)) yield new FoundEvent(frame, position, header);
  }
}

/** The frames of the candidates. Throws CORRUPTION if their chunk disagrees with the index. */
function framesOf(candidates: Candidates, chunk: Chunk | undefined): readonly Uint8Array[] {
  const { chunkFirst, ordinals, frames } = candidates;
  if (frames !== undefined) return frames;
  if (chunk?.first !== chunkFirst || (ordinals.at(-1) as number) >= chunk.count) {
    throw corruption("an index entry disagrees with its chunk", { first: chunkFirst });
  }
  const offsets = frameOffsets(chunk);
  return ordinals.map((ordinal) => chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]));
}
