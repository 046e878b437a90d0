// The two ways of a read to its events: through the log chunk by chunk, or along postings. What a
// walk finds in one chunk is a stretch: the events that the read selects, each decoded only as far
// as needed. batches.ts makes batches of stretches.

import { corruption } from "../../../domain/errors.ts";
import { isSystemName, type PlacedEvent } from "../../../domain/event.ts";
import { selects, type Selection } from "../../../domain/query.ts";
import { scanPlacement, scanRecord, scanStream } from "../../../domain/record.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { frameOffsets, recordOf, type Chunk } from "../format/chunk.ts";
import { skipsRemoved, type OpenStore } from "../state/open-store.ts";
import type { TermHead } from "../state/term-table.ts";
import { CandidatePages, candidatesPerPageMax, type CandidatePage } from "./candidate-pages.ts";
import { chunkHolding, chunksBackwards, chunksForwards, chunksFromMemory } from "./chunks.ts";
import type { Gatherer } from "./gatherer.ts";
import { chunkOfVersion, MergedPostings } from "./postings.ts";
import type { Candidates, PostingRange } from "./postings.ts";
import { TypeFilter } from "./type-filter.ts";

export class FoundEvent {
  readonly frame: Uint8Array;
  readonly position: number;
  private readonly header: PlacedEvent | undefined;
  private ownStream: string | undefined;

  /** `header` if the record was already scanned. */
  constructor(frame: Uint8Array, position: number, header?: PlacedEvent) {
    this.frame = frame;
    this.position = position;
    this.header = header;
    this.ownStream = header?.stream;
  }

  get record(): Uint8Array {
    return recordOf(this.frame);
  }

  get stream(): string {
    return (this.ownStream ??= scanStream(this.record));
  }

  get version(): number {
    return this.header?.version ?? scanPlacement(this.record).version;
  }
}

/** The events of one chunk that a read selects, before it is known which of them are removed. */
export interface Stretch {
  /** Absent if a posting has the records. */
  readonly chunk: Chunk | undefined;
  /** All events of the chunk as it stores them, if the read selects them all. */
  readonly whole: { readonly bytes: Uint8Array; readonly count: number } | undefined;
  /** The read's progress after these events, as `Batch.through`. */
  readonly through: number;
  /** The streams of the events. Throws CORRUPTION. */
  streams(): Iterable<string>;
  /** The events, in the order of the read. Throws CORRUPTION. */
  find(): Iterable<FoundEvent>;
}

/** The way of a read. */
export interface Walk {
  /** Progress is reported after this many stretches that contributed nothing. */
  readonly silentMax: number;
  /** Throws CORRUPTION. */
  readonly stretches: AsyncIterable<Stretch>;
}

/** Found one by one on demand, or all at once if their streams are needed. */
function found(find: () => Iterable<FoundEvent>): Pick<Stretch, "streams" | "find"> {
  let events: FoundEvent[] | undefined;
  return {
    streams: () => (events ??= [...find()]).map(({ stream }) => stream),
    find: () => events ?? find(),
  };
}

/** The read's progress after a chunk, as `Batch.through`. */
function progress({ direction, positions }: StorageRead, first: number, last: number): number {
  return direction === "forwards"
    ? Math.min(last, positions.last)
    : Math.max(first, positions.first);
}

/**
 * Chunk by chunk. A read of everything returns whole chunks as they are stored; any other read
 * examines each record.
 */
export function logWalk(store: OpenStore, read: StorageRead, head: number): Walk {
  return { silentMax: 256, stretches: logStretches(store, read, head) };
}

async function* logStretches(
  store: OpenStore,
  read: StorageRead,
  head: number,
): AsyncGenerator<Stretch> {
  const { first, last } = read.positions;
  const inMemory = store.tail.page(first, last, 1).length > 0;
  const forwards = inMemory ? chunksFromMemory : chunksForwards;
  const chunks = read.direction === "forwards" ? forwards : chunksBackwards;
  const filter = TypeFilter.of(read.selection);
  for await (const page of chunks(store, read.positions, head, read.batchBytes * 2)) {
    for (const chunk of page) {
      // Pages are fetched up to the head; chunks after the range do not belong to this read.
      if (chunk.first > last) break;
      const isEmpty = chunk.reclaimed?.isEmptied === true && skipsRemoved(store, read);
      yield chunkStretch(read, chunk, isEmpty, filter);
    }
  }
}

/**
 * What a read forwards finds in these chunks, which cover it, as one batch. Nothing may be removed.
 * Undefined: it does not fit one, or the space of a chunk was reclaimed. Throws CORRUPTION.
 */
export function batchIn(chunks: readonly Chunk[], read: StorageRead): Batch | undefined {
  const { batchBytes, batchEvents = Infinity, positions } = read;
  const frames: Uint8Array[] = [];
  let [count, bytes] = [0, 0];
  const add = (frame: Uint8Array, events: number): void => {
    frames.push(frame);
    count += events;
    bytes += frame.length;
  };
  for (const chunk of chunks) {
    if (chunk.reclaimed !== undefined) return undefined;
    if (isWhole(read, chunk)) add(chunk.records, chunk.count);
    else for (const { frame } of chunkEvents(read, chunk)) add(frame, 1);
    if (bytes > batchBytes || count > batchEvents) return undefined;
  }
  return { frames, count, bytes, through: positions.last };
}

function chunkStretch(
  read: StorageRead,
  chunk: Chunk,
  isEmpty: boolean,
  filter: TypeFilter | undefined,
): Stretch {
  const { records: bytes, count } = chunk;
  return {
    chunk,
    whole: isWhole(read, chunk) ? { bytes, count } : undefined,
    through: progress(read, chunk.first, chunk.last),
    ...(isEmpty ? nothing : found(() => chunkEvents(read, chunk, filter))),
  };
}

const nothing = { streams: () => [], find: () => [] };

/** Whether every event of the chunk belongs to the read, in the order in which it is stored. */
function isWhole({ selection, direction, positions, withRemoved }: StorageRead, chunk: Chunk) {
  return (
    selectsAllOf(selection, chunk) &&
    direction === "forwards" &&
    (chunk.reclaimed === undefined || withRemoved === true) &&
    chunk.first >= positions.first &&
    chunk.last <= positions.last
  );
}

function selectsAllOf(selection: Selection, chunk: Chunk): boolean {
  return selection.kind === "all" && !chunk.holdsSystemEvents;
}

/** The events of a chunk that the read selects, in its order. */
function* chunkEvents(read: StorageRead, chunk: Chunk, filter?: TypeFilter): Generator<FoundEvent> {
  const { selection, versions, positions } = read;
  // What is left of a lost event may have another type than it had.
  const types = chunk.reclaimed === undefined ? filter : undefined;
  const offsets = frameOffsets(chunk);
  const everything = selectsAllOf(selection, chunk);
  const forwards = read.direction === "forwards";
  for (let i = 0; i < chunk.count; i++) {
    const ordinal = forwards ? i : chunk.count - 1 - i;
    const position = chunk.first + ordinal;
    if (position < positions.first || position > positions.last) continue;
    const [start, end] = [offsets[ordinal] as number, offsets[ordinal + 1] as number];
    if (types?.mayPass(chunk.records, start, end) === false) continue;
    const frame = chunk.records.subarray(start, end);
    const header = everything ? undefined : scanRecord(recordOf(frame));
    if (header !== undefined) {
      if (!selects(selection, header)) continue;
      const { version } = header;
      if (versions && (version < versions.first || version > versions.last)) continue;
    }
    yield new FoundEvent(frame, position, header);
  }
}

/**
 * Along postings. The chunks of candidates are fetched in pages, and each candidate's record says
 * whether it matches. A stream's versions are checked to be dense.
 */
export function indexWalk(store: OpenStore, read: StorageRead, along: Along): Walk {
  return { silentMax: candidatesPerPageMax, stretches: indexStretches(store, read, along) };
}

/** What an index walk follows. */
interface Along {
  readonly terms: readonly TermHead[];
  readonly head: number;
  /** Takes what is found. Absent: nobody does. */
  readonly gatherer: Gatherer | undefined;
}

async function* indexStretches(
  store: OpenStore,
  read: StorageRead,
  { terms, head, gatherer }: Along,
): AsyncGenerator<Stretch> {
  const range = await postingRange(store, read, terms, head);
  if (range === undefined) return;
  const pages = new CandidatePages(store, read, new MergedPostings(store.kv, terms, range));
  let ahead: Promise<CandidatePage> | undefined;
  for (let isFirst = true, isLast = false; !isLast; isFirst = false) {
    const page = await (ahead ?? pages.next());
    isLast = page.isLast;
    // A long read reads ahead. Many reads need no more than the first page.
    ahead = isFirst || isLast ? undefined : pages.next();
    ahead?.catch(() => {});
    for (const [i, candidates] of page.candidates.entries()) {
      yield candidateStretch(read, candidates, page.chunks[i], gatherer);
    }
  }
  gatherer?.ended();
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
  let events: number | undefined;
  if (last < head) lastChunk = (await chunkHolding(store, last, head)).last;
  const [stream] = terms;
  if (versions && stream && stream.count > 0) {
    const lowest = Math.max(1, versions.first);
    const highest = Math.min(versions.last, stream.count);
    if (lowest > highest) return undefined;
    events = stream.count - lowest + 1;
    if (!reverse && lowest > 1) {
      firstChunk = Math.max(firstChunk, await chunkOfVersion(store.kv, stream, lowest));
    }
    if (reverse && highest < stream.count) {
      lastChunk = Math.min(lastChunk, await chunkOfVersion(store.kv, stream, highest));
    }
  }
  const skips = () => skipsRemoved(store, read);
  const { removedRuns } = store;
  return { firstChunk, lastChunk, reverse, skipsRemoved: skips, removedRuns, events };
}

function candidateStretch(
  read: StorageRead,
  candidates: Candidates,
  chunk: Chunk | undefined,
  gatherer: Gatherer | undefined,
): Stretch {
  const { selection } = read;
  const find = () => candidateEvents(read, candidates, chunk, gatherer);
  return {
    chunk,
    whole: undefined,
    through: progress(read, candidates.chunkFirst, candidates.chunkLast),
    ...(selection.kind === "stream" ? { streams: () => [selection.stream], find } : found(find)),
  };
}

/** The candidates of a chunk that the read selects, in its order. */
function* candidateEvents(
  read: StorageRead,
  candidates: Candidates,
  chunk: Chunk | undefined,
  gatherer: Gatherer | undefined,
): Generator<FoundEvent> {
  const { selection, versions, positions } = read;
  const { ordinals, chunkFirst, chunkLast, posting } = candidates;
  const isOriginal = chunk?.reclaimed === undefined;
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
      gatherer?.add(
        { frame, position, version, chunkLast },
        isOriginal && !isSystemName(header.type),
      );
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
