// Composes the keys and values of a commit: its chunks, for each chunk the postings of every term
// of its events, the entries of new terms, and the ids that clients chose. They are written as one
// batch: after a crash all of them are there, or none. No key is overwritten.

import { setImmediate } from "node:timers/promises";
import { categoryOf, isSystemName, type CommitEvent } from "../../../domain/event.ts";
import type { Commit } from "../../storage.ts";
import { composeChunk, cutIntoChunks, hashOf, recordOf, withFrames } from "../format/chunk.ts";
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
import { composePosting, postingRecordsBytesMax, type Posting } from "../format/posting.ts";
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
  head: TermHead;
  /** The events of the present chunk that have the term. */
  ordinals: number[];
  /** The index of the term in the first event that has it, and that event's position. */
  readonly place: number;
  readonly bornAt: number;
}

export function composeCommit(store: OpenStore, commit: Commit): Promise<ComposedCommit> {
  return composeChunks(store, commit.after.position, cutIntoChunks(commit));
}

/** Composes chunks at the positions directly after `after`, in order. */
export async function composeChunks(
  store: OpenStore,
  after: number,
  drafts: readonly ChunkDraft[],
): Promise<ComposedCommit> {
  const { all, byEvent } = await termsOf(drafts);
  const heads = await store.terms.load(store.kv, all, after);
  for (let i = 0; i < all.length; i++) (all[i] as OpenTerm).head = heads[i] as TermHead;

  const operations: Operation[] = [];
  const chunks: Chunk[] = [];
  const runs: CommittedRun[] = [];
  let headHash = store.headHash;
  /** Others get the thread now and then: a large commit is composed for a while. */
  let sinceTurn = 0;
  for (const { events, recordedAt, reclaimed } of drafts) {
    let chunk = composeChunk(events, recordedAt, headHash);
    if (reclaimed !== undefined) {
      const frames = events.map(({ frame }) => frame);
      chunk = withFrames(chunk, frames, reclaimed);
    }
    headHash = hashOf(chunk);
    chunks.push(chunk);
    operations.push([chunkKey(chunk.last), chunk.value]);
    sinceTurn += chunkPostings;
    for (const open of inChunkOf(events, byEvent)) {
      const streams = streamsToName(chunk, events, open, byEvent);
      putPosting({ operations, runs }, chunk, { events, streams }, open);
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
  /** The terms of each event. */
  readonly byEvent: ReadonlyMap<CommitEvent, readonly OpenTerm[]>;
}

async function termsOf(drafts: readonly ChunkDraft[]): Promise<OpenTerms> {
  const all: OpenTerm[] = [];
  const known: Record<TermKind, Map<string, OpenTerm>> = {
    [TermKind.stream]: new Map(),
    [TermKind.category]: new Map(),
    [TermKind.type]: new Map(),
    [TermKind.tag]: new Map(),
  };
  const opened = (kind: TermKind, name: string, bornAt: number, place: number): OpenTerm => {
    let open = known[kind].get(name);
    if (open !== undefined) return open;
    open = { kind, name, head: noTerm, ordinals: [], place, bornAt };
    known[kind].set(name, open);
    all.push(open);
    return open;
  };
  const byEvent = new Map<CommitEvent, OpenTerm[]>();
  let sinceTurn = 0;
  for (const { events } of drafts) {
    for (const event of events) {
      const { stream, type, tags, position } = event;
      const terms: OpenTerm[] = [];
      if (stream !== "") {
        terms.push(opened(TermKind.stream, stream, position, 0));
        terms.push(opened(TermKind.category, categoryOf(stream), position, 1));
      }
      terms.push(opened(TermKind.type, type, position, 2));
      for (let i = 0; i < tags.length; i++) {
        terms.push(opened(TermKind.tag, tags[i] as string, position, 3 + i));
      }
      byEvent.set(event, terms);
      sinceTurn += terms.length * termPostings;
      if (sinceTurn < postingsPerTurn) continue;
      sinceTurn = 0;
      await setImmediate();
    }
  }
  return { all, byEvent };
}

/** The terms of a chunk's events, each with the events that have it. */
function inChunkOf(events: readonly CommitEvent[], byEvent: OpenTerms["byEvent"]): OpenTerm[] {
  const inChunk: OpenTerm[] = [];
  for (let ordinal = 0; ordinal < events.length; ordinal++) {
    for (const open of byEvent.get(events[ordinal] as CommitEvent) ?? []) {
      if (open.ordinals.length === 0) inChunk.push(open);
      open.ordinals.push(ordinal);
    }
  }
  return inChunk;
}

/** The streams that a term's posting names. */
function streamsToName(
  chunk: Chunk,
  events: readonly CommitEvent[],
  { kind, head, ordinals }: OpenTerm,
  byEvent: OpenTerms["byEvent"],
): TermNumber[] {
  if (kind === TermKind.stream || ordinals.length > namedEventsMax) return [];
  const isRare = head.count <= Math.max(namedAlways, chunk.first * namedShare);
  if (!isRare || chunk.records.length < namingChunkBytesMin) return [];
  const streams: TermNumber[] = [];
  for (const ordinal of ordinals) {
    const event = events[ordinal] as CommitEvent;
    if (event.stream === "") return [];
    streams.push(numberOf(byEvent.get(event)?.[0] as OpenTerm));
  }
  return streams;
}

function numberOf({ head, bornAt, place }: OpenTerm): TermNumber {
  return head.number || termNumber(bornAt, place);
}

/** A term's posting for a chunk, and the entry of a term that begins with it. */
function putPosting(
  { operations, runs }: { operations: Operation[]; runs: CommittedRun[] },
  chunk: Chunk,
  { events, streams }: { events: readonly CommitEvent[]; streams: readonly TermNumber[] },
  open: OpenTerm,
): void {
  const { kind, head, ordinals } = open;
  const number = numberOf(open);
  if (head.number === 0) operations.push(termEntry(open, number));
  const key = postingKey(number, chunk.last);
  const isStream = kind === TermKind.stream;
  const among = chunk.reclaimed ? removedAmong(events, ordinals) : 0;
  // A posting with lost events sends its readers to the chunk.
  const isAnyLost = chunk.reclaimed !== undefined && holdsLost(events, ordinals);
  const isTold = !isAnyLost && (isStream || among === ordinals.length);
  const removedRecords = isTold ? among : 0;
  const isKept = isStream && removedRecords === 0 && !isAnyLost;
  const frames = isKept ? framesToKeep(events, ordinals) : [];
  const previous = head.lastChunk;
  const posting = { before: head.count, ordinals, previous, streams, removedRecords };
  const value = composePosting(key, chunk, posting, frames);
  operations.push([key, value]);
  if (isStream) {
    // What not every read of a stream returns is not kept in memory.
    const isHidden = ordinals.some((each) => isSystemName((events[each] as CommitEvent).type));
    runs.push({ number, run: isHidden ? undefined : runOf(chunk, posting, value, frames) });
  }
  const last = chunk.first + (ordinals.at(-1) as number);
  open.head = { number, count: head.count + ordinals.length, lastChunk: chunk.last, last };
  open.ordinals = [];
}

/** The records in a posting's value. Undefined: it has none. */
function runOf(
  chunk: Chunk,
  { before, ordinals }: Pick<Posting, "before" | "ordinals">,
  value: Uint8Array,
  frames: readonly Uint8Array[],
): StreamRun | undefined {
  if (frames.length === 0) return undefined;
  const ends: number[] = [];
  const positions: number[] = [];
  let end = 0;
  for (let i = 0; i < frames.length; i++) {
    ends.push((end += (frames[i] as Uint8Array).length));
    positions.push(chunk.first + (ordinals[i] as number));
  }
  const last = value.length - checksumBytes;
  return { before, positions, ends, frames: value.subarray(last - end, last) };
}

/** A stream's records go along with its posting, unless they are long. */
function framesToKeep(events: readonly CommitEvent[], ordinals: readonly number[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  let bytes = 0;
  for (const ordinal of ordinals) {
    const { frame } = events[ordinal] as CommitEvent;
    frames.push(frame);
    bytes += frame.length;
  }
  return bytes <= postingRecordsBytesMax ? frames : [];
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
