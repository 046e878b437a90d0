// Rows of the tables `batch` and `event` as the chunks that a store in a folder would have.

import { corruption } from "../../../domain/errors.ts";
import { hashOf, firstHash, type Chunk } from "../../leveldb/format/chunk.ts";
import { chunkOf } from "./commit.ts";
import { eventColumns, eventIn, recordFrames, type EventRow } from "../tables/rows.ts";
import type { Asker, Row } from "../sessions/session.ts";

/** An event of a batch, with what only its chunk says of it. */
export interface BatchEvent extends EventRow {
  readonly idFromClient: boolean;
}

/** A row of the table `batch` with its events. */
export interface LogBatch {
  readonly first: number;
  readonly last: number;
  /** The hash of the chunk as it was first. */
  readonly chain: Uint8Array;
  /** The position of the event that says why it was rewritten. Undefined: it was not. */
  readonly removedIn: number | undefined;
  readonly isEmptied: boolean;
  /** The hash of the chunk before. */
  readonly before: Uint8Array;
  readonly events: readonly BatchEvent[];
}

const textOf = (batches: string): string =>
  `SELECT b.first, b.last, b.chain, b.removed_in, b.is_emptied, p.chain, e.id_from_client,
    ${eventColumns}
  FROM (SELECT * FROM batch b WHERE ${batches}) b LEFT JOIN batch p ON p.last = b.first - 1
    LEFT JOIN event e ON e.position BETWEEN b.first AND b.last ORDER BY b.last, e.position`;
const eventAt = 7;

const batchesFrom = {
  name: "batches-from",
  text: textOf("b.last BETWEEN $1 AND $2 ORDER BY b.last LIMIT $3"),
};

const batchesEndingAt = {
  name: "batches-ending-at",
  text: textOf("b.last = ANY ($1::bigint[])"),
};

/** The batches that end in a range of positions, at most so many. Throws CORRUPTION. */
export async function batchesBetween(
  session: Asker,
  { first, last }: { readonly first: number; readonly last: number },
  limit: number,
): Promise<LogBatch[]> {
  return batchesIn(await session.rows(batchesFrom, [first, last, limit]));
}

/** The batches that end at these positions, in order. Throws CORRUPTION. */
export async function batchesAt(session: Asker, lasts: readonly number[]): Promise<LogBatch[]> {
  return batchesIn(await session.rows(batchesEndingAt, [lasts]));
}

function batchesIn(rows: readonly Row[]): LogBatch[] {
  const batches: LogBatch[] = [];
  for (let at = 0; at < rows.length;) {
    const [first, last, chain, removedIn, isEmptied, before] = rows[at] as [
      number,
      number,
      Uint8Array,
      number | null,
      boolean,
      Uint8Array | null,
    ];
    const events: BatchEvent[] = [];
    for (; rows[at]?.[1] === last; at++) {
      const row = rows[at] as Row;
      const expected = first + events.length;
      if (row[eventAt] !== expected) throw corruption("an event is missing", { first: expected });
      events.push({ ...eventIn(row, eventAt), idFromClient: row[eventAt - 1] as boolean });
    }
    const missing = first + events.length;
    if (missing <= last) throw corruption("an event is missing", { first: missing, last });
    if (before === null && first > 1) {
      throw corruption("the hash chain is broken off", { first: first - 1 });
    }
    batches.push({
      first,
      last,
      chain,
      removedIn: removedIn ?? undefined,
      isEmptied,
      before: before ?? firstHash,
      events,
    });
  }
  return batches;
}

/** Throws CORRUPTION if the chunk was not rewritten and is not what the hash chain says. */
export function chunkOfBatch(batch: LogBatch): Chunk {
  const { first, last, chain, removedIn, isEmptied, before } = batch;
  const events = batch.events.map((event) => {
    return { ...event, frame: recordFrames([event.record]) };
  });
  const recordedAt = events[0]?.recordedAt ?? 0;
  if (events.some((event) => event.recordedAt !== recordedAt)) {
    throw corruption("events of one commit have several times", { first, last });
  }
  const reclaimed =
    removedIn === undefined ? undefined : { recordedIn: removedIn, originalHash: chain, isEmptied };
  const chunk = chunkOf({ events, recordedAt, reclaimed }, before);
  if (Buffer.compare(hashOf(chunk), chain) === 0) return chunk;
  throw corruption(`the hash chain breaks at positions ${first} to ${last}`, { first, last });
}
