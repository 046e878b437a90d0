// Derives the index from the chunks a second time and compares it with the stored one: for every
// event its terms, their postings with their counts, and its id. This code is intentionally
// independent of commit.ts: two derivations that agree prove more than one that agrees with itself.

import { isDeepStrictEqual } from "node:util";
import { AnnalsError } from "../../../domain/errors.ts";
import { categoryOf, positionInId } from "../../../domain/event.ts";
import { scanRecord, scanRecordedAt } from "../../../domain/record.ts";
import { frameOffsets, isIdFromClient, openChunk, recordOf, type Chunk } from "../format/chunk.ts";
import {
  bornAt,
  chunkKey,
  idKey,
  postingKey,
  readUint64,
  TermKind,
  termKey,
  termNumber,
  type TermNumber,
  unseal,
} from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { framesIn, openPosting, type Posting } from "../format/posting.ts";
import { isRemovedRecord } from "../../removed-record.ts";
import { openTermNumber } from "../state/terms.ts";

const rememberedMax = 100_000;

/**
 * Told of each finding, in words. `keys`: where an entry should be that is missing or cannot be
 * read.
 */
export type Found = (finding: string, keys?: KeyBounds) => void;

/** Both inclusive. */
interface KeyBounds {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

/** How many index entries the chunks so far account for. */
export interface IndexTotals {
  terms: number;
  postings: number;
  ids: number;
}

interface CheckedEvent {
  readonly id: string;
  readonly stream: string;
  readonly version: number;
  readonly position: number;
  readonly frame: Uint8Array;
  readonly idFromClient: boolean;
}

/** A term and the events of the present chunk that have it. */
interface Occurrence {
  readonly key: Uint8Array;
  readonly name: string;
  readonly ordinals: number[];
  /** The term's number if this is its first chunk. */
  readonly born: TermNumber;
  readonly isStream: boolean;
}

const nothingBefore = { count: 0, lastChunk: 0 };

interface Known {
  readonly number: TermNumber;
  readonly count: number;
  /** The last position of the last chunk with such an event. 0: none. NaN: not known. */
  readonly lastChunk: number;
}

export class IndexCheck {
  readonly totals: IndexTotals = { terms: 0, postings: 0, ids: 0 };
  private readonly kv: ReadableKv;
  private readonly found: Found;
  /** Numbers and counts of terms as of the last chunk. Bounded: the oldest entries are dropped. */
  private readonly known = new Map<string, Known>();

  constructor(kv: ReadableKv, found: Found) {
    this.kv = kv;
    this.found = found;
  }

  /** Chunks must be given in order, each once. */
  async check(chunk: Chunk): Promise<void> {
    const events = this.eventsOf(chunk);
    if (!events) return;
    const occurrences = [...occurrencesIn(events).values()];
    const known = await this.recall(occurrences, chunk);
    await this.checkPostings(chunk, events, occurrences, known);
    await this.checkIds(events);
  }

  /** The events of the chunk. Undefined if they cannot be decoded. */
  private eventsOf(chunk: Chunk): CheckedEvent[] | undefined {
    try {
      const offsets = frameOffsets(chunk);
      return Array.from({ length: chunk.count }, (_, ordinal) => {
        const frame = chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]);
        const record = recordOf(frame);
        const event = scanRecord(record);
        const position = chunk.first + ordinal;
        if (event.position !== position || scanRecordedAt(record) !== chunk.recordedAt) {
          this.found(`the record at position ${position} disagrees with its chunk`);
        }
        return { ...event, position, frame, idFromClient: isIdFromClient(chunk, ordinal) };
      });
    } catch (error) {
      if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
      this.found(`positions ${chunk.first} to ${chunk.last} make no sense: ${error.message}`);
      return undefined;
    }
  }

  /** Numbers and counts of the terms before the chunk, from memory or from the stored index. */
  private async recall(
    occurrences: readonly Occurrence[],
    chunk: Chunk,
  ): Promise<(Known | undefined)[]> {
    const known = occurrences.map(({ name }) => this.known.get(name));
    const absent = occurrences.flatMap((each, i) => (known[i] ? [] : [{ ...each, i }]));
    if (absent.length === 0) return known;
    const values = await this.kv.getMany(absent.map(({ key }) => key));
    for (const [at, { key, name, born, i }] of absent.entries()) {
      const number = this.numberOf(key, values[at], name, chunk);
      if (number === undefined) continue;
      if (bornAt(number) >= chunk.first && number !== born) {
        this.found(`${name} has number ${number} in the dictionary, not ${born}`);
      }
      const before = number === born ? nothingBefore : await this.countBefore(number, chunk);
      if (before.count === 0) this.totals.terms++;
      known[i] = { number, ...before };
    }
    return known;
  }

  private numberOf(
    key: Uint8Array,
    value: Uint8Array | undefined,
    name: string,
    chunk: Chunk,
  ): TermNumber | undefined {
    try {
      if (value) return openTermNumber(key, value);
      const keys = { first: key, last: key };
      this.found(
        `${name}, first seen up to position ${chunk.last}, is not in the dictionary`,
        keys,
      );
    } catch (error) {
      if (!(error instanceof AnnalsError)) throw error;
      this.found(`${name}: ${error.message}`);
    }
    return undefined;
  }

  private async countBefore(number: TermNumber, chunk: Chunk): Promise<Omit<Known, "number">> {
    const [entry] = await this.kv.page({
      first: postingKey(number, 0),
      last: postingKey(number, chunk.first - 1),
      reverse: true,
      limit: 1,
      fillCache: false,
    });
    if (!entry) return nothingBefore;
    const posting = this.opened(entry[0], entry[1]);
    if (!posting) return { count: Number.NaN, lastChunk: Number.NaN };
    return { count: posting.before + posting.ordinals.length, lastChunk: posting.chunkLast };
  }

  private async checkPostings(
    chunk: Chunk,
    events: readonly CheckedEvent[],
    occurrences: readonly Occurrence[],
    known: readonly (Known | undefined)[],
  ): Promise<void> {
    const those = occurrences.flatMap((each, i) => {
      const term = known[i];
      return term ? [{ ...each, ...term, at: postingKey(term.number, chunk.last) }] : [];
    });
    const values = await this.kv.getMany(those.map(({ at }) => at));
    const numbers = new Map(those.map(({ name, number }) => [name, number]));
    const streamOf = (ordinal: number): TermNumber => {
      const { stream } = events[ordinal] as CheckedEvent;
      return numbers.get(nameOf(TermKind.stream, stream)) ?? 0;
    };
    for (const [i, { name, at, number, count, lastChunk, ordinals, isStream }] of those.entries()) {
      this.totals.postings++;
      this.remember(name, { number, count: count + ordinals.length, lastChunk: chunk.last });
      const value = values[i];
      const posting = value && this.opened(at, value);
      const keys = { first: at, last: at };
      if (!value) this.found(`${name} has no posting for positions up to ${chunk.last}`, keys);
      if (!posting) continue;
      const frames = isStream ? ordinals.map((each) => (events[each] as CheckedEvent).frame) : [];
      if (!isPosting(posting, chunk, count, ordinals, frames)) {
        this.found(`the posting of ${name} for positions up to ${chunk.last} is wrong`);
      }
      this.checkParts(posting, { name, lastChunk, streams: ordinals.map(streamOf) });
      if (posting.removedRecords > 0 && !(await this.areRemoved(posting, chunk, events))) {
        this.found(
          `${name} has events up to position ${chunk.last} that its posting calls removed`,
        );
      }
      if (isStream) this.checkVersions(events, ordinals, count, name);
    }
  }

  /** What postings of format version 2 say besides, which may be left out. */
  private checkParts(
    { previous, streams, chunkLast }: Posting,
    expected: { name: string; lastChunk: number; streams: readonly TermNumber[] },
  ): void {
    const { name, lastChunk } = expected;
    if (previous > 0 && previous !== lastChunk && !Number.isNaN(lastChunk)) {
      this.found(`the posting of ${name} for positions up to ${chunkLast} leads to ${previous}`);
    }
    if (streams.length > 0 && !isDeepStrictEqual(streams, expected.streams)) {
      this.found(`the posting of ${name} for positions up to ${chunkLast} names wrong streams`);
    }
  }

  /** Whether the events are removed that the posting says are. */
  private async areRemoved(
    { ordinals, removedRecords }: Posting,
    chunk: Chunk,
    events: readonly CheckedEvent[],
  ): Promise<boolean> {
    const called = ordinals.slice(0, removedRecords);
    const isRemoved = ({ frame }: CheckedEvent) => isRemovedRecord(recordOf(frame));
    if (called.every((each) => isRemoved(events[each] as CheckedEvent))) return true;
    // Space may be reclaimed between reading the chunk and reading the posting.
    const key = chunkKey(chunk.last);
    const [value] = await this.kv.getMany([key]);
    const present = value && this.eventsOf(openChunk(key, value));
    return (
      present !== undefined && called.every((each) => isRemoved(present[each] as CheckedEvent))
    );
  }

  private checkVersions(
    events: readonly CheckedEvent[],
    ordinals: readonly number[],
    count: number,
    name: string,
  ): void {
    for (const [i, ordinal] of ordinals.entries()) {
      const { version, position } = events[ordinal] as CheckedEvent;
      if (version === count + i + 1 || Number.isNaN(count)) continue;
      this.found(`${name} has version ${version} at position ${position}, not ${count + i + 1}`);
    }
  }

  private async checkIds(events: readonly CheckedEvent[]): Promise<void> {
    // Ids that the first builds made are in the index as well, once the store was upgraded.
    const chosen = events.filter(
      ({ idFromClient, id, position }) => idFromClient || positionInId(id) !== position,
    );
    if (chosen.length === 0) return;
    const keys = chosen.map(({ id }) => idKey(id, 0));
    const values = await this.kv.getMany(keys);
    for (const [i, { id, position, idFromClient }] of chosen.entries()) {
      const value = values[i];
      const body = value && unseal(keys[i] as Uint8Array, value);
      const isThere = body !== undefined && readUint64(body, 0) === position;
      if (isThere || idFromClient) this.totals.ids++;
      if (isThere || !idFromClient) continue;
      const key = keys[i] as Uint8Array;
      const finding = `the index does not lead from id ${id} to position ${position}`;
      this.found(finding, { first: key, last: key });
    }
  }

  private opened(key: Uint8Array, value: Uint8Array): Posting | undefined {
    try {
      return openPosting(key, value);
    } catch (error) {
      if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
      this.found(`${error.message} (positions up to ${readUint64(key, 9)})`);
      return undefined;
    }
  }

  private remember(name: string, known: Known): void {
    this.known.delete(name);
    this.known.set(name, known);
    if (this.known.size <= rememberedMax) return;
    for (const oldest of this.known.keys()) {
      this.known.delete(oldest);
      return;
    }
  }
}

function isPosting(
  posting: Posting,
  chunk: Chunk,
  before: number,
  ordinals: readonly number[],
  frames: readonly Uint8Array[],
): boolean {
  return (
    posting.chunkFirst === chunk.first &&
    (posting.before === before || Number.isNaN(before)) &&
    posting.ordinals.length === ordinals.length &&
    posting.ordinals.every((ordinal, i) => ordinal === ordinals[i]) &&
    (posting.records.length === 0 || holds(posting.records, frames))
  );
}

/**
 * Whether a posting has the records it should have. Long records are in the chunk only. Space may
 * be reclaimed between reading the chunk and reading the posting; then one of the two has removed
 * records.
 */
function holds(records: Uint8Array, frames: readonly Uint8Array[]): boolean {
  if (Buffer.compare(records, Buffer.concat(frames)) === 0) return true;
  const kept = framesIn(records);
  return kept.length === frames.length && frames.every((frame, i) => isSame(frame, kept[i]));
}

function isSame(frame: Uint8Array, kept: Uint8Array | undefined): boolean {
  if (kept === undefined || Buffer.compare(frame, kept) === 0) return kept !== undefined;
  const [record, keptRecord] = [recordOf(frame), recordOf(kept)];
  return isRemovedRecord(record) && isDeepStrictEqual(scanRecord(record), scanRecord(keptRecord));
}

function occurrencesIn(events: readonly CheckedEvent[]): Map<string, Occurrence> {
  const occurrences = new Map<string, Occurrence>();
  for (const [ordinal, { frame, stream, position }] of events.entries()) {
    const { type, tags } = scanRecord(recordOf(frame));
    const add = (kind: TermKind, term: string, place: number): void => {
      const name = nameOf(kind, term);
      const known = occurrences.get(name);
      if (known) {
        known.ordinals.push(ordinal);
        return;
      }
      occurrences.set(name, {
        key: termKey(kind, term),
        name,
        ordinals: [ordinal],
        born: termNumber(position, place),
        isStream: kind === TermKind.stream,
      });
    };
    if (stream !== "") {
      add(TermKind.stream, stream, 0);
      add(TermKind.category, categoryOf(stream), 1);
    }
    add(TermKind.type, type, 2);
    for (const [i, tag] of tags.entries()) add(TermKind.tag, tag, 3 + i);
  }
  return occurrences;
}

function nameOf(kind: TermKind, term: string): string {
  return `${kindNames[kind]} ${JSON.stringify(term)}`;
}

const kindNames = { 1: "stream", 2: "category", 3: "type", 4: "tag" } as const;
