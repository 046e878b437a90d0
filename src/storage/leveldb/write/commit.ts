// One commit as one LevelDB batch: the chunks, and for each chunk the postings of every term on its
// events, the entries of terms seen for the first time, and the ids that clients chose. Everything
// or nothing is there after a crash; nothing is ever overwritten.

import { categoryOf, type CommitEvent } from "../../../domain/event.ts";
import type { Commit } from "../../storage.ts";
import { seal } from "../format/checksum.ts";
import { composeChunk, cutIntoChunks, hashOf, recordOf, withFrames } from "../format/chunk.ts";
import type { Chunk, Reclaimed } from "../format/chunk.ts";
import type { OpenStore } from "../state/open-store.ts";
import {
  chunkKey,
  idKey,
  postingKey,
  TermKind,
  termKey,
  termNumber,
  writeUint64,
} from "../format/keys.ts";
import type { WriteBatch } from "../kv/kv.ts";
import { composePosting, postingRecordsBytesMax } from "../format/posting.ts";
import { isRemovedRecord } from "../format/removed-record.ts";
import { noTerm, type TermHead } from "../state/term-table.ts";
import { type Term } from "../state/terms.ts";

/** A commit ready to be written, and what will be true once it is durable. */
export interface PreparedCommit {
  readonly batch: WriteBatch;
  readonly chunks: readonly Chunk[];
  readonly headHash: Uint8Array;
  readonly terms: readonly (readonly [Term, TermHead])[];
}

/** A term while a commit is put together. */
interface OpenTerm {
  readonly term: Term;
  head: TermHead;
  /** Of the chunk being composed: which events carry the term. */
  ordinals: number[];
  /** The place of the term in the first event that carries it. */
  readonly place: number;
  readonly bornAt: number;
}

/** Events that are to become one chunk. */
export interface ChunkDraft {
  readonly events: readonly CommitEvent[];
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** Some of the events are stubs, and the chunk is to say so. */
  readonly reclaimed?: Reclaimed | undefined;
}

export function prepareCommit(store: OpenStore, commit: Commit): Promise<PreparedCommit> {
  const { recordedAt } = commit;
  const drafts = cutIntoChunks(commit.events).map((events) => ({ events, recordedAt }));
  return prepareChunks(store, commit.after.position, drafts);
}

/** Chunks cut by somebody else: at the positions right after `after`, in order. */
export async function prepareChunks(
  store: OpenStore,
  after: number,
  drafts: readonly ChunkDraft[],
): Promise<PreparedCommit> {
  const open = new OpenTerms();
  const touched = drafts.map(({ events }) => events.map((event) => open.of(event)));
  const heads = await store.terms.load(store.kv, open.terms(), after);
  open.begin(heads);

  const batch = store.kv.batch();
  const chunks: Chunk[] = [];
  let previousHash = store.headHash;
  drafts.forEach(({ events, recordedAt, reclaimed }, i) => {
    const chunk = chunkOf(composeChunk(events, recordedAt, previousHash), events, reclaimed);
    previousHash = hashOf(chunk);
    chunks.push(chunk);
    batch.put(chunkKey(chunk.last), chunk.value);
    putPostings(batch, chunk, events, touched[i] as readonly OpenTerm[][]);
    for (const event of events) if (event.idFromClient) putId(batch, event);
  });
  return { batch, chunks, headHash: previousHash, terms: open.results() };
}

function chunkOf(
  chunk: Chunk,
  events: readonly CommitEvent[],
  reclaimed: Reclaimed | undefined,
): Chunk {
  if (reclaimed === undefined) return chunk;
  const frames = events.map(({ frame }) => frame);
  return withFrames(chunk, frames, reclaimed);
}

/** Terms of a commit by kind and name. */
class OpenTerms {
  private readonly byKind: Map<string, OpenTerm>[] = [1, 2, 3, 4].map(() => new Map());
  private readonly all: OpenTerm[] = [];

  /** The terms an event carries. */
  of(event: CommitEvent): OpenTerm[] {
    const terms: OpenTerm[] = [];
    if (event.stream !== "") {
      terms.push(this.open(TermKind.stream, event.stream, event, 0));
      terms.push(this.open(TermKind.category, categoryOf(event.stream), event, 1));
    }
    terms.push(this.open(TermKind.type, event.type, event, 2));
    for (let i = 0; i < event.tags.length; i++) {
      terms.push(this.open(TermKind.tag, event.tags[i] as string, event, 3 + i));
    }
    return terms;
  }

  terms(): Term[] {
    return this.all.map((each) => each.term);
  }

  begin(heads: readonly TermHead[]): void {
    for (let i = 0; i < this.all.length; i++) {
      (this.all[i] as OpenTerm).head = heads[i] as TermHead;
    }
  }

  results(): (readonly [Term, TermHead])[] {
    return this.all.map((each) => [each.term, each.head] as const);
  }

  private open(kind: TermKind, name: string, event: CommitEvent, place: number): OpenTerm {
    const terms = this.byKind[kind - 1] as Map<string, OpenTerm>;
    const known = terms.get(name);
    if (known) return known;
    const opened: OpenTerm = {
      term: { kind, name },
      head: noTerm,
      ordinals: [],
      place,
      bornAt: event.position,
    };
    terms.set(name, opened);
    this.all.push(opened);
    return opened;
  }
}

function putPostings(
  batch: WriteBatch,
  chunk: Chunk,
  events: readonly CommitEvent[],
  byEvent: readonly OpenTerm[][],
): void {
  const inChunk: OpenTerm[] = [];
  byEvent.forEach((terms, ordinal) => {
    for (const term of terms) {
      if (term.ordinals.length === 0) inChunk.push(term);
      term.ordinals.push(ordinal);
    }
  });
  for (const open of inChunk) {
    const { head, ordinals } = open;
    const number = head.number || putTerm(batch, open);
    const key = postingKey(number, chunk.last);
    const isStream = open.term.kind === TermKind.stream;
    const removedRecords = isStream && chunk.reclaimed ? removedRecordsAmong(events, ordinals) : 0;
    const frames = isStream && removedRecords === 0 ? framesToKeep(events, ordinals) : [];
    batch.put(key, composePosting(key, head.count, chunk.count, ordinals, frames, removedRecords));
    open.head = {
      number,
      count: head.count + ordinals.length,
      lastChunk: chunk.last,
      last: chunk.first + (ordinals[ordinals.length - 1] as number),
    };
    open.ordinals = [];
  }
}

/** A stream's records go along with its posting, unless they are long. */
function framesToKeep(events: readonly CommitEvent[], ordinals: readonly number[]): Uint8Array[] {
  const frames = ordinals.map((ordinal) => (events[ordinal] as CommitEvent).frame);
  let bytes = 0;
  for (const frame of frames) bytes += frame.length;
  return bytes <= postingRecordsBytesMax ? frames : [];
}

function removedRecordsAmong(events: readonly CommitEvent[], ordinals: readonly number[]): number {
  return ordinals.filter((each) => isRemovedRecord(recordOf((events[each] as CommitEvent).frame)))
    .length;
}

function putTerm(batch: WriteBatch, open: OpenTerm): number {
  const number = termNumber(open.bornAt, open.place);
  const key = termKey(open.term.kind, open.term.name);
  batch.put(key, seal(key, uint64(number)));
  return number;
}

/** An id that a client chose occurs once: domain/decide/decide.ts sees to it. */
function putId(batch: WriteBatch, event: CommitEvent): void {
  const key = idKey(event.id, 0);
  batch.put(key, seal(key, uint64(event.position)));
}

function uint64(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8);
  writeUint64(bytes, 0, value);
  return bytes;
}
