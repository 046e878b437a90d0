// Information about streams and event types: from the dictionary, the postings, the lifecycles, and
// the chunks of a stream's first and last event that are not removed.

import { corruption } from "../../../domain/errors.ts";
import { firstVersion, oldestTime, type Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import type { EventTypeFacts, NamePage, StreamFacts } from "../../storage.ts";
import type { Known } from "../state/stream-lifecycles.ts";
import type { ChunkPlace } from "../state/chunk-places.ts";
import { chunkPlace, chunkPlacesEndingAt, positionAt } from "./chunks.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import { bornAt, TermKind } from "../format/keys.ts";
import { entriesOf, readable } from "./lifecycles.ts";
import { namesWithPrefix } from "./names.ts";
import { chunkOfVersion, firstPostingFrom } from "./postings.ts";
import type { TermHead } from "../state/term-table.ts";

const streamsAtOnceMax = 32;

/** A stream as of the head. Undefined: it has neither events nor a lifecycle. */
export async function streamFacts(
  store: OpenStore,
  name: string,
): Promise<StreamFacts | undefined> {
  const head = store.head.position;
  const entry = (await entriesOf(store, [name])).get(name);
  const terms = await store.terms.load(store.kv, [{ kind: TermKind.stream, name }], head);
  const [term] = terms as [TermHead];
  if (term.count === 0 && entry === undefined) return undefined;
  const newest = term.count === 0 ? undefined : await chunkPlace(store, term.last, head);
  return factsOf(store, { stream: name, term, entry, newest }, head);
}

/**
 * The chunks of the streams' last events are looked up in one trip. What more has to be looked up
 * for a stream is the chunk of its first event, if that is another one.
 */
export async function listStreams(store: OpenStore, page: NamePage): Promise<StreamFacts[]> {
  const head = store.head.position;
  const names = await namesWithPrefix(store, TermKind.stream, page, head);
  const streams: StreamFacts[] = [];
  const pace = { chunks: 1 };
  for (let at = 0; at < names.length; at += streamsAtOnceMax) {
    const some = names.slice(at, at + streamsAtOnceMax);
    const terms = some.map((name) => ({ kind: TermKind.stream, name }));
    const entries = await entriesOf(store, some);
    const heads = await store.terms.load(store.kv, terms, head);
    const lasts = new Set(heads.map(({ lastChunk }) => lastChunk).filter((last) => last > 0));
    const places = await chunkPlacesEndingAt(store, [...lasts], pace);
    for (let i = 0; i < some.length; i++) {
      const stream = some[i] as string;
      const term = heads[i] as TermHead;
      const newest = places.get(term.lastChunk);
      const known = { stream, term, entry: entries.get(stream), newest };
      streams.push(await factsOf(store, known, head));
    }
  }
  return streams;
}

/**
 * The dictionary counts the events that were ever recorded. Counting those that are not removed
 * would require reading them.
 */
export async function listEventTypes(store: OpenStore, page: NamePage): Promise<EventTypeFacts[]> {
  const head = store.head.position;
  const names = await namesWithPrefix(store, TermKind.type, page, head);
  const terms = names.map((name) => ({ kind: TermKind.type, name }));
  const heads = await store.terms.load(store.kv, terms, head);
  return heads.map(({ number, count, last }, i) => ({
    type: names[i] as string,
    recordedCount: count,
    firstPosition: bornAt(number),
    lastPosition: last,
  }));
}

interface KnownOfStream {
  readonly stream: string;
  readonly term: TermHead;
  readonly entry: Known | undefined;
  /** The chunk of its last event. Undefined: it has none. */
  readonly newest: ChunkPlace | undefined;
}

async function factsOf(
  store: OpenStore,
  { stream, term, entry, newest }: KnownOfStream,
  head: number,
): Promise<StreamFacts> {
  const lifecycle = entry && readable(entry).lifecycle;
  const { count: version } = term;
  const first = lifecycle === undefined ? 1 : await firstLeft(store, term, lifecycle);
  if (first > version || newest === undefined) {
    return { ...nothingLeft, stream, version, lifecycle };
  }
  const firstPosition = first === 1 ? bornAt(term.number) : await positionOf(store, term, first);
  const isInNewest = firstPosition >= newest.first;
  const oldest = isInNewest ? newest : await chunkPlace(store, firstPosition, head);
  return {
    stream,
    version,
    eventCount: version - first + 1,
    firstVersion: first,
    firstPosition,
    lastPosition: term.last,
    firstRecordedAt: oldest.recordedAt,
    lastRecordedAt: newest.recordedAt,
    lifecycle,
  };
}

const nothingLeft = {
  eventCount: 0,
  firstVersion: 0,
  firstPosition: 0,
  lastPosition: 0,
  firstRecordedAt: 0,
  lastRecordedAt: 0,
};

/**
 * The first version of a stream that is not removed now. If all are removed, its count plus one.
 */
async function firstLeft(store: OpenStore, term: TermHead, lifecycle: Lifecycle): Promise<number> {
  const byNumber = firstVersion(lifecycle, term.count);
  const time = oldestTime(lifecycle, timeOf(store));
  if (time === 0 || byNumber > term.count) return byNumber;
  return Math.max(byNumber, (await countBefore(store, term, await positionAt(store, time))) + 1);
}

/** How many events of a stream are before a position. */
export async function countBefore(
  store: OpenStore,
  term: TermHead,
  position: number,
): Promise<number> {
  if (position > term.last) return term.count;
  const posting = await firstPostingFrom(store.kv, term.number, position, term.lastChunk);
  if (posting === undefined) throw missingEntry(term);
  const older = posting.ordinals.filter((each) => posting.chunkFirst + each < position).length;
  return posting.before + older;
}

/** The position of a stream's version, 1 <= version <= term.count. */
async function positionOf(store: OpenStore, term: TermHead, version: number): Promise<number> {
  const { kv } = store;
  const from = version === 1 ? 0 : await chunkOfVersion(kv, term, version);
  const posting = await firstPostingFrom(kv, term.number, from, term.lastChunk);
  const ordinal = posting?.ordinals[version - 1 - posting.before];
  if (posting === undefined || ordinal === undefined) throw missingEntry(term);
  return posting.chunkFirst + ordinal;
}

function missingEntry(term: TermHead): Error {
  return corruption("an index entry of a stream is missing", { first: term.last });
}
