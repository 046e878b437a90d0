// What a read may see: every event but those that their stream's lifecycle has removed. A read as
// of a head is judged as of that head however long it runs: where the book has moved on since, what
// was is looked up in the log, which keeps every lifecycle there ever was. A read without one is
// judged by the book as it is.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import { firstVersion, oldestTime } from "../../../domain/lifecycle/lifecycle.ts";
import { scanPlacement, scanRecordedAt } from "../../../domain/record.ts";
import type { StorageRead } from "../../storage.ts";
import type { LifecycleEntry } from "../state/stream-lifecycles.ts";
import { entryAsOf } from "./load-lifecycles.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import { composeRemovedRecord, isRemovedRecord } from "../format/removed-record.ts";

/** What was looked up is remembered for so many streams; beyond, it is looked up again. */
const rememberedMax = 4_096;

/** What is known of an event that is to be judged, beside its record. */
interface Judged {
  readonly stream: string;
  /** Absent: the record says. */
  readonly version?: number;
}

export class Visibility {
  private readonly store: OpenStore;
  private readonly asOf: number | undefined;
  private readonly everything: boolean;
  private readonly removedRecords: boolean;
  private readonly beganAt: number;
  private readonly past = new Map<string, LifecycleEntry | undefined>();

  constructor(
    store: OpenStore,
    read: Pick<StorageRead, "asOf" | "withRemoved" | "withRemovedRecords">,
  ) {
    const { asOf, withRemoved, withRemovedRecords } = read;
    this.store = store;
    this.removedRecords = withRemovedRecords === true;
    this.asOf = asOf;
    this.everything = withRemoved === true;
    this.beganAt = timeOf(store);
  }

  get isClear(): boolean {
    return this.everything || this.store.lifecycles.size === 0;
  }

  /** Whether no event of the chunk can be hidden, without looking at them. */
  clears(chunk: Chunk): boolean {
    const { lifecycles, head } = this.store;
    return this.isClear || lifecycles.clears(chunk, this.asOf ?? head.position, this.now());
  }

  /** The entry a stream is judged by; undefined: nothing of it is removed. */
  entryOf(stream: string): LifecycleEntry | undefined | Promise<LifecycleEntry | undefined> {
    if (this.everything || stream === "") return undefined;
    const entry = this.store.lifecycles.get(stream);
    if (entry === undefined || this.asOf === undefined || entry.since <= this.asOf) return entry;
    if (this.past.has(stream)) return this.past.get(stream);
    return this.lookUp(stream, this.asOf);
  }

  /** Whether the event is removed. A promise only where the book has moved on. */
  hides(event: Judged, record: Uint8Array): boolean | Promise<boolean> {
    const entry = this.entryOf(event.stream);
    if (entry === undefined) return false;
    if (entry instanceof Promise) return entry.then((past) => this.isGone(past, event, record));
    return this.isGone(entry, event, record);
  }

  /** What a read shows of an event that is hidden; undefined: nothing. */
  removedRecordOf(frame: Uint8Array, stream: string): Uint8Array | undefined {
    if (!this.removedRecords) return undefined;
    const record = recordOf(frame);
    if (isRemovedRecord(record)) return frame;
    return composeRemovedRecord(record, false, this.store.lifecycles.get(stream)?.position ?? 0);
  }

  /**
   * Refuses what is left of an event whose space was reclaimed, where the read does not hide it: an
   * event nobody removed is CORRUPTION, one that was removed since the read's view is
   * READ_OVERTAKEN. Only chunks that say so hold any.
   */
  assertWhole(chunk: Chunk | undefined, event: Judged, record: Uint8Array): void {
    if (chunk?.reclaimed === undefined || this.everything || !isRemovedRecord(record)) return;
    if (this.isGone(this.store.lifecycles.get(event.stream), event, record, timeOf(this.store))) {
      const since = "an event was removed, and its space reclaimed, since this read began";
      throw new AnnalsError({ reason: "READ_OVERTAKEN" }, since);
    }
    const { position } = scanPlacement(record);
    const { stream } = event;
    throw corruption("an event was emptied that nothing has removed", { first: position, stream });
  }

  /** The first version that is not gone by its number, and the first time not by its age. */
  boundsOf(
    { lifecycle, version }: LifecycleEntry,
    now = this.now(),
  ): { version: number; time: number } {
    return { version: firstVersion(lifecycle, version), time: oldestTime(lifecycle, now) };
  }

  private isGone(
    entry: LifecycleEntry | undefined,
    event: Judged,
    record: Uint8Array,
    now = this.now(),
  ): boolean {
    if (entry === undefined) return false;
    const first = this.boundsOf(entry, now);
    const version = event.version ?? scanPlacement(record).version;
    return version < first.version || (first.time > 0 && scanRecordedAt(record) < first.time);
  }

  private now(): number {
    return this.asOf === undefined ? timeOf(this.store) : this.beganAt;
  }

  private async lookUp(stream: string, asOf: number): Promise<LifecycleEntry | undefined> {
    const entry = await entryAsOf(this.store.kv, stream, asOf);
    if (this.past.size >= rememberedMax) this.past.clear();
    this.past.set(stream, entry);
    return entry;
  }
}
