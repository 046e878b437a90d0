// Reads of streams whose records are in memory.

import { positionMax } from "../../../domain/limits.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { TermKind } from "../format/keys.ts";
import type { StreamRun } from "../state/hot-records.ts";
import type { OpenStore } from "../state/open-store.ts";
import { FoundEvent, type Stretch, type Walk } from "./walks.ts";

/** The events of a stream that a read may return, from `from` on, before `to`. */
interface HotEvents {
  readonly stream: string;
  readonly run: StreamRun;
  readonly from: number;
  readonly to: number;
}

/** Undefined: not all that the read may return is in memory. */
export function hotEvents(store: OpenStore, read: StorageRead): HotEvents | undefined {
  const { selection, positions, versions } = read;
  if (selection.kind !== "stream") return undefined;
  const term = store.terms.peek(TermKind.stream, selection.stream);
  if (term === undefined || term.number === 0) return undefined;
  const run = store.hot.get(term.number, versions?.first ?? 1, positions.first);
  if (run === undefined) return undefined;
  const { before, positions: found } = run;
  // Another end than that of the index would be a fault here; the disk is asked then.
  if (before + found.length !== term.count) return undefined;
  const { first, last } = versions ?? { first: 1, last: positionMax };
  let from = Math.min(Math.max(0, first - 1 - before), found.length);
  while (from < found.length && (found[from] as number) < positions.first) from++;
  const end = Math.min(last - before, found.length);
  let to = from;
  while (to < end && (found[to] as number) <= positions.last) to++;
  return { stream: selection.stream, run, from, to };
}

/** All of the events as one batch, if they fit one and are read forwards. None may be removed. */
export function hotBatch(read: StorageRead, { run, from, to }: HotEvents): Batch | undefined {
  const { direction, batchBytes, batchEvents = Infinity, positions } = read;
  const count = to - from;
  if (direction !== "forwards" || count > batchEvents) return undefined;
  const frames = run.frames.subarray(startOf(run, from), startOf(run, to));
  const bytes = frames.length;
  if (bytes > batchBytes || count === 0) return undefined;
  return { frames: [frames], count, bytes, through: positions.last };
}

/** The events of the read, which may be removed. */
export function hotWalk(read: StorageRead, events: HotEvents): Walk {
  return { silentMax: 1, stretches: stretchOf(read, events) };
}

async function* stretchOf(
  read: StorageRead,
  { stream, run, from, to }: HotEvents,
): AsyncGenerator<Stretch> {
  if (from === to) return;
  const isForwards = read.direction === "forwards";
  const bytes = run.frames.subarray(startOf(run, from), startOf(run, to));
  const fits = bytes.length <= read.batchBytes;
  yield {
    chunk: undefined,
    whole: isForwards && fits ? { bytes, count: to - from } : undefined,
    through: isForwards ? read.positions.last : read.positions.first,
    streams: () => [stream],
    *find() {
      for (let i = from; i < to; i++) {
        const at = isForwards ? i : to - 1 - (i - from);
        const frame = run.frames.subarray(startOf(run, at), startOf(run, at + 1));
        yield new FoundEvent(frame, run.positions[at] as number);
      }
    },
  };
}

function startOf({ ends }: StreamRun, event: number): number {
  return event === 0 ? 0 : (ends[event - 1] as number);
}
