// Composes a commit: rows in arrays, statement by statement, all sent together. Large commits are
// composed in parts, so that others get the thread in between.

import { hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { invariant } from "../../domain/errors.ts";
import type { CommitEvent } from "../../domain/event.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../domain/lifecycle/lifecycle-event.ts";
import type { Commit, SideValueChange } from "../storage.ts";
import { lastLifecycle, type LogHead } from "./log-head.ts";
import { arrayLiteral } from "./pages.ts";
import { recordCrc, unframed } from "./rows.ts";
import type { Statement } from "./session.ts";

/** A statement with its values. */
export interface Order {
  readonly statement: Statement;
  readonly values: readonly unknown[];
}

export interface ComposedOrders {
  readonly orders: readonly Order[];
  /** The head after it. */
  readonly head: LogHead;
}

const addEvents = {
  name: "add-events",
  text: `WITH added AS (
      INSERT INTO event
        (position, stream, version, id, id_from_client, type, tags, recorded_at, record, crc)
      SELECT $1::bigint + e.n, nullif(e.stream, ''), nullif(e.version, 0), e.id, e.chosen, e.type,
        e.tags::text[], $2::bigint, e.record, e.crc
      FROM unnest($3::text[], $4::bigint[], $5::uuid[], $6::boolean[], $7::text[], $8::text[],
        $9::bytea[], $10::bigint[]) WITH ORDINALITY
        AS e(stream, version, id, chosen, type, tags, record, crc, n)
      RETURNING tags, position
    ) INSERT INTO tag SELECT DISTINCT unnest(tags), position FROM added`,
};

const setStreams = {
  name: "set-streams",
  text: `INSERT INTO stream (name, version, first_position, last_position)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (name) DO UPDATE
    SET version = excluded.version, last_position = excluded.last_position`,
};

const countTypes = {
  name: "count-types",
  text: `INSERT INTO type (name, count, first_position, last_position)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (name) DO UPDATE
    SET count = type.count + excluded.count, last_position = excluded.last_position`,
};

const addBatches = {
  name: "add-batches",
  text: `INSERT INTO batch (last, first, chain)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])`,
};

const setSideValues = {
  name: "set-side-values",
  text: `INSERT INTO side_value (space, name, value, crc)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[])
    ON CONFLICT (space, name) DO UPDATE SET value = excluded.value, crc = excluded.crc`,
};

const deleteSideValues = {
  name: "delete-side-values",
  text: `DELETE FROM side_value s USING unnest($1::text[], $2::text[]) d(space, name)
    WHERE s.space = d.space AND s.name = d.name`,
};

const setHead = {
  name: "set-head",
  text: `UPDATE head SET position = $1, recorded_at = $2, chain = $3, sides = $4, lifecycle = $5`,
};

const eventsPerStatement = 1_000;
/** A link of the hash chain is of at most so many events, and of about so many bytes. */
const batchEventsMax = 1_000;
const batchBytesMax = 256 * 1_024;

/** The hash before the first event. */
export const noChain = new Uint8Array(32);

export async function composeOrders(commit: Commit, before: LogHead): Promise<ComposedOrders> {
  const { events, recordedAt, sideValues = [] } = commit;
  const orders: Order[] = [];
  const records: Uint8Array[] = [];
  for (let at = 0; at < events.length; at += eventsPerStatement) {
    if (at > 0) await setImmediate();
    const some = events.slice(at, at + eventsPerStatement);
    const own = some.map(({ frame }) => unframed(frame));
    records.push(...own);
    orders.push(eventsOrder(some, own, recordedAt));
  }
  assertLifecycles(events, records);
  const links = linksOf(events, records, before.chain);
  if (events.length > 0) orders.push(...countOrders(events), batchOrder(links));
  orders.push(...sideOrders(sideValues));
  const head: LogHead = {
    position: before.position + events.length,
    recordedAt: events.length > 0 ? recordedAt : before.recordedAt,
    chain: links.at(-1)?.chain ?? before.chain,
    sides: before.sides + (sideValues.length > 0 ? 1 : 0),
    lifecycle: Math.max(before.lifecycle, lastLifecycle(events)),
  };
  orders.push(headOrder(head));
  return { orders, head };
}

function headOrder({ position, recordedAt, chain, sides, lifecycle }: LogHead): Order {
  const values = [position, recordedAt, Buffer.from(chain), sides, lifecycle];
  return { statement: setHead, values };
}

function eventsOrder(
  events: readonly CommitEvent[],
  records: readonly Uint8Array[],
  recordedAt: number,
): Order {
  const before = (events[0]?.position ?? 1) - 1;
  const values = [
    before,
    recordedAt,
    events.map(({ stream }) => stream),
    events.map(({ version }) => version),
    events.map(({ id }) => id),
    events.map(({ idFromClient }) => idFromClient),
    events.map(({ type }) => type),
    events.map(({ tags }) => arrayLiteral(tags)),
    byteArrays(records),
    records.map((record, i) => recordCrc(before + 1 + i, record)),
  ];
  return { statement: addEvents, values };
}

/** A list of byte strings in PostgreSQL's binary form, half as long as its text. */
export function byteArrays(list: readonly Uint8Array[]): Buffer {
  const bytes = list.reduce((sum, { length }) => sum + 4 + length, 20);
  const array = Buffer.alloc(bytes);
  // Dimensions, no NULLs, the type bytea, the length, the first index.
  [list.length === 0 ? 0 : 1, 0, 17, list.length, 1].forEach((word, i) => {
    array.writeInt32BE(word, 4 * i);
  });
  let offset = 20;
  for (const each of list) {
    array.writeInt32BE(each.length, offset);
    array.set(each, offset + 4);
    offset += 4 + each.length;
  }
  return list.length === 0 ? array.subarray(0, 12) : array;
}

interface Counted {
  count: number;
  readonly first: number;
  last: number;
  version: number;
}

function countOrders(events: readonly CommitEvent[]): Order[] {
  const streams = new Map<string, Counted>();
  const types = new Map<string, Counted>();
  for (const { stream, type, position, version } of events) {
    if (stream !== "") count(streams, stream, position, version);
    count(types, type, position, 0);
  }
  const of = (counted: ReadonlyMap<string, Counted>, numberOf: (each: Counted) => number) => {
    const all = [...counted.values()];
    return [
      [...counted.keys()],
      all.map(numberOf),
      all.map(({ first }) => first),
      all.map(({ last }) => last),
    ];
  };
  return [
    { statement: setStreams, values: of(streams, ({ version }) => version) },
    { statement: countTypes, values: of(types, (each) => each.count) },
  ];
}

function count(into: Map<string, Counted>, name: string, position: number, version: number): void {
  const counted = into.get(name);
  if (counted === undefined) {
    into.set(name, { count: 1, first: position, last: position, version });
    return;
  }
  counted.count++;
  counted.last = position;
  counted.version = version;
}

interface Link {
  readonly first: number;
  readonly last: number;
  readonly chain: Uint8Array;
}

function linksOf(
  events: readonly CommitEvent[],
  records: readonly Uint8Array[],
  before: Uint8Array,
): Link[] {
  const links: Link[] = [];
  let chain = before;
  let digests: Uint8Array[] = [];
  let bytes = 0;
  for (const [i, record] of records.entries()) {
    digests.push(digestOf(record));
    bytes += record.length;
    const isFull = digests.length >= batchEventsMax || bytes >= batchBytesMax;
    if (!isFull && i < records.length - 1) continue;
    const last = (events[i] as CommitEvent).position;
    chain = nextChain(chain, digests);
    links.push({ first: last - digests.length + 1, last, chain });
    digests = [];
    bytes = 0;
  }
  return links;
}

export function digestOf(record: Uint8Array): Uint8Array {
  return hash("sha256", record, "buffer");
}

export function nextChain(chain: Uint8Array, digests: readonly Uint8Array[]): Uint8Array {
  return hash("sha256", Buffer.concat([chain, ...digests]), "buffer");
}

function batchOrder(links: readonly Link[]): Order {
  const [lasts, firsts] = [links.map(({ last }) => last), links.map(({ first }) => first)];
  const values = [lasts, firsts, byteArrays(links.map(({ chain }) => chain))];
  return { statement: addBatches, values };
}

function sideOrders(changes: readonly SideValueChange[]): Order[] {
  const names = new Set(changes.map(({ space, name }) => `${space} ${name}`));
  invariant(names.size === changes.length, "a commit changes a side value once");
  const areNamed = changes.every(({ name }) => name !== "" && !name.includes("\0"));
  invariant(areNamed, "a side value has a name without U+0000");
  const set = changes.filter(({ value }) => value !== undefined);
  const deleted = changes.filter(({ value }) => value === undefined);
  const orders: Order[] = [];
  if (set.length > 0) {
    const values = set.map(({ value }) => value ?? noChain);
    const crcs = set.map(({ space, name }, i) => sideCrc(space, name, values[i] ?? noChain));
    const statement = setSideValues;
    orders.push({ statement, values: [...namesOf(set), byteArrays(values), crcs] });
  }
  if (deleted.length > 0) orders.push({ statement: deleteSideValues, values: namesOf(deleted) });
  return orders;
}

function namesOf(changes: readonly SideValueChange[]): string[][] {
  return [changes.map(({ space }) => space), changes.map(({ name }) => name)];
}

export function sideCrc(space: string, name: string, value: Uint8Array): number {
  return crc32(value, crc32(`${space}\0${name}\0`));
}

/** Throws if a lifecycle cannot be read, because it must not be stored. */
function assertLifecycles(events: readonly CommitEvent[], records: readonly Uint8Array[]): void {
  for (const [i, event] of events.entries()) {
    const kept = streamKeptIn(event.stream);
    if (kept === undefined) continue;
    const { stream } = lifecycleRecordOf(records[i] as Uint8Array);
    invariant(stream === kept, "a lifecycle event is in its own stream");
  }
}
