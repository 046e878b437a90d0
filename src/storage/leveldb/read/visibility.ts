// What a read may see: every event but those that their stream's lifecycle has removed. A read as
// of a head is judged as of that head however long it runs: where the book has moved on since, what
// was is looked up in the log, which keeps every lifecycle there ever was. A read without one is
// judged by the book as it is.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import { firstVersion, oldestTime } from "../../../domain/lifecycle/lifecycle.ts";
import { scanPlace, scanRecordedAt } from "../../../domain/record.ts";
import type { StorageRead } from "../../storage.ts";
import type { BookEntry } from "../state/stream-lifecycles.ts";
import { entryAsOf } from "./load-lifecycles.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";
import { timeOf, type Core } from "../state/open-store.ts";
import { composeStub, isStub } from "../format/removed-record.ts";

/** What was looked up is remembered for so many streams; beyond, it is looked up again. */
const rememberedMax = 4_096;

/** What is known of an event that is to be judged, beside its record. */
interface Judged {
  readonly stream: string;
  /** Absent: the record says. */
  readonly version?: number;
}

export class Sight {
  private readonly core: Core;
  private readonly asOf: number | undefined;
  private readonly everything: boolean;
  private readonly stubs: boolean;
  private readonly beganAt: number;
  private readonly past = new Map<string, BookEntry | undefined>();

  constructor(core: Core, read: Pick<StorageRead, "asOf" | "withRemoved" | "withStubs">) {
    const { asOf, withRemoved, withStubs } = read;
    this.core = core;
    this.stubs = withStubs === true;
    this.asOf = asOf;
    this.everything = withRemoved === true;
    this.beganAt = timeOf(core);
  }

  get isClear(): boolean {
    return this.everything || this.core.book.size === 0;
  }

  /** Whether no event of the chunk can be hidden, without looking at them. */
  clears(chunk: Chunk): boolean {
    const { book, head } = this.core;
    return this.isClear || book.clears(chunk, this.asOf ?? head.position, this.now());
  }

  /** The entry a stream is judged by; undefined: nothing of it is removed. */
  entryOf(stream: string): BookEntry | undefined | Promise<BookEntry | undefined> {
    if (this.everything || stream === "") return undefined;
    const entry = this.core.book.get(stream);
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
  stubOf(frame: Uint8Array, stream: string): Uint8Array | undefined {
    if (!this.stubs) return undefined;
    const record = recordOf(frame);
    if (isStub(record)) return frame;
    return composeStub(record, false, this.core.book.get(stream)?.position ?? 0);
  }

  /**
   * Refuses what is left of an event whose space was reclaimed, where the read does not hide it: an
   * event nobody removed is CORRUPTION, one that was removed since the read's view is
   * READ_OVERTAKEN. Only chunks that say so hold any.
   */
  assertWhole(chunk: Chunk | undefined, event: Judged, record: Uint8Array): void {
    if (chunk?.reclaimed === undefined || this.everything || !isStub(record)) return;
    if (this.isGone(this.core.book.get(event.stream), event, record, timeOf(this.core))) {
      const since = "an event was removed, and its space reclaimed, since this read began";
      throw new AnnalsError({ reason: "READ_OVERTAKEN" }, since);
    }
    const { position } = scanPlace(record);
    const { stream } = event;
    throw corruption("an event was emptied that nothing has removed", { first: position, stream });
  }

  /** The first version that is not gone by its number, and the first time not by its age. */
  boundsOf({ lifecycle, version }: BookEntry, now = this.now()): { version: number; time: number } {
    return { version: firstVersion(lifecycle, version), time: oldestTime(lifecycle, now) };
  }

  private isGone(
    entry: BookEntry | undefined,
    event: Judged,
    record: Uint8Array,
    now = this.now(),
  ): boolean {
    if (entry === undefined) return false;
    const first = this.boundsOf(entry, now);
    const version = event.version ?? scanPlace(record).version;
    return version < first.version || (first.time > 0 && scanRecordedAt(record) < first.time);
  }

  private now(): number {
    return this.asOf === undefined ? timeOf(this.core) : this.beganAt;
  }

  private async lookUp(stream: string, asOf: number): Promise<BookEntry | undefined> {
    const entry = await entryAsOf(this.core.kv, stream, asOf);
    if (this.past.size >= rememberedMax) this.past.clear();
    this.past.set(stream, entry);
    return entry;
  }
}
