// Puts removed records in the place of events whose space is reclaimed.

import { frameOffsets, recordOf, type Chunk } from "../../leveldb/format/chunk.ts";
import { booleanArray, byteArray, numberArray } from "../tables/binary-arrays.ts";
import { isEmptiedRecord, type Order } from "./commit.ts";
import { recordCrc } from "../tables/rows.ts";

const empty = {
  name: "empty",
  text: `UPDATE event e SET record = n.record, crc = n.crc, removed_in = n.removed_in
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[])
      n(position, record, crc, removed_in) WHERE e.position = n.position`,
};

const rewrite = {
  name: "rewrite",
  text: `UPDATE batch b SET removed_in = n.removed_in, is_emptied = n.is_emptied
    FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) n(last, removed_in, is_emptied)
    WHERE b.last = n.last`,
};

/** The rows of these chunks as the chunks are now. */
export function rewritingOrders(chunks: readonly Chunk[]): Order[] {
  if (chunks.length === 0) return [];
  const positions: number[] = [];
  const records: Uint8Array[] = [];
  const removedIns: number[] = [];
  for (const chunk of chunks) {
    const offsets = frameOffsets(chunk);
    for (let i = 0; i < chunk.count; i++) {
      const record = recordOf(chunk.records.subarray(offsets[i], offsets[i + 1]));
      if (!isEmptiedRecord(record)) continue;
      positions.push(chunk.first + i);
      records.push(record);
      removedIns.push(chunk.reclaimed?.recordedIn ?? 0);
    }
  }
  const crcs = records.map((record, i) => recordCrc(positions[i] as number, record));
  const events = [positions, removedIns].map(numberArray);
  return [
    {
      statement: empty,
      values: [events[0], byteArray(records), numberArray(crcs), events[1]],
    },
    {
      statement: rewrite,
      values: [
        numberArray(chunks.map(({ last }) => last)),
        numberArray(chunks.map(({ reclaimed }) => reclaimed?.recordedIn)),
        booleanArray(chunks.map(({ reclaimed }) => reclaimed?.isEmptied === true)),
      ],
    },
  ];
}
