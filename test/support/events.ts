// Events for tests, sketched or generated. Their bodies come from the generated codec, so that
// stored bytes are compared with bytes that Annals' own codec did not write.
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import type { Append, AppendCondition, StreamExpectation } from "../../src/domain/append.ts";
import { type CommitEvent, type NewEvent, ownId } from "../../src/domain/event.ts";
import type { Query, QueryItem, Selection } from "../../src/domain/query.ts";
import { composeFrame, recordsIn } from "../../src/domain/record.ts";
import { RecordedEventSchema } from "../../src/gen/annals/v1/event_pb.js";
import type {
  Commit,
  CommitResult,
  Head,
  Batch,
  Storage,
  StorageRead,
} from "../../src/storage/storage.ts";

export interface EventSketch {
  /**
   * Absent: the next id of this file's sequence, which no other call gets; where the id is not the
   * client's, the one that the store makes. (The first builds made others before the event was
   * placed: then it is given.)
   */
  id?: string;
  /** Absent: true. */
  idFromClient?: boolean;
  /** Absent: the event has no stream. */
  stream?: string;
  type?: string;
  tags?: readonly string[];
  metadata?: Record<string, string>;
  contentType?: string;
  data?: Uint8Array | string;
}

let idsMade = 0;

/** A UUID for a number of up to 48 bits. Numbers derived from a very large seed are too large. */
export function idOf(number: number): string {
  if (number >= 2 ** 48) throw new RangeError(`no id for ${number}: a smaller seed`);
  return `0190a000-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;
}

/** The next id of this file's sequence. */
function nextId(): string {
  return idOf(++idsMade);
}

/** An event as the conversion of a request returns it. */
export function newEvent(sketch: EventSketch = {}): NewEvent {
  const { idFromClient = true } = sketch;
  const id = sketch.id ?? (idFromClient ? nextId() : "");
  const { stream = "", type = "Happened", tags = [], metadata = {}, data = "" } = sketch;
  const contentType = sketch.contentType ?? "application/octet-stream";
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const fields = { id, stream, type, tags: [...tags], metadata, contentType, data: bytes };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  return { id, stream, type, tags, idFromClient, body };
}

/** `count` events, each sketched from its number (from 0). */
export function newEvents(count: number, sketch: (i: number) => EventSketch): NewEvent[] {
  return Array.from({ length: count }, (_, i) => newEvent(sketch(i)));
}

/** An append as the conversion of a request returns it. */
export function newAppend(
  events: readonly NewEvent[],
  checks: {
    expectations?: readonly StreamExpectation[];
    conditions?: readonly AppendCondition[];
  } = {},
): Append {
  const { expectations = [], conditions = [] } = checks;
  const bytes = events.reduce((sum, event) => sum + event.body.length, 0);
  const isTimed = events.some(({ recordedAt }) => recordedAt !== undefined);
  return { events, expectations, conditions, bytes, ...(isTimed && { isTimed }) };
}

/** Places the events after `after`, given the versions of their streams there, and their times. */
export function placeEvents(
  events: readonly NewEvent[],
  after: Head,
  versions: ReadonlyMap<string, number>,
  times: number | readonly number[],
): CommitEvent[] {
  const reached = new Map(versions);
  return events.map(({ body, id, ...event }, i) => {
    const version = event.stream === "" ? 0 : (reached.get(event.stream) ?? 0) + 1;
    reached.set(event.stream, version);
    const position = after.position + 1 + i;
    const recordedAt = typeof times === "number" ? times : (times[i] as number);
    const made = id === "" ? ownId(0, position, recordedAt) : "";
    const frame = composeFrame(body, version, position, recordedAt, { ownId: made });
    return { ...event, id: id || made, version, position, frame };
  });
}

/** The commit that stores the events at the head, as the append queue would compose it. */
export async function composeCommit(
  storage: Storage,
  events: readonly NewEvent[],
  recordedAt?: number,
): Promise<Commit> {
  const streams = events.map((event) => event.stream).filter((stream) => stream !== "");
  const { head, versions } = await storage.facts({ streams, ids: [], conditions: [] });
  const time = Math.max(recordedAt ?? head.recordedAt + 1, head.recordedAt);
  return { after: head, recordedAt: time, events: placeEvents(events, head, versions, time) };
}

/** The same of events of which each has a time of its own. */
export async function composeTimed(
  storage: Storage,
  events: readonly NewEvent[],
  times: readonly number[],
): Promise<Commit> {
  const { after } = await composeCommit(storage, events);
  const streams = events.map((event) => event.stream).filter((stream) => stream !== "");
  const { versions } = await storage.facts({ streams, ids: [], conditions: [] });
  const recordedAt = times.at(-1) ?? after.recordedAt;
  return { after, recordedAt, times, events: placeEvents(events, after, versions, times) };
}

/** Commits the events. Without `recordedAt`, a microsecond after the head's time. */
export async function commitEvents(
  storage: Storage,
  events: readonly NewEvent[],
  recordedAt?: number,
): Promise<{ commit: Commit; result: CommitResult }> {
  const commit = await composeCommit(storage, events, recordedAt);
  return { commit, result: await storage.commit(commit) };
}

/** A read of the whole store, with overrides. */
export function readRequest(storage: Storage, parts: Partial<StorageRead> = {}): StorageRead {
  const positions = { first: 1, last: storage.head().position };
  const defaults = {
    selection: { kind: "all" },
    direction: "forwards",
    batchBytes: 65_536,
  } as const;
  return { ...defaults, positions, ...parts };
}

async function batchesOf(storage: Storage, parts?: Partial<StorageRead>): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of storage.read(readRequest(storage, parts))) batches.push(batch);
  return batches;
}

/** Every record of a read, in its order, whatever its batches. */
export async function recordsOf(
  storage: Storage,
  parts?: Partial<StorageRead>,
): Promise<Uint8Array[]> {
  const batches = await batchesOf(storage, parts);
  return batches.flatMap((batch) => batch.frames.flatMap((frames) => [...recordsIn(frames)]));
}

/** Text without control characters: any script, emoji, astral characters, combining marks. */
export function arbitraryText(lengthMax: number, lengthMin = 1): fc.Arbitrary<string> {
  const unit = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(..."abcABC01-_/.:|, #".split("")) },
    { weight: 1, arbitrary: fc.constantFrom("é", "ß", "漢", "\uffee", "😀", "𐀀", "\u{10fffd}") },
    { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }) },
  );
  return fc
    .string({ unit, minLength: lengthMin, maxLength: lengthMax })
    .map((text) => text.replaceAll(/\p{Cc}/gu, "_"))
    .filter((text) => !text.startsWith("$"));
}

/**
 * Names that are prefixes of one another, differ at their end, or contain something like a
 * separator.
 */
export const nastyNames = [
  "a",
  "a-",
  "a-1",
  "a-10",
  "a-1-2",
  "a/1",
  "a:1",
  "ab",
  "ab-1",
  "A",
  "-",
  "-a",
  "é-1",
  "e\u0301-1",
  "漢字-1",
  "\uffee",
  "😀",
  "😀-1",
  "𐀀",
] as const;

export const arbitraryName = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...nastyNames) },
  { weight: 1, arbitrary: arbitraryText(12) },
);
/** A small pool, so that queries match events. */
export const arbitraryType = fc.constantFrom("Opened", "Opened2", "Closed", "漢", "a-1", "$sys");
const arbitraryTag = fc.constantFrom("k:1", "k:10", "k:2", "k:", "ключ:1", "😀", "a-1");
const systemStream = fc.constantFrom("$sys", "$sys-1");

export const arbitrarySketch: fc.Arbitrary<EventSketch> = fc.record({
  stream: fc.oneof(
    { weight: 8, arbitrary: arbitraryName },
    { weight: 1, arbitrary: fc.constant("") },
    { weight: 1, arbitrary: systemStream },
  ),
  type: arbitraryType,
  tags: fc.uniqueArray(arbitraryTag, { maxLength: 4 }),
  metadata: fc.dictionary(arbitraryText(8), arbitraryText(20, 0), {
    maxKeys: 3,
    noNullPrototype: true,
  }),
  contentType: fc.constantFrom("application/json", "application/octet-stream"),
  data: fc.uint8Array({ maxLength: 200 }),
  idFromClient: fc.boolean(),
});

/** Ids come from one sequence, so that no two generated events share one. */
export const arbitraryEvent: fc.Arbitrary<NewEvent> = arbitrarySketch.map(newEvent);

const arbitraryPrefix = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom("a", "a-", "a-1", "ab", "é", "😀", "$", "$sys", "-") },
  { weight: 1, arbitrary: arbitraryName },
);

export const arbitraryQueryItem: fc.Arbitrary<QueryItem> = fc.record({
  streams: fc.array(fc.oneof(arbitraryName, systemStream), { maxLength: 3 }),
  streamPrefixes: fc.array(arbitraryPrefix, { maxLength: 2 }),
  types: fc.array(arbitraryType, { maxLength: 2 }),
  tags: fc.array(arbitraryTag, { maxLength: 2 }),
  tagsAny: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(arbitraryTag, { maxLength: 3 }) },
  ),
});

export const arbitraryQuery: fc.Arbitrary<Query> = fc.record({
  items: fc.array(arbitraryQueryItem, { maxLength: 3 }),
});

export const arbitrarySelection: fc.Arbitrary<Selection> = fc.oneof(
  fc.constant<Selection>({ kind: "all" }),
  fc.oneof(arbitraryName, systemStream).map((stream) => ({ kind: "stream" as const, stream })),
  arbitraryQuery.map((query) => ({ kind: "query" as const, query })),
);

/** Positions from the start to a little beyond `positionsMax`. */
export function arbitraryCondition(positionsMax: number): fc.Arbitrary<AppendCondition> {
  return fc.record({ query: arbitraryQuery, after: fc.nat({ max: positionsMax }) });
}
