// Reads of streams whose records are in memory.

import { positionMax } from "../../../domain/limits.ts";
import type { StorageRead } from "../../storage.ts";
import { TermKind } from "../format/keys.ts";
import type { StreamRun } from "../state/hot-records.ts";
import type { OpenStore } from "../state/open-store.ts";
import { FoundEvent, type Stretch, type Walk } from "./walks.ts";

/** The read, if all that it may return is in memory. */
export function hotWalk(store: OpenStore, read: StorageRead): Walk | undefined {
  const { selection, positions, versions } = read;
  if (selection.kind !== "stream") return undefined;
  const term = store.terms.peek(TermKind.stream, selection.stream);
  if (term === undefined || term.number === 0) return undefined;
  const run = store.hot.get(term.number, versions?.first ?? 1, positions.first);
  if (run === undefined) return undefined;
  const { length } = run.positions;
  // Another end than that of the index would be a fault here; the disk is asked then.
  if (run.before + length !== term.count) return undefined;
  const isBefore = (i: number): boolean =>
    run.before + i + 1 < (versions?.first ?? 1) || (run.positions[i] as number) < positions.first;
  const isWithin = (i: number): boolean =>
    run.before + i + 1 <= (versions?.last ?? positionMax) &&
    (run.positions[i] as number) <= positions.last;
  let from = 0;
  while (from < length && isBefore(from)) from++;
  let to = from;
  while (to < length && isWithin(to)) to++;
  return { silentMax: 1, stretches: stretchOf(read, selection.stream, run, { from, to }) };
}

/** The events of the run from `from` on, before `to`. */
interface Slice {
  readonly from: number;
  readonly to: number;
}

async function* stretchOf(
  read: StorageRead,
  stream: string,
  run: StreamRun,
  { from, to }: Slice,
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
