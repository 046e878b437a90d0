// A walk through the log chunk by chunk. A read of everything returns whole chunks as they are
// stored; any other read examines each record.

import { scanRecord } from "../../../domain/record.ts";
import { selects } from "../../../domain/query.ts";
import type { StorageRead } from "../../storage.ts";
import { frameOffsets, recordOf, type Chunk } from "../format/chunk.ts";
import { skipsRemoved, type OpenStore } from "../state/open-store.ts";
import { chunksBackwards, chunksForwards, chunksFromMemory } from "./chunks.ts";
import { found, FoundEvent, type Stretch, type Walk } from "./stretch.ts";

export function logWalk(store: OpenStore, read: StorageRead, head: number): Walk {
  return { silentMax: 256, stretches: stretchesOf(store, read, head) };
}

async function* stretchesOf(
  store: OpenStore,
  read: StorageRead,
  head: number,
): AsyncGenerator<Stretch> {
  const { first, last } = read.positions;
  const inMemory = store.tail.page(first, last, 1).length > 0;
  const forwards = inMemory ? chunksFromMemory : chunksForwards;
  const chunks = read.direction === "forwards" ? forwards : chunksBackwards;
  for await (const page of chunks(store, read.positions, head, read.batchBytes * 2)) {
    for (const chunk of page) {
      // Pages are fetched up to the head; chunks after the range do not belong to this read.
      if (chunk.first > last) break;
      const isEmpty = chunk.reclaimed?.isEmptied === true && skipsRemoved(store, read);
      yield stretchOf(read, chunk, isEmpty);
    }
  }
}

function stretchOf(read: StorageRead, chunk: Chunk, isEmpty: boolean): Stretch {
  const { first, last } = read.positions;
  const { records: bytes, count } = chunk;
  const forwards = read.direction === "forwards";
  return {
    chunk,
    whole: isWhole(read, chunk) ? { bytes, count } : undefined,
    through: forwards ? Math.min(chunk.last, last) : Math.max(chunk.first, first),
    ...(isEmpty ? nothing : found(() => eventsIn(read, chunk))),
  };
}

const nothing = { streams: () => [], find: () => [] };

/** Whether every event of the chunk belongs to the read, in the order in which it is stored. */
function isWhole({ selection, direction, positions, withRemoved }: StorageRead, chunk: Chunk) {
  return (
    selection.kind === "all" &&
    direction === "forwards" &&
    !chunk.holdsSystemEvents &&
    (chunk.reclaimed === undefined || withRemoved === true) &&
    chunk.first >= positions.first &&
    chunk.last <= positions.last
  );
}

/** The events of a chunk that the read selects, in its order. */
function* eventsIn(read: StorageRead, chunk: Chunk): Generator<FoundEvent> {
  const { selection, versions, positions } = read;
  const offsets = frameOffsets(chunk);
  const everything = selection.kind === "all" && !chunk.holdsSystemEvents;
  const forwards = read.direction === "forwards";
  for (let i = 0; i < chunk.count; i++) {
    const ordinal = forwards ? i : chunk.count - 1 - i;
    const position = chunk.first + ordinal;
    if (position < positions.first || position > positions.last) continue;
    const frame = chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]);
    const header = everything ? undefined : scanRecord(recordOf(frame));
    if (header !== undefined) {
      if (!selects(selection, header)) continue;
      const { version } = header;
      if (versions && (version < versions.first || version > versions.last)) continue;
    }
    yield new FoundEvent(frame, position, header);
  }
}
