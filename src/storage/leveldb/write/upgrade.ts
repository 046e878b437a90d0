// What a store of the first builds gets once, when it is opened: an entry in the index for every id
// that the server made (ids now hold the position of their event, domain/event.ts), and a word on
// whether some of its records hold varints in more bytes than needed, which parsers of some
// languages refuse. An upgrade that was cut off begins anew: entries that are there stay.
//
//   key     'u' 0x01
//   value   0x01 where records must be composed anew on their way out, else 0x00; CRC-32 of both

import { corruption } from "../../../domain/errors.ts";
import { positionInId } from "../../../domain/event.ts";
import { isShortest, scanRecord } from "../../../domain/record.ts";
import { frameOffsets, isIdFromClient, openChunk, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkKey, idKey, upgradeKey, writeUint64, seal, unseal } from "../format/keys.ts";
import type { Kv, Operation } from "../kv/kv.ts";

const operationsMax = 2_000;
const chunksPerPage = 256;

export interface Upgraded {
  /** How many keys were written. */
  readonly written: number;
  /** Whether records must be composed anew on their way out. */
  readonly holdsIrregular: boolean;
  /** What the first commit writes beside itself, where the log is empty: it needs no upgrade. */
  readonly withFirstCommit: readonly Operation[];
}

/** Throws CORRUPTION. `head` is the last position of the log. */
export async function upgrade(kv: Kv, head: number): Promise<Upgraded> {
  const key = upgradeKey();
  const upgraded = (holdsIrregular: boolean): Operation => [
    key,
    seal(key, Buffer.from([holdsIrregular ? 1 : 0])),
  ];
  const [known] = await kv.getMany([key]);
  if (known !== undefined) {
    const body = unseal(key, known);
    if (body === undefined) throw corruption("the record of the store's upgrade fails its CRC");
    return { written: 0, holdsIrregular: body[0] === 1, withFirstCommit: [] };
  }
  if (head === 0) return { written: 0, holdsIrregular: false, withFirstCommit: [upgraded(false)] };
  let holdsIrregular = false;
  let written = 0;
  let operations: Operation[] = [];
  for await (const chunk of chunksOf(kv, head)) {
    const { ids, isRegular } = lookInto(chunk);
    if (!isRegular) holdsIrregular = true;
    const keys = [...ids.keys()].map((id) => idKey(id, 0));
    const there = keys.length > 0 ? await kv.getMany(keys) : [];
    [...ids.values()].forEach((position, i) => {
      const idEntry = keys[i] as Uint8Array;
      if (there[i] === undefined) operations.push([idEntry, seal(idEntry, uint64(position))]);
    });
    if (operations.length < operationsMax) continue;
    written += operations.length;
    await kv.write(operations);
    operations = [];
  }
  operations.push(upgraded(holdsIrregular));
  await kv.write(operations);
  return { written: written + operations.length, holdsIrregular, withFirstCommit: [] };
}

/** The ids of a chunk that cannot be found by the position in them, and whether it may go out. */
function lookInto(chunk: Chunk): { ids: Map<string, number>; isRegular: boolean } {
  const ids = new Map<string, number>();
  let isRegular = true;
  const offsets = frameOffsets(chunk);
  for (let ordinal = 0; ordinal < chunk.count; ordinal++) {
    const record = recordOf(chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]));
    if (!isShortest(record)) isRegular = false;
    if (isIdFromClient(chunk, ordinal)) continue;
    const { id, position } = scanRecord(record);
    if (positionInId(id) !== position) ids.set(id, position);
  }
  return { ids, isRegular };
}

async function* chunksOf(kv: Kv, head: number): AsyncGenerator<Chunk> {
  for (let next = 1; next <= head;) {
    const range = { first: chunkKey(next), last: chunkKey(head), limit: chunksPerPage };
    const entries = await kv.page({ ...range, fillCache: false });
    if (entries.length === 0) {
      throw corruption(`positions ${next} to ${head} are missing from the log`, { first: next });
    }
    for (const [key, value] of entries) {
      const chunk = openChunk(key, value);
      yield chunk;
      next = chunk.last + 1;
    }
  }
}

function uint64(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8);
  writeUint64(bytes, 0, value);
  return bytes;
}
