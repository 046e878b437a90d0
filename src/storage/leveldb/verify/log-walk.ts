// Walks the log and reports its faults. Every chunk is checked by itself and against the previous
// one: position, time and hash chain. Unlike a read, the walk does not end at a fault but reports
// it and continues. The audit, the scrubber, `annals verify` and backups use it.

import { AnnalsError } from "../../../domain/errors.ts";
import { firstHash, hashOf, openChunk, previousHashOf, type Chunk } from "../format/chunk.ts";
import { chunkKey, readUint64 } from "../format/keys.ts";
import type { Entry, ReadableKv } from "../kv/kv.ts";

const pageBytes = 1024 * 1024;
const chunksPerPageMax = 1_000;

export interface LogWalk {
  /** The walk begins with the chunk that contains this position. */
  readonly first: number;
  /** The last position that must exist. A chunk ends there. */
  readonly last: number;
  /** The chunk that ends before `first`, if known. The first chunk must continue it. */
  readonly previous?: Chunk | undefined;
  readonly found: (finding: string) => void;
}

/** The valid chunks of the range, in order. */
export async function* walkLog(kv: ReadableKv, walk: LogWalk): AsyncGenerator<Chunk> {
  const { last, found } = walk;
  let { previous } = walk;
  let next = walk.first;
  let inside = previous === undefined;
  while (next <= last) {
    const entries = await kv.page({
      first: chunkKey(next),
      last: chunkKey(last),
      limit: chunksPerPageMax,
      bytesMax: pageBytes,
      fillCache: false,
    });
    if (entries.length === 0) break;
    for (const entry of entries) {
      const chunk = opened(entry, next, found);
      const end = readUint64(entry[0], 1);
      const faults = chunk ? faultsOf(chunk, previous, next, inside) : [];
      for (const fault of faults) found(fault);
      inside = false;
      previous = chunk;
      next = end + 1;
      if (chunk) yield chunk;
    }
  }
  if (next <= last) found(`positions ${next} to ${last} are missing`);
}

/** The position up to which the log has no fault. 0: it begins with one, or is empty. */
export async function wholeThrough(kv: ReadableKv): Promise<number> {
  let whole = 0;
  let faulty = false;
  const found = (): void => void (faulty = true);
  for await (const chunk of walkLog(kv, { first: 1, last: Number.MAX_SAFE_INTEGER, found })) {
    if (faulty) break;
    whole = chunk.last;
  }
  return whole;
}

function opened(
  [key, value]: Entry,
  next: number,
  found: (finding: string) => void,
): Chunk | undefined {
  try {
    return openChunk(key, value);
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    found(`positions ${next} to ${readUint64(key, 1)} cannot be read: ${error.message}`);
    return undefined;
  }
}

/** `inside`: the walk may begin in the middle of the chunk. */
function* faultsOf(
  chunk: Chunk,
  previous: Chunk | undefined,
  next: number,
  inside: boolean,
): Generator<string> {
  if (chunk.first > next) yield `positions ${next} to ${chunk.first - 1} are missing`;
  if (chunk.first < next && !inside) {
    yield `positions ${chunk.first} to ${next - 1} are there twice`;
  }
  const joint = previous?.last === chunk.first - 1 ? previous : undefined;
  const before = chunk.first === 1 ? firstHash : joint && hashOf(joint);
  if (before && Buffer.compare(previousHashOf(chunk), before) !== 0) {
    yield `the hash chain breaks at position ${chunk.first}`;
  }
  if (joint && chunk.recordedAt < joint.recordedAt) {
    yield `time runs backwards at position ${chunk.first}`;
  }
}
