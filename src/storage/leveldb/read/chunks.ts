// Reads chunks: consecutive ones (forwards or backwards) or individual ones. Every chunk is
// checked, and consecutive ones for completeness: a gap is CORRUPTION and never skipped.

import { corruption } from "../../../domain/errors.ts";
import type { Range } from "../../storage.ts";
import { openChunk, type Chunk } from "../format/chunk.ts";
import type { ChunkPlace } from "../state/chunk-places.ts";
import type { OpenStore } from "../state/open-store.ts";
import { chunkKey, lastPositionIn } from "../format/keys.ts";
import type { Entry, Scan } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";

const chunksPerPageMax = 1_000;
const chunksPerMemoryPage = 32;

/**
 * The chunks that contain the positions of the range, in order, in pages of about `pageBytes`. The
 * next page is fetched while this one is used. Chunks beyond `head` are not returned.
 */
export async function* chunksForwards(
  store: OpenStore,
  range: Range,
  head: number,
  pageBytes: number,
): AsyncGenerator<readonly Chunk[]> {
  let next = range.first;
  if (next > range.last) return;
  const scan = openScan(store.kv, {
    first: chunkKey(next),
    last: chunkKey(head),
    limit: chunksPerPageMax,
    bytesMax: pageBytes,
    fillCache: false,
  });
  try {
    let ahead = fetchPage(scan);
    while (next <= range.last) {
      const entries = await ahead;
      const end = entries.at(-1);
      if (end === undefined) throw missing(next, range.last);
      // Fetched while this page is checked and used.
      if (lastPositionIn(end[0]) < range.last) ahead = fetchPage(scan);
      const page = entries.map(([key, value]) => openChunk(key, value));
      next = endOf(page, next, next === range.first);
      yield page;
    }
  } finally {
    // A page that was fetched in advance may still be in progress; it is not waited for.
    scan.close().catch(() => {});
  }
}

/**
 * The position after a page that has to continue at `next`. Only the first chunk of all may begin
 * before it. Throws CORRUPTION.
 */
function endOf(page: readonly Chunk[], next: number, isFirst: boolean): number {
  let end = next;
  for (const [i, chunk] of page.entries()) {
    const isContinued = isFirst && i === 0 ? chunk.first <= end : chunk.first === end;
    if (!isContinued) throw missing(end, chunk.first - 1);
    end = chunk.last + 1;
  }
  return end;
}

/** As `chunksForwards`, from memory as long as the chunks are there. */
export async function* chunksFromMemory(
  store: OpenStore,
  range: Range,
  head: number,
  pageBytes: number,
): AsyncGenerator<readonly Chunk[]> {
  let next = range.first;
  while (next <= range.last) {
    // Looked up page by page, so that a consumer that pauses does not keep old chunks in memory.
    const page = store.tail.page(next, range.last, chunksPerMemoryPage);
    const last = page.at(-1);
    if (!last) {
      yield* chunksForwards(store, { first: next, last: range.last }, head, pageBytes);
      return;
    }
    next = last.last + 1;
    yield page;
  }
}

function fetchPage(scan: Scan): Promise<readonly Entry[]> {
  const page = scan.next();
  // Fetched in advance: the consumer may never request it.
  page.catch(() => {});
  return page;
}

/** As `chunksForwards`, from the chunk with `range.last` downwards. */
export async function* chunksBackwards(
  store: OpenStore,
  range: Range,
  head: number,
  pageBytes: number,
): AsyncGenerator<readonly Chunk[]> {
  let next = range.last;
  if (next < range.first) return;
  const newest = await chunkHolding(store, next, head);
  yield [newest];
  next = newest.first - 1;
  while (next >= range.first) {
    const entries = await store.kv.page({
      first: chunkKey(0),
      last: chunkKey(next),
      reverse: true,
      limit: chunksPerPageMax,
      bytesMax: pageBytes,
      fillCache: false,
    });
    const page: Chunk[] = [];
    for (const [key, value] of entries) {
      if (next < range.first) break;
      const chunk = openChunk(key, value);
      if (chunk.last !== next) throw missing(chunk.last + 1, next);
      next = chunk.first - 1;
      page.push(chunk);
    }
    if (page.length === 0) throw missing(range.first, next);
    yield page;
  }
}

/** The chunk that contains a position at or before the head. Throws CORRUPTION if it is missing. */
export async function chunkHolding(
  store: OpenStore,
  position: number,
  head: number,
): Promise<Chunk> {
  const inMemory = store.tail.holding(position);
  if (inMemory) return inMemory;
  // The key first: an iterator keeps the value that it has read until it is collected.
  const range = { first: chunkKey(position), last: chunkKey(head), limit: 1, keysOnly: true };
  const [entry] = await store.kv.page(range);
  const [value] = entry === undefined ? [] : await store.kv.getMany([entry[0]]);
  if (entry === undefined || value === undefined) throw missing(position, position);
  const chunk = openChunk(entry[0], value);
  if (chunk.first > position) throw missing(position, chunk.first - 1);
  return chunk;
}

/** Of the chunk that contains a position: see `chunkHolding`. */
export async function chunkPlace(
  store: OpenStore,
  position: number,
  head: number,
): Promise<ChunkPlace> {
  const known = store.tail.holding(position) ?? store.places.get(position);
  if (known !== undefined) return known;
  const chunk = await chunkHolding(store, position, head);
  store.places.set(position, chunk);
  return chunk;
}

/** Bytes of chunks that are looked up in one trip. */
const tripBytesMax = 1024 * 1024;
const tripChunksMax = 32;

/** How many chunks are looked up in the next trip. */
export interface TripPace {
  chunks: number;
}

/**
 * Of the chunks that end at these positions, by their ends. More are looked up in a trip as long as
 * they are small: each of them may have megabytes.
 */
export async function chunkPlacesEndingAt(
  store: OpenStore,
  lasts: readonly number[],
  pace: TripPace,
): Promise<Map<number, ChunkPlace>> {
  const places = new Map<number, ChunkPlace>();
  const unknown: number[] = [];
  for (const last of lasts) {
    const known = store.tail.holding(last) ?? store.places.get(last);
    if (known === undefined) unknown.push(last);
    else places.set(last, known);
  }
  for (let at = 0; at < unknown.length;) {
    const trip = unknown.slice(at, at + pace.chunks);
    let bytes = 0;
    for (const chunk of await chunksEndingAt(store, trip)) {
      store.places.set(chunk.last, chunk);
      places.set(chunk.last, placeOf(chunk));
      bytes += chunk.value.length;
    }
    at += trip.length;
    pace.chunks = bytes > tripBytesMax ? 1 : Math.min(pace.chunks * 4, tripChunksMax);
  }
  return places;
}

function placeOf({ first, last, recordedAt }: ChunkPlace): ChunkPlace {
  return { first, last, recordedAt };
}

/** The chunks that end at these positions. Throws CORRUPTION if one is missing. */
export async function chunksEndingAt(store: OpenStore, lasts: readonly number[]): Promise<Chunk[]> {
  const chunks = lasts.map((last) => store.tail.holding(last));
  const absent: number[] = [];
  for (let i = 0; i < lasts.length; i++) {
    if (chunks[i]?.last !== lasts[i]) absent.push(i);
  }
  if (absent.length > 0) {
    const keys = absent.map((i) => chunkKey(lasts[i] as number));
    const values = await store.kv.getMany(keys);
    absent.forEach((i, at) => {
      const value = values[at];
      if (!value) throw missing(lasts[i] as number, lasts[i] as number);
      chunks[i] = openChunk(keys[at] as Uint8Array, value);
    });
  }
  return chunks as Chunk[];
}

/**
 * The first position recorded at or after a time (microseconds), as of now. If there is none, the
 * one after the head. A binary search over the chunks, whose times never decrease.
 */
export async function positionAt(store: OpenStore, time: number): Promise<number> {
  const { head } = store;
  let low = 1;
  let high = head.position + 1;
  if (time > head.recordedAt) return high;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const chunk = await chunkPlace(store, middle, head.position);
    if (chunk.recordedAt >= time) high = Math.max(low, chunk.first);
    else low = chunk.last + 1;
  }
  return low;
}

function missing(first: number, last: number): Error {
  return corruption(`positions ${first} to ${last} are missing from the log`, { first, last });
}
