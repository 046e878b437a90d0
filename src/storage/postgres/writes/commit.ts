// Composes a commit: rows in arrays, statement by statement, all sent together. Large commits are
// composed in parts, so that others get the thread in between.
//
// The log is cut into the chunks of a store in a folder (leveldb/format/chunk.ts), and the hash
// chain is of them: rows make up the same bytes as the chunk that a folder would have. A store can
// therefore be moved from one to the other and be compared by its chain.

import { setImmediate } from "node:timers/promises";
import { invariant } from "../../../domain/errors.ts";
import type { CommitEvent } from "../../../domain/event.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import {
  composeChunk,
  hashOf,
  withFrames,
  type Chunk,
  type Reclaimed,
  type TimedEvents,
} from "../../leveldb/format/chunk.ts";
import { isLostRecord, isRemovedRecord } from "../../removed-record.ts";
import type { SideValueChange } from "../../storage.ts";
import {
  arrayLiteral,
  booleanArray,
  byteArray,
  numberArray,
  textArray,
  uuidArray,
} from "../tables/binary-arrays.ts";
import { lastLifecycle, type LogHead } from "../head/log-head.ts";
import { recordCrc, sideCrc, unframed } from "../tables/rows.ts";
import type { Statement } from "../sessions/session.ts";

/** A statement with its values. */
export interface Order {
  readonly statement: Statement;
  readonly values: readonly unknown[];
}

/** Events that become one chunk. */
export interface LogDraft extends TimedEvents {
  /** Present if some of the events are removed records. */
  readonly reclaimed?: Reclaimed | undefined;
}

export interface Change {
  readonly drafts: readonly LogDraft[];
  readonly sideValues: readonly SideValueChange[];
}

export interface ComposedOrders {
  readonly orders: readonly Order[];
  readonly chunks: readonly Chunk[];
  /** The head after it. */
  readonly head: LogHead;
}

/** An array that is left out is empty: its values are NULL. */
const addEvents = {
  name: "add-events",
  text: `INSERT INTO event (position, stream, version, id, id_from_client, type, tags, record, crc,
      recorded_at, removed_in)
    SELECT $1::bigint + e.n, nullif(e.stream, ''), nullif(e.version, 0), e.id, e.chosen, e.type,
      coalesce(e.tags, '{}')::text[], e.record, e.crc, coalesce(e.recorded_at, $2::bigint),
      e.removed_in
    FROM unnest($3::text[], $4::bigint[], $5::uuid[], $6::boolean[], $7::text[], $8::text[],
      $9::bytea[], $10::bigint[], $11::bigint[], $12::bigint[]) WITH ORDINALITY
      AS e(stream, version, id, chosen, type, tags, record, crc, recorded_at, removed_in, n)`,
};

const addTags = {
  name: "add-tags",
  text: "INSERT INTO tag SELECT * FROM unnest($1::text[], $2::bigint[])",
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
  text: `INSERT INTO batch (last, first, chain, removed_in, is_emptied)
    SELECT last, first, chain, removed_in, coalesce(is_emptied, false)
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::boolean[])
      AS b(last, first, chain, removed_in, is_emptied)`,
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
const nothing = new Uint8Array();

/** What a folder would have, byte for byte. `before`: the hash of the chunk before. */
export function chunkOf({ events, recordedAt, reclaimed }: LogDraft, before: Uint8Array): Chunk {
  const chunk = composeChunk(events, recordedAt, before);
  if (reclaimed === undefined) return chunk;
  return withFrames(
    chunk,
    events.map(({ frame }) => frame),
    reclaimed,
  );
}

export async function composeOrders(
  { drafts, sideValues }: Change,
  before: LogHead,
): Promise<ComposedOrders> {
  const orders: Order[] = [];
  const chunks: Chunk[] = [];
  const chains: Uint8Array[] = [];
  let chain = before.chain;
  let waiting: LogDraft[] = [];
  let eventCount = 0;
  for (const draft of drafts) {
    const chunk = chunkOf(draft, chain);
    chain = hashOf(chunk);
    chunks.push(chunk);
    chains.push(chain);
    waiting.push(draft);
    eventCount += draft.events.length;
    if (eventCount < eventsPerStatement) continue;
    orders.push(...eventOrders(waiting));
    [waiting, eventCount] = [[], 0];
    await setImmediate();
  }
  if (waiting.length > 0) orders.push(...eventOrders(waiting));
  const events = drafts.flatMap((draft) => draft.events);
  if (events.length > 0) orders.push(...countOrders(events), batchOrder(chunks, chains));
  orders.push(...sideOrders(sideValues));
  const head: LogHead = {
    position: before.position + events.length,
    recordedAt: drafts.at(-1)?.recordedAt ?? before.recordedAt,
    chain,
    sides: before.sides + (sideValues.length > 0 ? 1 : 0),
    lifecycle: Math.max(before.lifecycle, lastLifecycle(events)),
  };
  orders.push(headOrder(head));
  return { orders, chunks, head };
}

function headOrder({ position, recordedAt, chain, sides, lifecycle }: LogHead): Order {
  const values = [position, recordedAt, Buffer.from(chain), sides, lifecycle];
  return { statement: setHead, values };
}

function eventOrders(drafts: readonly LogDraft[]): Order[] {
  const events = drafts.flatMap((draft) => draft.events);
  const records = events.map(({ frame }) => unframed(frame));
  assertLifecycles(events, records);
  const before = (events[0]?.position ?? 1) - 1;
  const recordedAt = drafts[0]?.recordedAt ?? 0;
  const isOfOneTime = drafts.every((draft) => draft.recordedAt === recordedAt);
  const isTagged = events.some(({ tags }) => tags.length > 0);
  const values = [
    before,
    recordedAt,
    textArray(events.map(({ stream }) => stream)),
    numberArray(events.map(({ version }) => version)),
    uuidArray(events.map(({ id }) => id)),
    booleanArray(events.map(({ idFromClient }) => idFromClient)),
    textArray(events.map(({ type }) => type)),
    textArray(isTagged ? events.map(({ tags }) => arrayLiteral(tags)) : []),
    byteArray(records),
    numberArray(records.map((record, i) => recordCrc(before + 1 + i, record))),
    numberArray(isOfOneTime ? [] : timesOf(drafts)),
    numberArray(drafts.some(({ reclaimed }) => reclaimed) ? removalsAmong(drafts) : []),
  ];
  const added = { statement: addEvents, values };
  return isTagged ? [added, tagOrder(events)] : [added];
}

function timesOf(drafts: readonly LogDraft[]): number[] {
  return drafts.flatMap(({ events, recordedAt }) => events.map(() => recordedAt));
}

/** For each event, the position of what says why it is gone. Undefined: it is not. */
function removalsAmong(drafts: readonly LogDraft[]): (number | undefined)[] {
  return drafts.flatMap(({ events, reclaimed }) =>
    events.map(({ frame }) => {
      const record = reclaimed === undefined ? nothing : unframed(frame);
      return isEmptiedRecord(record) ? reclaimed?.recordedIn : undefined;
    }),
  );
}

/** Whether nothing is left of an event but its header. */
export function isEmptiedRecord(record: Uint8Array): boolean {
  return isRemovedRecord(record) || isLostRecord(record);
}

function tagOrder(events: readonly CommitEvent[]): Order {
  const tags: string[] = [];
  const positions: number[] = [];
  for (const event of events) {
    for (const tag of event.tags.length > 1 ? new Set(event.tags) : event.tags) {
      tags.push(tag);
      positions.push(event.position);
    }
  }
  return { statement: addTags, values: [textArray(tags), numberArray(positions)] };
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
      textArray([...counted.keys()]),
      numberArray(all.map(numberOf)),
      numberArray(all.map(({ first }) => first)),
      numberArray(all.map(({ last }) => last)),
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

function batchOrder(chunks: readonly Chunk[], chains: readonly Uint8Array[]): Order {
  const isRewritten = chunks.some(({ reclaimed }) => reclaimed !== undefined);
  const values = [
    numberArray(chunks.map(({ last }) => last)),
    numberArray(chunks.map(({ first }) => first)),
    byteArray(chains),
    numberArray(isRewritten ? chunks.map(({ reclaimed }) => reclaimed?.recordedIn) : []),
    booleanArray(isRewritten ? chunks.map(({ reclaimed }) => reclaimed?.isEmptied === true) : []),
  ];
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
    const values = set.map(({ value }) => value ?? nothing);
    const crcs = set.map(({ space, name }, i) => sideCrc(space, name, values[i] ?? nothing));
    const statement = setSideValues;
    orders.push({ statement, values: [...namesOf(set), byteArray(values), numberArray(crcs)] });
  }
  if (deleted.length > 0) orders.push({ statement: deleteSideValues, values: namesOf(deleted) });
  return orders;
}

function namesOf(changes: readonly SideValueChange[]): Buffer[] {
  return [textArray(changes.map(({ space }) => space)), textArray(changes.map(({ name }) => name))];
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
