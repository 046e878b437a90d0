// Which events a read may see: all but those that their stream's lifecycle has removed. What is to
// be known of the streams of some events is looked up first; then each event is judged by a plain
// test. A read as of a head is judged as of that head however long it runs: where a lifecycle
// changed since, the one that was in force is looked up in the log. A read without a head is judged
// as of now.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import { firstVersion, oldestTime } from "../../../domain/lifecycle/lifecycle.ts";
import { scanRecordedAt } from "../../../domain/record.ts";
import type { JudgedEvent, StorageRead } from "../../storage.ts";
import { TermKind } from "../format/keys.ts";
import {
  composeRemovedRecord,
  isLostRecord,
  isRemovedRecord,
  lostEvent,
} from "../../removed-record.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import type { Known } from "../state/stream-lifecycles.ts";
import { loadHead, type Term } from "../state/terms.ts";
import { entriesOf, entryOrDamage } from "./lifecycles.ts";
import type { FoundEvent, Stretch } from "./walks.ts";

/** A read as of a head remembers this many streams. Beyond that, it looks them up again. */
const rememberedMax = 65_536;

/** The bounds of a stream's events that are not removed. */
interface Left {
  /** The first version that is not removed by its number. */
  readonly version: number;
  /** The first time that is not removed by age. 0: none are. */
  readonly time: number;
  /** The position of the lifecycle event that determines them. */
  readonly policy: number;
}

/**
 * By stream. An error if the lifecycle is damaged. A stream without an entry has all its events.
 */
type Leftovers = Map<string, Left | AnnalsError | undefined>;

/** Decides which events of some streams are removed. */
class Judge {
  private readonly leftovers: Leftovers;

  constructor(leftovers: Leftovers) {
    this.leftovers = leftovers;
  }

  /** The bounds of a stream. Undefined: nothing is removed. Throws CORRUPTION. */
  of(stream: string): Left | undefined {
    const left = this.leftovers.get(stream);
    if (left instanceof AnnalsError) throw new AnnalsError(left.failure, left.message, left);
    return left;
  }

  isRemoved(event: FoundEvent): boolean {
    if (this.leftovers.size === 0) return false;
    const left = this.of(event.stream);
    if (left === undefined) return false;
    if (event.version < left.version) return true;
    return left.time > 0 && scanRecordedAt(event.record) < left.time;
  }

  removes({ stream, version, recordedAt }: JudgedEvent): boolean {
    const left = this.leftovers.size === 0 ? undefined : this.of(stream);
    return left !== undefined && (version < left.version || recordedAt < left.time);
  }

  removesAnyOf({ find }: Pick<Stretch, "find">): boolean {
    if (this.leftovers.size === 0) return false;
    for (const event of find()) if (this.isRemoved(event)) return true;
    return false;
  }
}

const nothingRemoved = new Judge(new Map());

export class Visibility {
  private readonly store: OpenStore;
  private readonly asOf: number | undefined;
  private readonly everything: boolean;
  private readonly withRemovedRecords: boolean;
  private readonly beganAt: number;
  /** As of a head, the bounds are constant for the duration of the read. */
  private leftovers: Leftovers = new Map();

  constructor(
    store: OpenStore,
    read: Pick<StorageRead, "asOf" | "withRemoved" | "withRemovedRecords">,
  ) {
    this.store = store;
    this.asOf = read.asOf;
    this.everything = read.withRemoved === true;
    this.withRemovedRecords = read.withRemovedRecords === true;
    this.beganAt = timeOf(store);
  }

  /** The judge of a stretch's events, valid until the read waits for something else. */
  judge({ chunk, streams }: Pick<Stretch, "chunk" | "streams">): Judge | Promise<Judge> {
    const { lifecycles, head } = this.store;
    if (this.everything || lifecycles.isEmpty) return nothingRemoved;
    const asOf = this.asOf ?? head.position;
    if (chunk !== undefined && lifecycles.clears(chunk, asOf, this.now())) return nothingRemoved;
    return this.judgeOf(streams());
  }

  /** The judge of the events of some streams. */
  judgeOf(streams: Iterable<string>): Judge | Promise<Judge> {
    const { lifecycles } = this.store;
    if (this.everything || lifecycles.isEmpty) return nothingRemoved;
    const isStale = this.asOf === undefined || this.leftovers.size > rememberedMax;
    if (isStale) this.leftovers = new Map();
    const missing: string[] = [];
    let isAnyKnown = false;
    for (const stream of streams) {
      if (lifecycles.get(stream) === undefined) continue;
      if (this.leftovers.has(stream)) isAnyKnown = true;
      else missing.push(stream);
    }
    if (missing.length > 0) return this.lookUp(this.leftovers, [...new Set(missing)]);
    return isAnyKnown ? new Judge(this.leftovers) : nothingRemoved;
  }

  /** The frame that the read returns for a removed event. Undefined: none. */
  removedFrame(event: FoundEvent, judge: Judge): Uint8Array | undefined {
    if (!this.withRemovedRecords) return undefined;
    if (isRemovedRecord(event.record)) return event.frame;
    return composeRemovedRecord(event.record, false, judge.of(event.stream)?.policy ?? 0);
  }

  /**
   * Refuses a removed record that the read takes for an event that is not removed. If it was
   * removed after the read's head, that is READ_OVERTAKEN; if no lifecycle removed it, that is
   * CORRUPTION, and so is a lost event. Only chunks that are marked as rewritten have such records.
   */
  async assertWhole(event: FoundEvent): Promise<void> {
    if (this.everything) return;
    const { position, stream } = event;
    if (isLostRecord(event.record)) {
      if (this.withRemovedRecords) return;
      throw lostEvent({ position, stream });
    }
    if (!isRemovedRecord(event.record)) return;
    const present = await new Visibility(this.store, {}).judgeOf([stream]);
    if (present.isRemoved(event)) {
      const since = "an event was removed, and its space reclaimed, since this read began";
      throw new AnnalsError({ reason: "READ_OVERTAKEN" }, since);
    }
    throw corruption("an event was emptied that nothing has removed", { first: position, stream });
  }

  private now(): number {
    return this.asOf === undefined ? timeOf(this.store) : this.beganAt;
  }

  private async lookUp(leftovers: Leftovers, streams: readonly string[]): Promise<Judge> {
    const entries = await this.entries(streams);
    const counts = await this.counts(entries);
    const now = this.now();
    for (const stream of streams) {
      const entry = entries.get(stream);
      if (entry === undefined || "fault" in entry) leftovers.set(stream, entry?.fault);
      else {
        const { lifecycle, position: policy } = entry;
        const version = firstVersion(lifecycle, counts.get(stream) ?? 0);
        leftovers.set(stream, { version, time: oldestTime(lifecycle, now), policy });
      }
    }
    return new Judge(leftovers);
  }

  /** The lifecycles in force as of the read, of those streams that have one. */
  private async entries(streams: readonly string[]): Promise<Map<string, Known>> {
    const { store, asOf } = this;
    const entries = await entriesOf(store, streams);
    if (asOf === undefined) return entries;
    for (const [stream, entry] of entries) {
      if ("fault" in entry || entry.position <= asOf) continue;
      const before = await entryOrDamage(store.kv, stream, asOf);
      if (before === undefined) entries.delete(stream);
      else entries.set(stream, before);
    }
    return entries;
  }

  /** How many events the streams ever got as of the read, if their policies count them. */
  private async counts(entries: ReadonlyMap<string, Known>): Promise<Map<string, number>> {
    const { terms, kv, head } = this.store;
    const counted: Term[] = [];
    for (const [name, entry] of entries) {
      const isCounted = "lifecycle" in entry && entry.lifecycle.policy.maxCount !== undefined;
      if (isCounted) counted.push({ kind: TermKind.stream, name });
    }
    if (counted.length === 0) return noCounts;
    const asOf = this.asOf ?? head.position;
    const heads = await terms.load(kv, counted, head.position);
    const counts = heads.map(async ({ number, last, count }) =>
      last > asOf ? (await loadHead(kv, number, asOf)).count : count,
    );
    const found = await Promise.all(counts);
    return new Map(counted.map(({ name }, i) => [name, found[i] as number]));
  }
}

const noCounts: Map<string, number> = new Map();

/** For each event, whether it is removed by now. */
export async function removedByNow(
  store: OpenStore,
  events: readonly JudgedEvent[],
): Promise<boolean[]> {
  const judge = await new Visibility(store, {}).judgeOf(events.map(({ stream }) => stream));
  return events.map((event) => judge.removes(event));
}
