// Pages of a read: the SQL for its kinds of selections. A page is some events in the order of the
// read, and the position through which there are no others. The work for a page is bounded:
//
//   all      the next events of the log, which are dense
//   stream   the next versions of the stream, which are dense
//   query    each item is looked up by one of its parts: its streams, its rarest tag, any of its
//            tags, its categories or its types. The next positions of all of these are merged and
//            cut (the window); then their events are read, and the domain says which of them match.
//            Where an item has nothing to look up, the page is one of all events.
//
// Every page says where the head was in the same snapshot: a database that is behind it cannot
// answer.

import { categoryOf } from "../../../domain/event.ts";
import { corruption } from "../../../domain/errors.ts";
import { scanPlacement } from "../../../domain/record.ts";
import { possibleStreams, selects, type QueryItem, type Selection } from "../../../domain/query.ts";
import type { Range } from "../../storage.ts";
import { logColumns, logEventIn, type LogEvent } from "../tables/log-event.ts";
import { displaced, type EventRow } from "../tables/rows.ts";
import { arrayLiteral } from "../tables/binary-arrays.ts";
import type { RowReader } from "../sessions/row-reader.ts";
import { behind, type Asker, type Statement } from "../sessions/session.ts";

export interface PageRequest {
  readonly selection: Selection;
  readonly isForwards: boolean;
  /** `first` is at least 1. */
  readonly positions: Range;
  /** Only for a stream. */
  readonly versions?: Range | undefined;
  readonly eventsMax: number;
  /** The page ends with the event that exceeds this. */
  readonly bytesMax: number;
  /** How many positions are looked up for a query. */
  readonly window: number;
  /** True: up to wherever the head is. */
  readonly isOpen?: boolean;
}

export interface EventPage {
  /** Those that match, in the order of the read. */
  readonly events: readonly EventRow[];
  /** There are no others up to here, inclusive. */
  readonly through: number;
}

const versionMax = Number.MAX_SAFE_INTEGER;

/** The events of a page, and no more of their bytes than may be. */
function cut(from: string, isForwards: boolean, by = "position"): string {
  const order = `ORDER BY e.${by} ${isForwards ? "ASC" : "DESC"}`;
  return `LEFT JOIN LATERAL (
    SELECT * FROM (
      SELECT e.*, sum(octet_length(e.record)) OVER (${order}) - octet_length(e.record) AS before
      FROM (SELECT * FROM event e WHERE ${from} ${order} LIMIT $3) e
    ) e WHERE before < $4
  ) e ON true ${order}`;
}

function directed(name: string, textOf: (isForwards: boolean) => string): Directed {
  return {
    forwards: { name: `${name}-forwards`, text: textOf(true) },
    backwards: { name: `${name}-backwards`, text: textOf(false) },
  };
}

interface Directed {
  readonly forwards: Statement;
  readonly backwards: Statement;
}

const ofAll = directed(
  "all",
  (isForwards) => `SELECT h.position, ${logColumns} FROM head h
    ${cut("e.position BETWEEN $1 AND $2", isForwards)}`,
);

/**
 * Of a stream of which the positions leave nothing out: from a version on, or back from one. The
 * numbers before each event say what the stream has.
 */
const ofStream = directed("stream", (isForwards) => {
  const [low, high] = isForwards
    ? ["$2", "least($3, $2 + $4 - 1)"]
    : ["greatest($2, least($3, s.version) - $4 + 1)", "$3"];
  const order = `ORDER BY e.version ${isForwards ? "ASC" : "DESC"}`;
  return `SELECT * FROM (
    SELECT s.version AS has, s.last_position AS until, ${logColumns}, e.version AS at,
      sum(octet_length(e.record)) OVER (${order} ROWS UNBOUNDED PRECEDING)
        - octet_length(e.record) AS before
    FROM stream s LEFT JOIN event e ON e.stream = s.name AND e.version BETWEEN ${low} AND ${high}
    WHERE s.name = $1
  ) e WHERE before IS NULL OR before < $5 ORDER BY at ${isForwards ? "ASC" : "DESC"}`;
});

/**
 * Of a stream of which the positions leave something out: its versions are looked for. OFFSET 0
 * keeps the bounds from being computed for each row.
 */
const betweenOfStream = directed(
  "stream-between",
  (isForwards) => `SELECT h.position, b.low, b.high, ${logColumns} FROM head h
    CROSS JOIN LATERAL (SELECT greatest(version_at($5, $1 - 1) + 1, $6) AS low,
      least(version_at($5, $2), $7) AS high OFFSET 0) b
    ${cut("e.stream = $5 AND e.version BETWEEN b.low AND b.high", isForwards, "version")}`,
);

/** Tags of an item are looked up by the one that seems to be the rarest in the range. */
const rarest = `SELECT CASE WHEN cardinality(i.tags) = 1 THEN i.tags[1] ELSE (
    SELECT t.tag FROM unnest(i.tags) t(tag) ORDER BY (
      SELECT count(*) FROM (
        SELECT FROM tag c WHERE c.tag = t.tag AND c.position BETWEEN $1 AND $2 LIMIT 256
      ) c
    ) LIMIT 1
  ) END AS name FROM (SELECT l.tags::text[] AS tags FROM unnest($7::text[]) l(tags)) i`;

/** Whether an event `x` is in the category of a name `n`. */
export const inCategory = "x.stream IS NOT NULL AND split_part(x.stream, '-', 1) = n.name";

const ofQuery = directed("query", (isForwards) => {
  const order = isForwards ? "ASC" : "DESC";
  const some = (names: string, from: string, by = "position"): string =>
    `(SELECT c.position FROM ${names} n CROSS JOIN LATERAL (
      SELECT x.position FROM ${from} ORDER BY x.${by} ${order} LIMIT $5
    ) c)`;
  const range = "x.position BETWEEN $1 AND $2";
  const streams = `(SELECT s.name, version_at(s.name, $1 - 1) AS low,
    version_at(s.name, $2) AS high FROM unnest($6::text[]) s(name) OFFSET 0)`;
  const parts = [
    some(
      streams,
      "event x WHERE x.stream = n.name AND x.version > n.low AND x.version <= n.high",
      "version",
    ),
    some(`(${rarest})`, `tag x WHERE x.tag = n.name AND ${range}`),
    some("(SELECT unnest($8::text[]) AS name)", `event x WHERE ${inCategory} AND ${range}`),
    some("(SELECT unnest($9::text[]) AS name)", `event x WHERE x.type = n.name AND ${range}`),
  ];
  const end = isForwards ? ["max", "$2"] : ["min", "$1"];
  return `SELECT h.position, w.through, ${logColumns} FROM head h
    CROSS JOIN LATERAL (
      SELECT CASE WHEN count(*) < $5 THEN ${end[1]}::bigint ELSE ${end[0]}(c.position) END
        AS through, array_agg(c.position) AS positions
      FROM (
        SELECT c.position FROM (${parts.join(" UNION ")}) c ORDER BY c.position ${order} LIMIT $5
      ) c OFFSET 0
    ) w
    ${cut("e.position = ANY (w.positions)", isForwards)}`;
});

/** By what the events of a query are looked up. */
interface LookUp {
  readonly streams: Set<string>;
  /** Lists of tags, of which an event has all. */
  readonly tags: (readonly string[])[];
  readonly categories: Set<string>;
  readonly types: Set<string>;
}

/** Undefined: some item has nothing to look up. */
export function lookUpOf(items: readonly QueryItem[]): LookUp | undefined {
  const by: LookUp = { streams: new Set(), tags: [], categories: new Set(), types: new Set() };
  if (items.length === 0) return undefined;
  for (const item of items) {
    const { streams, streamPrefixes, types, tags, tagsAny } = item;
    if (streams.length > 0) possibleStreams(item).forEach((each) => by.streams.add(each));
    else if (tags.length > 0) by.tags.push(tags);
    else if (tagsAny.length > 0) by.tags.push(...tagsAny.map((tag) => [tag]));
    else if (areOfCategories(streamPrefixes)) {
      streamPrefixes.forEach((each) => by.categories.add(categoryOf(each)));
    } else if (types.length > 0) types.forEach((each) => by.types.add(each));
    else return undefined;
  }
  return by;
}

/** Whether each prefix is of the streams of one category. */
function areOfCategories(prefixes: readonly string[]): boolean {
  return prefixes.length > 0 && prefixes.every((prefix) => prefix.includes("-"));
}

/** Reads one page. Throws CORRUPTION, and RECOVERING if the database is behind `last`. */
export async function readPage(database: Asker, request: PageRequest): Promise<EventPage> {
  const { selection } = request;
  const by = selection.kind === "query" ? lookUpOf(selection.query.items) : undefined;
  if (by !== undefined) return queryPage(database, request, by);
  return selection.kind === "stream"
    ? streamPage(database, request, selection.stream)
    : allPage(database, request);
}

async function allPage(database: Asker, request: PageRequest): Promise<EventPage> {
  const { positions, isForwards, isOpen } = request;
  const { first } = positions;
  const values = [first, positions.last, request.eventsMax, request.bytesMax];
  const { head, events } = await asked(database, ofAll, request, values, 0);
  const last = isOpen === true ? Math.min(positions.last, head) : positions.last;
  if (last < first) return { events: [], through: first };
  const begin = isForwards ? first : last;
  events.forEach(({ position }, i) => {
    const expected = isForwards ? begin + i : begin - i;
    if (position !== expected) throw missing(expected);
  });
  const through = throughOf(events, request, isForwards ? last : first);
  const expected = Math.abs(through - begin) + 1;
  if (events.length !== expected) throw missing(isForwards ? begin + events.length : through);
  return { events: selected(events, request), through };
}

async function streamPage(
  database: Asker,
  request: PageRequest,
  stream: string,
): Promise<EventPage> {
  const { positions } = request;
  const found = positions.first > 1 ? undefined : await wholeStream(database, request, stream);
  const { events, low, high } = found ?? (await partOfStream(database, request, stream));
  const { isForwards } = request;
  const begin = isForwards ? low : high;
  events.forEach(({ position, record }, i) => {
    const placed = scanPlacement(record);
    if (placed.version !== (isForwards ? begin + i : begin - i)) throw missing(0, stream);
    if (placed.position !== position) throw displaced(position);
  });
  const end = isForwards ? positions.last : positions.first;
  const through = throughOf(events, request, end);
  const isWhole = through === end && events.at(-1)?.position !== end;
  if (isWhole && events.length !== Math.max(0, high - low + 1)) throw missing(0, stream);
  return { events: selected(events, request), through };
}

/** Events of a stream, and between which versions they are to be. */
interface StreamPart {
  readonly events: readonly LogEvent[];
  readonly low: number;
  readonly high: number;
}

function versionsOf({ versions }: PageRequest): Range {
  return { first: Math.max(versions?.first ?? 1, 1), last: versions?.last ?? versionMax };
}

/** Undefined: the stream has events behind the last position, and the page is backwards. */
async function wholeStream(
  database: Asker,
  request: PageRequest,
  stream: string,
): Promise<StreamPart | undefined> {
  const { isForwards, eventsMax, bytesMax } = request;
  const { last } = request.positions;
  const { first: low, last: highest } = versionsOf(request);
  const events: LogEvent[] = [];
  let [has, until] = [0, 0];
  const take = (row: RowReader): void => {
    [has, until] = [row.number(), row.number()];
    const event = logEventIn(row);
    if (event !== undefined) events.push(event);
  };
  const values = [stream, low, highest, eventsMax, bytesMax];
  await database.eachRowUpTo(last, inDirection(ofStream, request), values, take);
  if (until <= last) return { events, low, high: Math.min(highest, has) };
  if (!isForwards) return undefined;
  const beyond = events.findIndex(({ position }) => position > last);
  if (beyond < 0) return { events, low, high: Math.min(highest, has) };
  return { events: events.slice(0, beyond), low, high: low + beyond - 1 };
}

async function partOfStream(
  database: Asker,
  request: PageRequest,
  stream: string,
): Promise<StreamPart> {
  const { first, last } = request.positions;
  const versions = versionsOf(request);
  const limits = [first, last, request.eventsMax, request.bytesMax];
  const values = [...limits, stream, versions.first, versions.last];
  const { events, before } = await asked(database, betweenOfStream, request, values, 2);
  const [low = 0, high = 0] = before;
  return { events, low, high };
}

async function queryPage(
  database: Asker,
  request: PageRequest,
  { streams, tags, categories, types }: LookUp,
): Promise<EventPage> {
  const { first, last } = request.positions;
  const limits = [first, last, request.eventsMax, request.bytesMax, request.window];
  const names = [[...streams], tags.map(arrayLiteral), [...categories], [...types]];
  const { events, before } = await asked(database, ofQuery, request, [...limits, ...names], 1);
  const [window = 0] = before;
  return { events: selected(events, request), through: throughOf(events, request, window) };
}

interface Answer {
  readonly head: number;
  /** What stands before the events. */
  readonly before: readonly number[];
  readonly events: readonly LogEvent[];
}

/** `beforeCount`: how many numbers stand in each row between the head and the event. */
async function asked(
  database: Asker,
  statements: Directed,
  request: PageRequest,
  values: readonly unknown[],
  beforeCount: number,
): Promise<Answer> {
  let head = -1;
  const before: number[] = [];
  const events: LogEvent[] = [];
  await database.eachRow(inDirection(statements, request), values, (row) => {
    head = row.number();
    for (let i = 0; i < beforeCount; i++) before[i] = row.number();
    const event = logEventIn(row);
    if (event !== undefined) events.push(event);
  });
  const { isOpen, positions } = request;
  if (head < 0) throw corruption("the head of the log is missing");
  if (isOpen !== true && head < positions.last) throw behind(head, positions.last);
  return { head, before, events };
}

function inDirection({ forwards, backwards }: Directed, { isForwards }: PageRequest): Statement {
  return isForwards ? forwards : backwards;
}

/** A page that was cut ends with its last event. */
function throughOf(
  events: readonly EventRow[],
  { eventsMax, bytesMax }: PageRequest,
  end: number,
): number {
  const bytes = events.reduce((sum, { record }) => sum + record.length, 0);
  const isCut = events.length >= eventsMax || bytes >= bytesMax;
  return isCut ? (events.at(-1)?.position ?? end) : end;
}

/** A stream and the whole log leave out events of the system alone. */
function selected(events: readonly LogEvent[], { selection }: PageRequest): readonly LogEvent[] {
  const isQuery = selection.kind === "query";
  return events.filter((each) => (!isQuery && !each.isOfSystem) || selects(selection, each));
}

function missing(position: number, stream = ""): Error {
  const what = stream === "" ? "an event is missing" : "a version of a stream is missing";
  return corruption(what, { first: position, stream });
}
