// Reclaims the space of removed events, one batch at a time. Chunks are rewritten with removed
// records in place of permanently removed events, and the postings of the streams without their
// records. The system event that records the rewrite is in the same LevelDB batch, so that a crash
// leaves all of it or nothing.
//
// This is the only code that overwrites keys. Elsewhere it is avoided, because this LevelDB can
// return an outdated value of an overwritten key. Here an outdated value is harmless: it is the
// chunk or posting that was there before, valid and in the hash chain, and the lifecycle hides its
// removed events from every answer as it did before.

import { randomInt } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { composeFrame, scanPlacement, scanRecord, scanStream } from "../../../domain/record.ts";
import { removalEvent, type RemovedOfStream } from "../../../domain/lifecycle/removal-event.ts";
import { corruption } from "../../../domain/errors.ts";
import { categoryOf, type CommitEvent, idChances, ownId } from "../../../domain/event.ts";
import {
  frameOffsets,
  hashOf,
  presentHashOf,
  recordOf,
  withFrames,
  type Chunk,
} from "../format/chunk.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import type { OwnCommit } from "../write/engine.ts";
import { chunkKey, postingKey, TermKind, termKey, type TermNumber } from "../format/keys.ts";
import type { Entry, Operation } from "../kv/kv.ts";
import { composePosting, openPosting, type Posting } from "../format/posting.ts";
import { composeRemovedRecord, isRemovedRecord } from "../../removed-record.ts";
import { openTermNumber, type Term } from "../state/terms.ts";

/**
 * The version up to which the events of a stream are removed, and the position of the lifecycle
 * event that removed them.
 */
export interface RemovalBound {
  readonly gone: number;
  readonly policy: number;
}

/** A list of fewer events is quickly read. */
const shortListMax = 64;

export type RemovalBounds = ReadonlyMap<string, RemovalBound>;

/** A chunk that is to be rewritten. */
export interface ChunkPlan {
  readonly chunk: Chunk;
  readonly frames: readonly Uint8Array[];
  /** For each stream, how many events of the chunk become removed records. */
  readonly removed: ReadonlyMap<string, number>;
  /** The new postings of the streams. */
  readonly postings: readonly RewrittenPosting[];
  /** Approximate bytes of the replaced and of the replacing values. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface RewrittenPosting {
  readonly term: TermNumber;
  readonly entry: Entry;
  readonly freed: number;
}

/** Undefined: the chunk has nothing to reclaim. Throws CORRUPTION. */
export async function planChunk(
  store: OpenStore,
  chunk: Chunk,
  bounds: RemovalBounds,
): Promise<ChunkPlan | undefined> {
  const offsets = frameOffsets(chunk);
  const frames: Uint8Array[] = [];
  const removed = new Map<string, number>();
  for (let i = 0; i < chunk.count; i++) {
    const frame = chunk.records.subarray(offsets[i], offsets[i + 1]);
    const record = recordOf(frame);
    const stream = scanStream(record);
    const bound = stream === "" ? undefined : bounds.get(stream);
    const isGone = bound !== undefined && scanPlacement(record).version <= bound.gone;
    if (!isGone || isRemovedRecord(record)) {
      frames.push(frame);
      continue;
    }
    frames.push(composeRemovedRecord(record, true, bound.policy));
    removed.set(stream, (removed.get(stream) ?? 0) + 1);
  }
  if (removed.size === 0) return undefined;
  const postings = [
    ...(await planPostings(store, chunk, [...removed.keys()], frames)),
    ...(await planRemovedPostings(store, chunk, frames)),
  ];
  let bytesBefore = chunk.value.length;
  let bytesAfter = frames.reduce((bytes, frame) => bytes + frame.length, 0);
  for (const { entry, freed } of postings) {
    bytesBefore += entry[1].length + freed;
    bytesAfter += entry[1].length;
  }
  return { chunk, frames, removed, postings, bytesBefore, bytesAfter };
}

/**
 * The postings of a chunk that another store has rewritten. Throws CORRUPTION if it holds other
 * events than before.
 */
export async function postingsOfRewritten(
  store: OpenStore,
  before: Chunk,
  rewritten: Chunk,
): Promise<Operation[]> {
  const [old, frames] = [framesOf(before), framesOf(rewritten)];
  const streams = new Set<string>();
  for (const [i, frame] of frames.entries()) {
    const was = old[i] as Uint8Array;
    if (Buffer.compare(was, frame) === 0) continue;
    const [record, known] = [recordOf(frame), recordOf(was)];
    const isSame = isDeepStrictEqual(scanRecord(record), scanRecord(known));
    if (!isSame || !isRemovedRecord(record)) throw missing(before);
    streams.add(scanStream(record));
  }
  streams.delete("");
  const postings = [
    ...(await planPostings(store, before, [...streams], frames)),
    ...(await planRemovedPostings(store, before, frames)),
  ];
  return postings.map(({ entry }) => entry);
}

function framesOf(chunk: Chunk): Uint8Array[] {
  const offsets = frameOffsets(chunk);
  return Array.from({ length: chunk.count }, (_, i) =>
    chunk.records.subarray(offsets[i], offsets[i + 1]),
  );
}

/** The streams' postings in the chunk, looked up together: there may be one for each event. */
async function planPostings(
  store: OpenStore,
  chunk: Chunk,
  streams: readonly string[],
  frames: readonly Uint8Array[],
): Promise<RewrittenPosting[]> {
  const names = streams.map((name) => ({ kind: TermKind.stream, name }));
  const terms = await numbersOf(store, names);
  const keys = terms.map((term) => postingKey(term, chunk.last));
  const values = await store.kv.getMany(keys);
  return streams.map((stream, i) => {
    const [term, key, value] = [terms[i] as TermNumber, keys[i] as Uint8Array, values[i]];
    const posting = value && openPosting(key, value);
    const removedRecords = posting && removedRecordsIn(posting, stream, frames);
    if (removedRecords === undefined || posting?.chunkFirst !== chunk.first)
      throw missing(chunk, stream);
    const rewritten = composePosting(key, chunk, { ...posting, removedRecords });
    return { term, entry: [key, rewritten], freed: (value?.length ?? 0) - rewritten.length };
  });
}

/**
 * The postings of categories, types and tags that have no event left in the chunk. They say so, so
 * that reads skip them without a look at the chunk. Short lists are left as they are.
 */
async function planRemovedPostings(
  store: OpenStore,
  chunk: Chunk,
  frames: readonly Uint8Array[],
): Promise<RewrittenPosting[]> {
  const removed = new Map<string, Term>();
  const left = new Set<string>();
  for (const record of frames.map(recordOf)) {
    const isRemoved = isRemovedRecord(record);
    for (const term of termsOf(record)) {
      const name = `${term.kind}${term.name}`;
      if (isRemoved) removed.set(name, term);
      else left.add(name);
    }
  }
  for (const name of left) removed.delete(name);
  const terms = await numbersOf(store, [...removed.values()]);
  const keys = terms.map((term) => postingKey(term, chunk.last));
  const values = await store.kv.getMany(keys);
  return terms.flatMap((term, i) => {
    const [key, value] = [keys[i] as Uint8Array, values[i]];
    const posting = value && openPosting(key, value);
    if (posting?.chunkFirst !== chunk.first) throw missing(chunk);
    const { before, ordinals, removedRecords } = posting;
    if (removedRecords > 0 || before + ordinals.length < shortListMax) return [];
    const allRemoved = { ...posting, removedRecords: ordinals.length };
    const rewritten = composePosting(key, chunk, allRemoved);
    return [{ term, entry: [key, rewritten], freed: 0 }];
  });
}

function termsOf(record: Uint8Array): Term[] {
  const { stream, type, tags } = scanRecord(record);
  return [
    ...(stream === "" ? [] : [{ kind: TermKind.category, name: categoryOf(stream) }]),
    { kind: TermKind.type, name: type },
    ...tags.map((name) => ({ kind: TermKind.tag, name })),
  ];
}

async function numbersOf(store: OpenStore, terms: readonly Term[]): Promise<TermNumber[]> {
  const numbers = terms.map(({ kind, name }) => store.terms.peek(kind, name)?.number ?? 0);
  const unknown = terms.filter((_, i) => numbers[i] === 0);
  if (unknown.length === 0) return numbers;
  const keys = unknown.map(({ kind, name }) => termKey(kind, name));
  const values = await store.kv.getMany(keys);
  let next = 0;
  return numbers.map((known) => {
    if (known !== 0) return known;
    const [key, value] = [keys[next] as Uint8Array, values[next]];
    next++;
    return value ? openTermNumber(key, value) : 0;
  });
}

/**
 * How many of the posting's events, from the first on, become removed records. Undefined: the
 * posting is of a term that is no stream concerned.
 */
function removedRecordsIn(
  { ordinals }: Posting,
  stream: string,
  frames: readonly Uint8Array[],
): number | undefined {
  let removedRecords = 0;
  for (const [i, ordinal] of ordinals.entries()) {
    const frame = frames[ordinal];
    if (frame === undefined || scanStream(recordOf(frame)) !== stream) return undefined;
    if (isRemovedRecord(recordOf(frame))) removedRecords = i + 1;
  }
  return removedRecords;
}

function missing({ first, last }: Chunk, stream?: string): Error {
  const where = { first, last, ...(stream !== undefined && { stream }) };
  return corruption("the index disagrees with the log", where);
}

/** The counts of one batch. */
export interface BatchOutcome {
  readonly chunks: number;
  readonly events: number;
  readonly bytesFreed: number;
}

export function outcomeOf(plans: readonly ChunkPlan[]): BatchOutcome {
  let [events, bytesFreed] = [0, 0];
  for (const { removed, bytesBefore, bytesAfter } of plans) {
    for (const count of removed.values()) events += count;
    bytesFreed += bytesBefore - bytesAfter;
  }
  return { chunks: plans.length, events, bytesFreed };
}

/**
 * Composes the commit that rewrites the chunks, at the present head. `judgedAt` is the time by
 * which events were judged too old. It is recorded, so that these events never come back.
 */
export async function composeReclaim(
  store: OpenStore,
  plans: readonly ChunkPlan[],
  bounds: RemovalBounds,
  judgedAt: number,
): Promise<OwnCommit> {
  const { head } = store;
  const recordedIn = head.position + 1;
  const rewritten = plans.map(({ chunk, frames }) =>
    withFrames(chunk, frames, {
      recordedIn,
      originalHash: hashOf(chunk),
      isEmptied: frames.every((frame) => isRemovedRecord(recordOf(frame))),
    }),
  );
  const { events, bytesFreed } = outcomeOf(plans);
  const removal = removalEvent({
    chunks: rewritten.map((chunk) => {
      return { first: chunk.first, last: chunk.last, sha256: presentHashOf(chunk) };
    }),
    events,
    bytes: bytesFreed,
    streams: streamsOf(plans, bounds),
  });
  const recordedAt = Math.max(timeOf(store), judgedAt);
  const { stream, type, tags, idFromClient, body } = removal;
  const term = { kind: TermKind.stream, name: stream };
  const [known] = await store.terms.load(store.kv, [term], head.position);
  const version = (known?.count ?? 0) + 1;
  const id = ownId(randomInt(idChances), recordedIn, recordedAt);
  const frame = composeFrame(body, version, recordedIn, recordedAt, { ownId: id });
  const place = { version, position: recordedIn };
  const event: CommitEvent = { id, stream, type, tags, idFromClient, ...place, frame };
  // Before anything of it can be read: see OpenStore.
  store.reclaimedIn = recordedIn;
  return {
    commit: { after: head, recordedAt, events: [event] },
    also: [
      ...rewritten.map((chunk): Operation => [chunkKey(chunk.last), chunk.value]),
      ...plans.flatMap(({ postings }) => postings.map(({ entry }) => entry)),
    ],
    stored() {
      for (const chunk of rewritten) store.tail.replace(chunk);
      for (const each of plans.flatMap(({ postings }) => postings)) store.hot.drop(each.term);
    },
  };
}

function streamsOf(plans: readonly ChunkPlan[], bounds: RemovalBounds): RemovedOfStream[] {
  const counts = new Map<string, number>();
  for (const { removed } of plans) {
    for (const [stream, count] of removed) counts.set(stream, (counts.get(stream) ?? 0) + count);
  }
  return [...counts].map(([stream, events]) => {
    const { gone, policy } = bounds.get(stream) as RemovalBound;
    return { stream, events, before: gone + 1, policy };
  });
}
