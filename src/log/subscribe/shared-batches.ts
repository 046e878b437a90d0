// Batches that several subscriptions with one selection read together. Near the head, they all
// request the same events at about the same time: the first one reads them, and the others get the
// same object, which is also encoded once. A subscription that is far behind reads for itself.
//
// A batch of all events ends at a boundary at the latest. Without boundaries, a subscription that
// comes a little later would read up to the present head, and have a position of its own from then
// on. With boundaries, subscriptions that fell behind meet again.

import type { Selection } from "../../domain/query.ts";
import type { Advance, Batch, StorageRead, StorageWatcher } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { passGate, type Gate } from "../scheduling/scheduler.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import type { Timers } from "../timers.ts";

const {
  sharedBatchesBytesMax: bytesMax,
  sharedBatchesKeptMs: keptMs,
  sharedBatchCostShare,
} = schedulingPolicy;

/** How subscriptions of one kind share. */
interface Manner {
  /** A subscription that is further than this behind the head reads for itself. */
  readonly nearMax: number;
  /** Positions between boundaries. */
  readonly boundary: number;
}

/** About one full batch of small events between boundaries. */
const ofAll: Manner = { nearMax: 500_000, boundary: 512 };
/**
 * Matching events may be far apart, and each read costs a lookup in the index, so there should be
 * as few reads as possible.
 */
const ofSome: Manner = { nearMax: 50_000, boundary: Infinity };

interface Entry {
  readonly batch: Promise<Batch>;
  readonly beganAtMs: number;
  bytes: number;
}

/** One subscription's part in sharing. */
export interface Following {
  /** The same for all that share. */
  readonly key: string;
  /** Whether to read from `first` up to `bound` together with others. */
  isShared(first: number, bound: number): boolean;
  /** The batch at the beginning of the read's positions. It may end before or after they do. */
  take(read: StorageRead): Promise<Batch>;
  /** As `take`, but it does not end before the positions do, unless it is full. */
  takeWhole(read: StorageRead): Promise<Batch>;
  leave(): void;
}

export class SharedBatches implements StorageWatcher {
  /** What it passes to give a batch to one more. */
  readonly gate: Gate;
  private readonly source: Source & { readonly timers: Timers };
  private readonly followers = new Map<string, number>();
  /** By selection and first position, the oldest first. */
  private readonly entries = new Map<string, Entry>();
  /** Bytes of the batches that are kept. */
  heldBytes = 0;
  /** Ends the watch. There is one while anybody follows. */
  private unwatch = (): void => {};

  constructor(source: Source & { readonly timers: Timers }) {
    this.source = source;
    this.gate = source.gate;
  }

  follow(selection: Selection): Following {
    const key = keyOf(selection);
    const { nearMax, boundary } = selection.kind === "all" ? ofAll : ofSome;
    if (this.followers.size === 0) {
      // What was begun for the last one may have come since, and was not watched.
      this.clear();
      this.unwatch = this.source.storage.watch(this);
    }
    this.followers.set(key, this.countOf(key) + 1);
    let left = false;
    return {
      key,
      isShared: (first, bound) => this.countOf(key) > 1 && bound - first < nearMax,
      take: (read) => this.take(key, upToBoundary(read, boundary)),
      takeWhole: (read) => this.take(key, read),
      leave: () => {
        if (left) return;
        left = true;
        const count = this.countOf(key) - 1;
        if (count > 0) this.followers.set(key, count);
        else this.followers.delete(key);
        if (this.followers.size > 0) return;
        this.clear();
        this.unwatch();
      },
    };
  }

  /** Events that a lifecycle change has removed are not given to further subscriptions. */
  advanced({ events }: Advance): void {
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
    await passGate(this.gate, Math.ceil(batch.bytes * sharedBatchCostShare));
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

  /** Keeps the batch within the bounds. A failed read is not kept. */
  private async keep(place: string, entry: Entry): Promise<void> {
    const batch = await entry.batch.catch(() => undefined);
    if (this.entries.get(place) !== entry) return;
    if (batch === undefined) return this.drop(place);
    entry.bytes = batch.bytes;
    this.heldBytes += batch.bytes;
    for (const [oldest] of this.entries) {
      if (this.heldBytes <= bytesMax) break;
      this.drop(oldest);
    }
  }

  private drop(place: string): void {
    this.heldBytes -= this.entries.get(place)?.bytes ?? 0;
    this.entries.delete(place);
  }

  private clear(): void {
    this.entries.clear();
    this.heldBytes = 0;
  }
}

/** If nothing matches: an empty batch that reports progress to the end of the read. */
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
  if (selection.kind === "query") return JSON.stringify(selection.query);
  const scope = selection.withSystem === true ? "$" : "";
  return selection.kind === "all" ? scope : `s${scope}:${selection.stream}`;
}
