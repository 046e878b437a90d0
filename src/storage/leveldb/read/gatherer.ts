// Gathers what a read of a stream finds on disk, to keep it in memory for the next one.

import type { StorageRead } from "../../storage.ts";
import { TermKind, type TermNumber } from "../format/keys.ts";
import { runBytesMax } from "../state/hot-records.ts";
import type { OpenStore } from "../state/open-store.ts";

/** An event that was found, with the last position of its chunk. */
interface Gathered {
  readonly frame: Uint8Array;
  readonly position: number;
  readonly version: number;
  readonly chunkLast: number;
}

export class Gatherer {
  private readonly store: OpenStore;
  private readonly stream: string;
  private readonly number: TermNumber;
  private readonly moment: number;
  private last: Gathered | undefined;
  /** The events at the end of what was found so far, and how many the stream had before them. */
  private before = 0;
  private bytes = 0;
  private frames: Uint8Array[] = [];
  private positions: number[] = [];
  private ends: number[] = [];

  /** `moment`: of the read (see HotRecords). */
  constructor(store: OpenStore, stream: string, number: TermNumber, moment: number) {
    this.store = store;
    this.stream = stream;
    this.number = number;
    this.moment = moment;
  }

  /**
   * Takes the next event. `isKept` false: it may be a removed or a lost record, or one that not
   * every read of the stream returns.
   */
  add(found: Gathered, isKept: boolean): void {
    const { frame, position, version } = found;
    const isNext = this.last !== undefined && version === this.last.version + 1;
    if (!isKept || !isNext || this.bytes > runBytesMax) {
      this.before = isKept ? version - 1 : version;
      this.bytes = 0;
      this.frames = [];
      this.positions = [];
      this.ends = [];
    }
    this.last = found;
    if (!isKept) return;
    this.frames.push(frame);
    this.positions.push(position);
    this.ends.push((this.bytes += frame.length));
  }

  /** The read has found all events of the stream up to its head. */
  ended(): void {
    if (this.last === undefined) return;
    const { store, number, moment, stream, before, positions, ends, frames, bytes } = this;
    const { version: count, chunkLast: lastChunk, position: last } = this.last;
    const fits = frames.length > 0 && bytes <= runBytesMax;
    const run = fits ? { before, positions, ends, frames: Buffer.concat(frames) } : undefined;
    const isPresent = store.hot.found(number, moment, run, count);
    const term = { kind: TermKind.stream, name: stream };
    if (isPresent) store.terms.learn(term, { number, count, lastChunk, last });
  }
}

/** Undefined: the read may end before the stream does. */
export function gathererFor(
  store: OpenStore,
  read: StorageRead,
  number: TermNumber,
  { head, moment }: { readonly head: number; readonly moment: number },
): Gatherer | undefined {
  const { selection, direction, positions, versions } = read;
  if (selection.kind !== "stream" || number === 0 || direction !== "forwards") return undefined;
  const isToEnd = positions.last === head && (versions === undefined || versions.last >= head);
  return isToEnd ? new Gatherer(store, selection.stream, number, moment) : undefined;
}
