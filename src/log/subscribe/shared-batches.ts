// Batches that several subscriptions of one selection read together: near the head they all ask for
// the same events at about the same time, so the first one reads them and the others are given what
// it found, the same object, which is also encoded once. One that is far behind reads for itself.
//
// A batch of everything ends at a boundary at the latest. Without boundaries, a subscription that
// comes a little later would read up to where the log has grown meanwhile, and have a position of
// its own from then on; with them, subscriptions that fell behind meet again.

import type { Selection } from "../../domain/query.ts";
import type { Advance, Batch, StorageRead, StorageWatcher } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import type { Timers } from "../timers.ts";

const {
  sharedBatchesBytesMax: bytesMax,
  sharedBatchesKeptMs: keptMs,
  sharedBatchCostShare,
} = schedulingPolicy;

/** How subscriptions of one kind share. */
interface Manner {
  /** Positions behind the head from which on a subscription reads for itself. */
  readonly nearMax: number;
  /** Positions between boundaries. */
  readonly boundary: number;
}

/** Near a full batch of small events between boundaries. */
const ofAll: Manner = { nearMax: 500_000, boundary: 512 };
/** Events may be far apart, and each read costs a look into the index: as few reads as can be. */
const ofSome: Manner = { nearMax: 50_000, boundary: Infinity };

interface Entry {
  readonly batch: Promise<Batch>;
  readonly beganAtMs: number;
  bytes: number;
}

/** One subscription's part in it. */
export interface Following {
  /** Whether to read from `first` up to `bound` together with others. */
  isShared(first: number, bound: number): boolean;
  /**
   * The batch at the beginning of the read's positions; it may end before they do, or go further.
   */
  take(read: StorageRead): Promise<Batch>;
  leave(): void;
}

export class SharedBatches implements StorageWatcher {
  private readonly source: Source & { readonly timers: Timers };
  private readonly followers = new Map<string, number>();
  /** By selection and first position, the oldest first. */
  private readonly entries = new Map<string, Entry>();
  private bytes = 0;

  constructor(source: Source & { readonly timers: Timers }) {
    this.source = source;
  }

  /** Bytes that are kept. */
  get heldBytes(): number {
    return this.bytes;
  }

  follow(selection: Selection): Following {
    const key = keyOf(selection);
    const { nearMax, boundary } = selection.kind === "all" ? ofAll : ofSome;
    this.followers.set(key, this.countOf(key) + 1);
    let left = false;
    return {
      isShared: (first, bound) => this.countOf(key) > 1 && bound - first < nearMax,
      take: (read) => this.take(key, upToBoundary(read, boundary)),
      leave: () => {
        if (left) return;
        left = true;
        const count = this.countOf(key) - 1;
        if (count > 0) this.followers.set(key, count);
        else this.followers.delete(key);
        if (this.followers.size === 0) this.clear();
      },
    };
  }

  /** Events that a lifecycle change has removed are given to no subscription any more. */
  advanced({ events }: Advance): void {
    if (this.entries.size === 0) return;
    if (events === undefined || events.some(({ stream }) => stream.startsWith("$"))) this.clear();
  }

  private countOf(key: string): number {
    return this.followers.get(key) ?? 0;
  }

  private async take(key: string, read: StorageRead): Promise<Batch> {
    const place = `${read.positions.first} ${key}`;
    const nowMs = this.source.timers.nowMs();
    const known = this.entries.get(place);
    if (known === undefined || nowMs - known.beganAtMs > keptMs) return this.begin(place, read);
    const batch = await known.batch;
    const { gate } = this.source;
    const bytes = Math.ceil(batch.bytes * sharedBatchCostShare);
    const turn = gate.enter(bytes);
    if (turn !== undefined) await turn;
    gate.leave(bytes, bytes);
    // A lifecycle that changed meanwhile may have removed what it holds.
    return this.entries.get(place) === known ? batch : this.take(key, read);
  }

  private begin(place: string, read: StorageRead): Promise<Batch> {
    this.drop(place);
    const batch = firstBatch(this.source, read);
    const entry: Entry = { batch, beganAtMs: this.source.timers.nowMs(), bytes: 0 };
    this.entries.set(place, entry);
    void this.keep(place, entry);
    return batch;
  }

  /** Within the bounds; a read that failed is not kept at all. */
  private async keep(place: string, entry: Entry): Promise<void> {
    const batch = await entry.batch.catch(() => undefined);
    if (this.entries.get(place) !== entry) return;
    if (batch === undefined) return this.drop(place);
    entry.bytes = batch.bytes;
    this.bytes += batch.bytes;
    for (const [oldest] of this.entries) {
      if (this.bytes <= bytesMax) break;
      this.drop(oldest);
    }
  }

  private drop(place: string): void {
    this.bytes -= this.entries.get(place)?.bytes ?? 0;
    this.entries.delete(place);
  }

  private clear(): void {
    this.entries.clear();
    this.bytes = 0;
  }
}

/** Where nothing matches: an empty batch that says so up to the end of the read. */
async function firstBatch(source: Source, read: StorageRead): Promise<Batch> {
  for await (const batch of scheduledRead(source, read)) return batch;
  return { frames: [], count: 0, bytes: 0, through: read.positions.last };
}

function upToBoundary(read: StorageRead, boundary: number): StorageRead {
  if (boundary === Infinity) return read;
  const { first, last } = read.positions;
  const end = Math.ceil(first / boundary) * boundary;
  return end < last ? { ...read, positions: { first, last: end } } : read;
}

function keyOf(selection: Selection): string {
  if (selection.kind === "all") return "";
  return selection.kind === "stream" ? `s${selection.stream}` : JSON.stringify(selection.query);
}
