// Short reads at once: the events of a stream, or with a tag or type, that are few and found by
// their keys. The whole read is one pass on the main thread, without promises. Wherever anything is
// not as expected, it is given up, and the longer way (walks.ts) finds out what there is.

import { scanRecord } from "../../../domain/record.ts";
import { RecordFields } from "../../../domain/record-fields.ts";
import { positionMax } from "../../../domain/limits.ts";
import { selects, type QueryItem } from "../../../domain/query.ts";
import { WireReader } from "../../../domain/wire.ts";
import type { Batch, Range, StorageRead } from "../../storage.ts";
import { frameOffsets, openChunk, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkKey, postingKey, TermKind, type TermNumber } from "../format/keys.ts";
import { framesIn, openPosting, type Posting } from "../format/posting.ts";
import type { OpenStore } from "../state/open-store.ts";
import type { TermHead } from "../state/term-table.ts";
import { besideStreamsMax } from "./candidate-pages.ts";
import { fewPostings } from "./newest-postings.ts";
import { RecordQuery } from "./record-query.ts";

/** Records that are looked up one by one. */
const recordsMax = 48;
/** Of chunks that are looked up for them: some may have megabytes, and all are read in one turn. */
const chunkBytesMax = 512 * 1024;
/** Of a query. */
const itemsMax = 8;

/** As of which a read is, and when it began: see HotRecords. */
interface AsOf {
  readonly head: number;
  readonly moment: number;
}

/**
 * All events of a read forwards as one batch, which may have none. Nothing may be removed.
 * Undefined: they are not found this way, or do not fit a batch. Throws CORRUPTION.
 */
export function shortRead(store: OpenStore, read: StorageRead, asOf: AsOf): Batch | undefined {
  const { selection, direction } = read;
  if (direction === "backwards") return undefined;
  if (selection.kind === "stream") {
    const term = store.terms.peek(TermKind.stream, selection.stream);
    return term && streamRead(store, read, { ...asOf, stream: selection.stream, term });
  }
  if (selection.kind !== "query") return undefined;
  const { items } = selection.query;
  if (items.length === 0 || items.length > itemsMax) return undefined;
  const terms: TermHead[] = [];
  for (const item of items) {
    const term = narrowestOf(store, item);
    if (term === undefined) return undefined;
    terms.push(term);
  }
  return hitsRead(store, read, terms);
}

function streamRead(
  store: OpenStore,
  read: StorageRead,
  { stream, term, head, moment }: AsOf & { readonly stream: string; readonly term: TermHead },
): Batch | undefined {
  const { positions, versions = { first: 1, last: positionMax } } = read;
  const events = Math.max(0, term.count - Math.max(1, versions.first) + 1);
  const postings = fewPostings(store.kv, term, { ...positions, events });
  if (postings === undefined) return undefined;
  const found = new FoundRun(stream);
  for (const posting of postings) {
    if (!found.add(posting, positions, versions) || found.bytes > read.batchBytes) return undefined;
  }
  const frames = found.frames();
  const batch = batchOf(frames, found.positions.length, read);
  const isToEnd = positions.last === head && versions.last >= head;
  if (batch === undefined || batch.count === 0 || !isToEnd) return batch;
  const { before, positions: at, ends } = found;
  const run = { before, positions: at, ends, frames };
  store.hot.found(term.number, moment, run, before + at.length);
  return batch;
}

/** The events of a stream, from its postings. */
class FoundRun {
  /** How many events the stream had before them. */
  before = 0;
  readonly positions: number[] = [];
  readonly ends: number[] = [];
  bytes = 0;
  private readonly parts: Uint8Array[] = [];
  private readonly stream: Uint8Array;

  constructor(stream: string) {
    this.stream = Buffer.from(stream);
  }

  /**
   * Adds what is at these positions and has these versions. Returns false if the posting has no
   * records, or others than it says.
   */
  add(posting: Posting, positions: Range, versions: Range): boolean {
    const { records, ordinals, chunkFirst, before } = posting;
    if (records.length === 0) return false;
    const reader = new WireReader(records);
    const fields = new RecordFields(reader);
    let from = 0;
    let to = 0;
    for (let i = 0; i < ordinals.length; i++) {
      if (reader.done) return false;
      const start = reader.offset;
      fields.next();
      const { position, version } = fields;
      const isPlaced = position === chunkFirst + (ordinals[i] as number);
      if (!isPlaced || version !== before + 1 + i || !fields.isOfStream(this.stream)) return false;
      if (fields.isOfSystem) return false;
      if (position < positions.first || position > positions.last) continue;
      if (version < versions.first || version > versions.last) continue;
      if (this.positions.length === 0) this.before = version - 1;
      if (to === 0) from = start;
      to = reader.offset;
      this.positions.push(position);
      this.ends.push((this.bytes += to - start));
    }
    if (to > 0) this.parts.push(records.subarray(from, to));
    return reader.done;
  }

  frames(): Uint8Array {
    return Buffer.concat(this.parts, this.bytes);
  }
}

/** Of the terms in memory that every event of the item has, the one with the fewest events. */
function narrowestOf({ terms }: OpenStore, { tags, types }: QueryItem): TermHead | undefined {
  let best: TermHead | undefined;
  const look = (kind: TermKind, name: string): void => {
    const term = terms.peek(kind, name);
    if (term !== undefined && (best === undefined || term.count < best.count)) best = term;
  };
  for (const tag of tags) look(TermKind.tag, tag);
  if (types.length === 1) look(TermKind.type, types[0] as string);
  return best;
}

/** An event that has a term, as one of a posting's events. */
interface Hit {
  readonly position: number;
  readonly posting: Posting;
  readonly at: number;
}

/** The events of the read, each of which has one of the terms. */
function hitsRead(
  store: OpenStore,
  read: StorageRead,
  terms: readonly TermHead[],
): Batch | undefined {
  const { selection, batchBytes } = read;
  const hits = hitsOf(store, read, terms);
  if (hits === undefined || hits.length > recordsMax) return undefined;
  const found: Uint8Array[] = [];
  let bytes = 0;
  const frames = new HitFrames(store);
  const query = RecordQuery.of(selection);
  for (const { position, posting, at } of hits) {
    const frame = frames.of(posting, at);
    if (frame === undefined || frames.chunkBytes > chunkBytesMax) return undefined;
    const header = query === undefined ? scanRecord(recordOf(frame)) : undefined;
    const isSelected = header === undefined ? query?.selects(frame) : selects(selection, header);
    if ((header ?? query)?.position !== position) return undefined;
    if (isSelected !== true) continue;
    found.push(frame);
    bytes += frame.length;
    if (bytes > batchBytes) return undefined;
  }
  // A few events would keep all of their chunk or posting.
  return batchOf(Buffer.concat(found, bytes), found.length, read);
}

/** In order, each once. Undefined: they are not found by a few keys. Throws CORRUPTION. */
function hitsOf(
  { kv }: OpenStore,
  { positions }: StorageRead,
  terms: readonly TermHead[],
): Hit[] | undefined {
  const hits: Hit[] = [];
  for (const term of terms) {
    const postings = fewPostings(kv, term, { ...positions, events: term.count });
    if (postings === undefined) return undefined;
    for (const posting of postings) hits.push(...hitsIn(posting, positions));
    if (hits.length > recordsMax * terms.length) return undefined;
  }
  if (terms.length === 1) return hits;
  const byPosition = new Map(hits.map((hit) => [hit.position, hit]));
  return [...byPosition.values()].toSorted((a, b) => a.position - b.position);
}

function hitsIn(posting: Posting, { first, last }: Range): Hit[] {
  const hits: Hit[] = [];
  for (const [at, ordinal] of posting.ordinals.entries()) {
    const position = posting.chunkFirst + ordinal;
    if (position >= first && position <= last) hits.push({ position, posting, at });
  }
  return hits;
}

/** Finds the frames of hits beside their streams, or else in their chunks. */
class HitFrames {
  /** Of the chunks that were looked up. */
  chunkBytes = 0;
  private readonly store: OpenStore;
  /** What was looked at last: the next hit may be there, too. */
  private chunk: Chunk | undefined;
  private readonly beside = new Map<TermNumber, Posting>();
  private besideChunk = 0;

  constructor(store: OpenStore) {
    this.store = store;
  }

  /** Undefined: it is not found. Throws CORRUPTION. */
  of(posting: Posting, i: number): Uint8Array | undefined {
    const { streams, ordinals, chunkLast } = posting;
    const stream = streams[i];
    const inMemory = this.store.tail.holding(chunkLast);
    if (stream !== undefined && streams.length <= besideStreamsMax && inMemory === undefined) {
      const frame = this.besideStream(stream, posting, ordinals[i] as number);
      if (frame !== undefined) return frame;
    }
    return this.inChunk(inMemory, posting, ordinals[i] as number);
  }

  private besideStream(
    stream: TermNumber,
    { chunkFirst, chunkLast }: Posting,
    ordinal: number,
  ): Uint8Array | undefined {
    const hot = this.store.hot.frameAt(stream, chunkFirst + ordinal);
    if (hot !== undefined) return hot;
    if (this.besideChunk !== chunkLast) this.beside.clear();
    this.besideChunk = chunkLast;
    let posting = this.beside.get(stream);
    if (posting === undefined) {
      const key = postingKey(stream, chunkLast);
      const value = this.store.kv.getNow?.(key);
      if (value === undefined || value === "later") return undefined;
      this.beside.set(stream, (posting = openPosting(key, value)));
    }
    const { ordinals, records } = posting;
    if (records.length === 0) return undefined;
    if (ordinals.length === 1) return ordinals[0] === ordinal ? records : undefined;
    const at = ordinals.indexOf(ordinal);
    return at < 0 ? undefined : framesIn(records)[at];
  }

  private inChunk(
    inMemory: Chunk | undefined,
    { chunkFirst, chunkLast }: Posting,
    ordinal: number,
  ): Uint8Array | undefined {
    if (this.chunk?.last !== chunkLast) this.chunk = inMemory ?? this.lookUp(chunkLast);
    const { chunk } = this;
    if (chunk?.first !== chunkFirst || chunk.reclaimed !== undefined) return undefined;
    if (ordinal >= chunk.count) return undefined;
    const offsets = frameOffsets(chunk);
    return chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]);
  }

  private lookUp(chunkLast: number): Chunk | undefined {
    const key = chunkKey(chunkLast);
    const value = this.store.kv.getNow?.(key);
    if (value === undefined || value === "later") return undefined;
    this.chunkBytes += value.length;
    return openChunk(key, value);
  }
}

function batchOf(frames: Uint8Array, count: number, read: StorageRead): Batch | undefined {
  const { batchBytes, batchEvents = Infinity, positions } = read;
  const bytes = frames.length;
  if (bytes > batchBytes || count > batchEvents) return undefined;
  return { frames: [frames], count, bytes, through: positions.last, isPicked: true };
}
