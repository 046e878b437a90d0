// Reads lifecycles from the log: the last event of each lifecycle stream. All of them are read when
// the store opens; one of them if it does not fit into memory, or as of an older head.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import {
  lifecycleRecordOf,
  lifecycleStream,
  streamKeptIn,
} from "../../../domain/lifecycle/lifecycle-event.ts";
import { StreamLifecycles, type Known, type LifecycleEntry } from "../state/stream-lifecycles.ts";
import { frameOffsets, openChunk, recordOf } from "../format/chunk.ts";
import { bornAt, chunkKey, postingKey, TermKind } from "../format/keys.ts";
import { framesIn, lastPosition, openPosting, type Posting } from "../format/posting.ts";
import type { Kv } from "../kv/kv.ts";
import type { OpenStore } from "../state/open-store.ts";
import { numberOf } from "../state/terms.ts";
import { namesWithPrefix } from "./names.ts";

const namesAtOnceMax = 1_000;
const readsAtOnceMax = 64;

/**
 * The lifecycles as of `head`. If the lifecycle of one stream cannot be read, only that stream is
 * damaged.
 */
export async function loadLifecycles(
  kv: Kv,
  head: number,
  bytesMax?: number,
): Promise<StreamLifecycles> {
  const lifecycles = new StreamLifecycles(bytesMax);
  for await (const streams of streamsWithLifecycle(kv, head)) {
    for (let at = 0; at < streams.length; at += readsAtOnceMax) {
      const some = streams.slice(at, at + readsAtOnceMax);
      const entries = await Promise.all(some.map((stream) => entryOrDamage(kv, stream, head)));
      entries.forEach((entry, i) => {
        if (entry !== undefined) lifecycles.set(some[i] as string, entry);
      });
    }
  }
  return lifecycles;
}

/** The streams that have a lifecycle as of `head`, by name, in pages. */
export async function* streamsWithLifecycle(
  kv: Kv,
  head: number,
  { after = "", atOnceMax = namesAtOnceMax } = {},
): AsyncGenerator<readonly string[]> {
  const prefix = lifecycleStream("");
  for (let last = after === "" ? "" : lifecycleStream(after); ;) {
    const page = { prefix, after: last, limit: atOnceMax };
    const names = await namesWithPrefix({ kv }, TermKind.stream, page, head);
    yield names.map((name) => streamKeptIn(name) as string);
    if (names.length < atOnceMax) return;
    last = names.at(-1) as string;
  }
}

/** The entries of the given streams, as of the head. Streams without a lifecycle have none. */
export async function entriesOf(
  store: OpenStore,
  streams: readonly string[],
): Promise<Map<string, Known>> {
  const { lifecycles, kv } = store;
  const { position: head } = store.head;
  const entries = new Map<string, Known>();
  const elsewhere: string[] = [];
  for (const stream of streams) {
    const entry = lifecycles.get(stream);
    if (entry === "elsewhere") elsewhere.push(stream);
    else if (entry !== undefined) entries.set(stream, entry);
  }
  for (let at = 0; at < elsewhere.length; at += readsAtOnceMax) {
    const some = elsewhere.slice(at, at + readsAtOnceMax);
    const found = await Promise.all(some.map((stream) => entryOrDamage(kv, stream, head)));
    found.forEach((entry, i) => {
      const stream = some[i] as string;
      if (entry === undefined) return;
      entries.set(stream, entry);
      lifecycles.found(stream, entry, head);
    });
  }
  return entries;
}

/** The entry, if it can be read. Throws CORRUPTION. */
export function readable(entry: Known): LifecycleEntry {
  if ("lifecycle" in entry) return entry;
  const { failure, message } = entry.fault;
  throw new AnnalsError(failure, message, entry.fault);
}

/**
 * The entry that follows from the events up to a head. Undefined: the stream had no lifecycle then.
 */
export async function entryOrDamage(
  kv: Kv,
  stream: string,
  asOf: number,
): Promise<Known | undefined> {
  try {
    return await entryAsOf(kv, stream, asOf);
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    return { fault: error };
  }
}

async function entryAsOf(
  kv: Kv,
  stream: string,
  asOf: number,
): Promise<LifecycleEntry | undefined> {
  const number = await numberOf(kv, { kind: TermKind.stream, name: lifecycleStream(stream) });
  if (number === 0) return undefined;
  const [entry] = await kv.page({
    first: postingKey(number, 0),
    last: postingKey(number, asOf),
    reverse: true,
    limit: 1,
  });
  if (entry === undefined) {
    const first = bornAt(number);
    if (first > asOf) return undefined;
    throw corruption("the index entries of a lifecycle are missing", { first });
  }
  const newest = openPosting(entry[0], entry[1]);
  const { lifecycle } = lifecycleRecordOf(await lastRecord(kv, newest));
  return { lifecycle, position: lastPosition(newest) };
}

/** The record of the posting's last event. A long record is only in the chunk. */
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
