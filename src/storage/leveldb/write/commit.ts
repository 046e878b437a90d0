// Composes the keys and values of a commit: its chunks, for each chunk the postings of every term
// of its events, the entries of new terms, and the ids that clients chose. They are written as one
// batch: after a crash all of them are there, or none. No key is overwritten.

import { setImmediate } from "node:timers/promises";
import { categoryOf, isSystemName, type CommitEvent } from "../../../domain/event.ts";
import { composeChunk, hashOf, recordOf, withFrames } from "../format/chunk.ts";
import type { Chunk, Reclaimed, TimedEvents } from "../format/chunk.ts";
import {
  chunkKey,
  idKey,
  postingKey,
  TermKind,
  termKey,
  termNumber,
  writeUint64,
  type TermNumber,
  checksumBytes,
  seal,
} from "../format/keys.ts";
import { composePosting, postingRecordsBytesMax } from "../format/posting.ts";
import { isLostRecord, isRemovedRecord } from "../../removed-record.ts";
import type { Operation } from "../kv/kv.ts";
import type { StreamRun } from "../state/hot-records.ts";
import type { OpenStore } from "../state/open-store.ts";
import { noTerm, type TermHead } from "../state/term-table.ts";
import type { Term, TermUpdate } from "../state/terms.ts";

/** A hit of a tag is read beside its stream where that is much less than the chunk. */
const namedEventsMax = 4;
const namingChunkBytesMin = 2 * 1024;
/** Of a term that has many events, and a larger share of all, chunks are read in a row. */
const namedAlways = 16;
const namedShare = 1 / 32;

/** What is composed in one turn of the event loop, in postings: a few milliseconds. */
const postingsPerTurn = 500;
/** The work of a chunk, compared to a posting: its records are copied and hashed. */
const chunkPostings = 20;
/** The same of a term that is found among those of the commit. */
const termPostings = 1 / 4;

/** A commit ready to be written, and the state after it is durable. */
export interface ComposedCommit {
  readonly operations: Operation[];
  readonly chunks: readonly Chunk[];
  readonly headHash: Uint8Array;
  readonly terms: readonly TermUpdate[];
  readonly runs: readonly CommittedRun[];
}

/** The events of a stream in one chunk. */
export interface CommittedRun {
  readonly number: TermNumber;
  /** Undefined: they are not kept in memory. */
  readonly run: StreamRun | undefined;
}

/** Events that will become one chunk. */
export interface ChunkDraft extends TimedEvents {
  /** Present if some of the events are removed records; it goes into the chunk's header. */
  readonly reclaimed?: Reclaimed | undefined;
}

/** A term while a commit is composed. */
interface OpenTerm extends TermUpdate {
  /** As of the last posting that was composed. Its number is 0 before the term's first one. */
  head: TermHead;
  number: TermNumber;
  /** The last draft whose events have it, and which of them. */
  draft: ChunkDraft | undefined;
  ordinals: number[];
  /** The index of the term in the first event that has it, and that event's position. */
  readonly place: number;
  readonly bornAt: number;
}

/** A term of a chunk, and which of the chunk's events have it. */
interface ChunkTerm {
  readonly term: OpenTerm;
  readonly ordinals: number[];
}

/** A chunk and what it was made of. */
interface ChunkParts {
  readonly chunk: Chunk;
  readonly events: readonly CommitEvent[];
  readonly streams: ReadonlyMap<string, OpenTerm>;
}

/** Composes chunks at the positions directly after the head, in order. */
export async function composeChunks(
  store: OpenStore,
  drafts: readonly ChunkDraft[],
): Promise<ComposedCommit> {
  const { all, streams, byDraft } = await termsOf(drafts);
  const heads = await store.terms.load(store.kv, all, store.head.position);
  for (let i = 0; i < all.length; i++) {
    const term = all[i] as OpenTerm;
    term.head = heads[i] as TermHead;
    term.number = term.head.number || termNumber(term.bornAt, term.place);
  }

  const operations: Operation[] = [];
  const chunks: Chunk[] = [];
  const runs: CommittedRun[] = [];
  let headHash = store.headHash;
  /** Others get the thread now and then: a large commit is composed for a while. */
  let sinceTurn = 0;
  for (let i = 0; i < drafts.length; i++) {
    const { events, recordedAt, reclaimed } = drafts[i] as ChunkDraft;
    let chunk = composeChunk(events, recordedAt, headHash);
    if (reclaimed !== undefined) {
      const frames = events.map(({ frame }) => frame);
      chunk = withFrames(chunk, frames, reclaimed);
    }
    headHash = hashOf(chunk);
    chunks.push(chunk);
    operations.push([chunkKey(chunk.last), chunk.value]);
    sinceTurn += chunkPostings;
    for (const chunkTerm of byDraft[i] as ChunkTerm[]) {
      putPosting({ operations, runs }, { chunk, events, streams }, chunkTerm);
      if (++sinceTurn < postingsPerTurn) continue;
      sinceTurn = 0;
      await setImmediate();
    }
    for (const event of events) if (event.idFromClient) operations.push(idEntry(event));
  }
  return { operations, chunks, headHash, terms: all, runs };
}

interface OpenTerms {
  readonly all: readonly OpenTerm[];
  /** Those of them that are streams, by name. */
  readonly streams: ReadonlyMap<string, OpenTerm>;
  /** The terms of each draft, in the order of their first events. */
  readonly byDraft: readonly ChunkTerm[][];
}

async function termsOf(drafts: readonly ChunkDraft[]): Promise<OpenTerms> {
  const all: OpenTerm[] = [];
  const known: Record<TermKind, Map<string, OpenTerm>> = {
    [TermKind.stream]: new Map(),
    [TermKind.category]: new Map(),
    [TermKind.type]: new Map(),
    [TermKind.tag]: new Map(),
  };
  const byDraft: ChunkTerm[][] = [];
  let sinceTurn = 0;
  for (const draft of drafts) {
    const { events } = draft;
    const inChunk: ChunkTerm[] = [];
    const first = (events[0] as CommitEvent).position;
    const enter = (kind: TermKind, name: string, position: number, place: number): void => {
      let term = known[kind].get(name);
      if (term === undefined) {
        const none = { head: noTerm, number: 0, draft: undefined, ordinals: [] };
        term = { kind, name, ...none, place, bornAt: position };
        known[kind].set(name, term);
        all.push(term);
      }
      if (term.draft !== draft) {
        term.draft = draft;
        term.ordinals = [];
        inChunk.push({ term, ordinals: term.ordinals });
      }
      term.ordinals.push(position - first);
    };
    for (const { stream, type, tags, position } of events) {
      if (stream !== "") {
        enter(TermKind.stream, stream, position, 0);
        enter(TermKind.category, categoryOf(stream), position, 1);
      }
      enter(TermKind.type, type, position, 2);
      for (let i = 0; i < tags.length; i++) {
        enter(TermKind.tag, tags[i] as string, position, 3 + i);
      }
      sinceTurn += (3 + tags.length) * termPostings;
      if (sinceTurn < postingsPerTurn) continue;
      sinceTurn = 0;
      await setImmediate();
    }
    byDraft.push(inChunk);
  }
  return { all, streams: known[TermKind.stream], byDraft };
}

/** A term's posting for a chunk, and the entry of a term that begins with it. */
function putPosting(
  { operations, runs }: { operations: Operation[]; runs: CommittedRun[] },
  parts: ChunkParts,
  chunkTerm: ChunkTerm,
): void {
  const { chunk, events } = parts;
  const { term, ordinals } = chunkTerm;
  const { kind, head, number } = term;
  if (head.number === 0) operations.push(termEntry(term, number));
  const key = postingKey(number, chunk.last);
  const isStream = kind === TermKind.stream;
  const among = chunk.reclaimed ? removedAmong(events, ordinals) : 0;
  // A posting with lost events sends its readers to the chunk.
  const isAnyLost = chunk.reclaimed !== undefined && holdsLost(events, ordinals);
  const isTold = !isAnyLost && (isStream || among === ordinals.length);
  const removedRecords = isTold ? among : 0;
  const isKept = isStream && removedRecords === 0 && !isAnyLost;
  const kept = isKept ? recordsToKeep(events, ordinals) : undefined;
  const before = head.count;
  const isLarge = chunk.records.length >= namingChunkBytesMin;
  const streams = isLarge ? streamsToName(parts, chunkTerm) : noStreams;
  const posting = { before, ordinals, previous: head.lastChunk, streams, removedRecords };
  const value = composePosting(key, chunk, posting, kept?.frames);
  operations.push([key, value]);
  if (isStream) runs.push({ number, run: kept && runOf(kept, before, value) });
  const last = chunk.first + (ordinals.at(-1) as number);
  term.head = { number, count: before + ordinals.length, lastChunk: chunk.last, last };
}

const noStreams: readonly TermNumber[] = [];

/** The streams that the posting of a term names. */
function streamsToName(
  { chunk, events, streams }: ChunkParts,
  { term: { kind, head }, ordinals }: ChunkTerm,
): readonly TermNumber[] {
  if (kind === TermKind.stream || ordinals.length > namedEventsMax) return noStreams;
  if (head.count > Math.max(namedAlways, chunk.first * namedShare)) return noStreams;
  const named: TermNumber[] = [];
  for (const ordinal of ordinals) {
    const term = streams.get((events[ordinal] as CommitEvent).stream);
    if (term === undefined) return noStreams;
    named.push(term.number);
  }
  return named;
}

/** Records of a stream that go along with its posting. */
interface KeptRecords {
  readonly frames: Uint8Array[];
  readonly positions: number[];
  /** Where each frame ends, one behind the other. */
  readonly ends: number[];
  /** Whether some of them are not returned by every read of the stream. */
  isHidden: boolean;
}

/** Undefined: they are long, and in the chunk only. */
function recordsToKeep(
  events: readonly CommitEvent[],
  ordinals: readonly number[],
): KeptRecords | undefined {
  const kept: KeptRecords = { frames: [], positions: [], ends: [], isHidden: false };
  let end = 0;
  for (const ordinal of ordinals) {
    const { frame, position, type } = events[ordinal] as CommitEvent;
    end += frame.length;
    kept.frames.push(frame);
    kept.positions.push(position);
    kept.ends.push(end);
    kept.isHidden ||= isSystemName(type);
  }
  return end <= postingRecordsBytesMax ? kept : undefined;
}

/** The records as they lie in their posting's value. Undefined: they are not kept in memory. */
function runOf(
  { positions, ends, isHidden }: KeptRecords,
  before: number,
  value: Uint8Array,
): StreamRun | undefined {
  if (isHidden) return undefined;
  const end = value.length - checksumBytes;
  return { before, positions, ends, frames: value.subarray(end - (ends.at(-1) as number), end) };
}

function removedAmong(events: readonly CommitEvent[], ordinals: readonly number[]): number {
  return ordinals.filter((each) => isRemovedRecord(recordOf((events[each] as CommitEvent).frame)))
    .length;
}

function holdsLost(events: readonly CommitEvent[], ordinals: readonly number[]): boolean {
  return ordinals.some((each) => isLostRecord(recordOf((events[each] as CommitEvent).frame)));
}

function termEntry({ kind, name }: Term, number: number): Operation {
  const key = termKey(kind, name);
  return [key, seal(key, uint64(number))];
}

/** An id that a client chose occurs once, which domain/decide/decide.ts ensures. */
function idEntry({ id, position }: CommitEvent): Operation {
  const key = idKey(id, 0);
  return [key, seal(key, uint64(position))];
}

function uint64(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8);
  writeUint64(bytes, 0, value);
  return bytes;
}
