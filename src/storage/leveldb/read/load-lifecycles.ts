// Where the book comes from: the last event of every lifecycle stream. All of them when the store
// opens; one of them, as of an older head, for a read that began there.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import {
  lifecycleRecordOf,
  lifecycleStream,
  streamKeptIn,
} from "../../../domain/lifecycle/lifecycle-event.ts";
import {
  StreamLifecycles,
  type LifecycleEntry,
  type DamagedEntry,
} from "../state/stream-lifecycles.ts";
import { frameOffsets, openChunk, recordOf } from "../format/chunk.ts";
import {
  bornAt,
  chunkKey,
  postingKey,
  TermKind,
  termKey,
  type TermNumber,
} from "../format/keys.ts";
import type { Kv } from "../kv/kv.ts";
import { namesWithPrefix } from "./names.ts";
import { framesIn, lastPosition, openPosting, type Posting } from "../format/posting.ts";
import { loadHead, openTermNumber } from "../state/terms.ts";

const namesAtOnceMax = 1_000;
const readsAtOnceMax = 64;

/** The book as of `head`. What cannot be read of one stream is that stream's damage alone. */
export async function loadLifecycles(kv: Kv, head: number): Promise<StreamLifecycles> {
  const lifecycles = new StreamLifecycles();
  let after = "";
  for (;;) {
    const page = { prefix: lifecycleStream(""), after, limit: namesAtOnceMax };
    const names = await namesWithPrefix({ kv }, TermKind.stream, page, head);
    for (let at = 0; at < names.length; at += readsAtOnceMax) {
      await Promise.all(
        names.slice(at, at + readsAtOnceMax).map(async (name) => {
          const stream = streamKeptIn(name) as string;
          const entry = await entryOrDamage(kv, stream, head);
          if (entry !== undefined) lifecycles.set(stream, entry);
        }),
      );
    }
    if (names.length < namesAtOnceMax) return lifecycles;
    after = names.at(-1) as string;
  }
}

async function entryOrDamage(
  kv: Kv,
  stream: string,
  head: number,
): Promise<LifecycleEntry | DamagedEntry | undefined> {
  try {
    return await entryAsOf(kv, stream, head);
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    return { fault: error };
  }
}

/** The entry that the events up to a head make; undefined: the stream had no lifecycle then. */
export async function entryAsOf(
  kv: Kv,
  stream: string,
  asOf: number,
): Promise<LifecycleEntry | undefined> {
  const number = await numberOf(kv, lifecycleStream(stream));
  const newest = number === 0 ? undefined : await newestPosting(kv, number, asOf);
  if (newest === undefined) return undefined;
  const { lifecycle } = lifecycleRecordOf(await lastRecord(kv, newest));
  const position = lastPosition(newest);
  if (lifecycle.policy.maxCount === undefined) {
    return { lifecycle, position, version: 0, since: position };
  }
  const streamNumber = await numberOf(kv, stream);
  const version = streamNumber === 0 ? 0 : (await loadHead(kv, streamNumber, asOf)).count;
  return { lifecycle, position, version, since: asOf };
}

/** The number of a stream's term; 0: it never got an event. */
export async function numberOf(kv: Kv, stream: string): Promise<TermNumber> {
  const key = termKey(TermKind.stream, stream);
  const [value] = await kv.getMany([key]);
  return value === undefined ? 0 : openTermNumber(key, value);
}

async function newestPosting(
  kv: Kv,
  number: TermNumber,
  asOf: number,
): Promise<Posting | undefined> {
  const [entry] = await kv.page({
    first: postingKey(number, 0),
    last: postingKey(number, asOf),
    reverse: true,
    limit: 1,
  });
  if (entry !== undefined) return openPosting(entry[0], entry[1]);
  const first = bornAt(number);
  if (first > asOf) return undefined;
  throw corruption("the index entries of a lifecycle are missing", { first });
}

/** The record of the posting's last event; a long one is in the chunk alone. */
async function lastRecord(kv: Kv, posting: Posting): Promise<Uint8Array> {
  const frame = framesIn(posting.records).at(-1);
  if (frame !== undefined) return recordOf(frame);
  const key = chunkKey(posting.chunkLast);
  const [value] = await kv.getMany([key]);
  if (value === undefined) {
    throw corruption("a chunk is missing", { first: posting.chunkFirst, last: posting.chunkLast });
  }
  const chunk = openChunk(key, value);
  const ordinal = lastPosition(posting) - chunk.first;
  const offsets = frameOffsets(chunk);
  return recordOf(chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]));
}
