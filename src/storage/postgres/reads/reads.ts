// All reads of events: page after page, from memory or from the database, without what is removed,
// gathered into batches.

import { composeRemovedRecord, isLostRecord, lostEvent } from "../../removed-record.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { selects } from "../../../domain/query.ts";
import type { Database } from "../sessions/database.ts";
import type { DbSession } from "../sessions/session.ts";
import type { Standbys } from "./standbys.ts";
import type { HeadKeeper } from "../head/log-head.ts";
import { copiedLogPage } from "./log-pages.ts";
import { readPage, type EventPage, type PageRequest } from "./pages.ts";
import { assertNotEmptied, removalsOf, type Removals } from "./removals.ts";
import { recordFrames, unframed, type EventRow } from "../tables/rows.ts";

const pageEventsMax = 1_000;
const pageBytesMin = 64 * 1_024;
/** Fewer events of the log come by a SELECT, which needs no connection of its own. */
const copiedEventsMin = 200;
/** The size of a page by COPY. */
const copiedBytes = 1_024 * 1_024;
const copiedEventsMax = 8_000;
const windowMin = 128;
const windowMax = 4_096;

/** What a page brings of a page's events is about this in the first page. */
const recordBytes = 256;

export interface ReadParts {
  /** Sessions at the primary. */
  readonly database: Database;
  readonly keeper: HeadKeeper;
  /** Absent: the primary is read from alone. */
  readonly standbys?: Standbys | undefined;
}

export async function* readBatches(parts: ReadParts, read: StorageRead): AsyncGenerator<Batch> {
  const reading = new Reading(parts, read);
  try {
    while (!reading.isOver) yield* reading.next();
  } finally {
    reading.end();
  }
}

/** The state of one read. */
class Reading {
  private readonly database: Database;
  private readonly keeper: HeadKeeper;
  private readonly standbys: Standbys | undefined;
  private readonly read: StorageRead;
  private readonly isForwards: boolean;
  private readonly as: { readonly of: number; readonly now: number } | undefined;
  private first: number;
  private last: number;
  private eventsMax: number;
  private window = windowMin;
  private isNarrowed = false;
  private versions: StorageRead["versions"];
  /** The next page of the log, which is on its way while this one is taken. */
  private ahead: Promise<EventPage> | undefined;
  /** Of a record, about. */
  private eventBytes = recordBytes;
  /** Whether it is one of the few reads that may hold large pages. Undefined: it did not ask. */
  private hasRoom: boolean | undefined;

  constructor({ database, keeper, standbys }: ReadParts, read: StorageRead) {
    this.database = database;
    this.keeper = keeper;
    this.standbys = standbys;
    this.read = read;
    this.versions = read.versions;
    this.isForwards = read.direction === "forwards";
    this.first = Math.max(1, read.positions.first);
    this.last = Math.min(read.positions.last, keeper.head.position);
    const { asOf: of, batchEvents, batchBytes } = read;
    this.as = of === undefined ? undefined : { of, now: keeper.time };
    const about = Math.min(batchEvents ?? Infinity, 8 + batchBytes / recordBytes);
    this.eventsMax = Math.min(pageEventsMax, Math.ceil(about));
  }

  get isOver(): boolean {
    return this.first > this.last;
  }

  end(): void {
    if (this.hasRoom === true) this.database.copyRoom++;
    this.hasRoom = undefined;
  }

  /** The batches of the next page. */
  async *next(): AsyncGenerator<Batch> {
    if (!this.isNarrowed) await this.narrow();
    if (this.isOver) return;
    const { events, through } = await this.page();
    if (this.isForwards) this.first = through + 1;
    else this.last = through - 1;
    let rest = events;
    do {
      const { taken, judged } = await this.gather(rest);
      rest = rest.slice(judged);
      const upTo =
        rest.length === 0
          ? through
          : (events[events.length - rest.length - 1]?.position ?? through);
      const frames = taken.length === 0 ? [] : [recordFrames(taken)];
      const bytes = frames[0]?.length ?? 0;
      yield { frames, count: taken.length, bytes, through: upTo };
    } while (rest.length > 0);
  }

  /** The next page: from memory where all of it is there. */
  private async page(): Promise<EventPage> {
    const { first, last, isForwards } = this;
    const { selection } = this.read;
    const some = isForwards
      ? { first, last: Math.min(last, first + pageEventsMax - 1) }
      : { first: Math.max(first, last - pageEventsMax + 1), last };
    const near = this.keeper.tail.between(some.first, some.last);
    if (near !== undefined) {
      this.ahead = undefined;
      const events = near.filter((each) => selects(selection, each) && this.isInVersions(each));
      const ordered = isForwards ? events : events.toReversed();
      return { events: ordered, through: isForwards ? some.last : some.first };
    }
    const page = await (this.ahead ?? this.asked(first, last));
    this.eventsMax = Math.min(pageEventsMax, this.eventsMax * 2);
    this.window = Math.min(windowMax, this.window * 2);
    this.ahead = undefined;
    if (!this.isCopied(page.through + 1, last)) return page;
    this.ahead = this.asked(page.through + 1, last);
    // A read may end before it.
    this.ahead.catch(() => {});
    return page;
  }

  /** Whether it is one of the whole log, and long. */
  private isCopied(first: number, last: number): boolean {
    const { isForwards, eventsMax } = this;
    const isLong = Math.min(eventsMax, last - first) >= copiedEventsMin;
    if (this.read.selection.kind !== "all" || !isForwards || !isLong) return false;
    this.hasRoom ??= this.database.copyRoom > 0 && this.database.copyRoom-- > 0;
    return this.hasRoom;
  }

  private async asked(first: number, last: number): Promise<EventPage> {
    const { isForwards, database, standbys } = this;
    const isCopied = this.isCopied(first, last);
    const read = (session: DbSession, upTo: number): Promise<EventPage> =>
      this.pageIn(session, this.request(first, upTo), isCopied);
    const range = { first, last, isForwards, isCopied };
    const page = await standbys?.read(range, read);
    if (page !== undefined) return page;
    const atPrimary = (session: DbSession): Promise<EventPage> => read(session, last);
    return isCopied ? database.copying(atPrimary) : database.reading(atPrimary);
  }

  private async pageIn(
    session: DbSession,
    request: PageRequest,
    isCopied: boolean,
  ): Promise<EventPage> {
    const copied = isCopied ? await copiedLogPage(session, this.copyOf(request)) : undefined;
    const through = copied?.at(-1)?.position;
    if (copied === undefined || through === undefined) return readPage(session, request);
    this.eventBytes = bytesIn(copied) / copied.length;
    const { selection } = request;
    const events = copied.filter((event) => !event.isOfSystem || selects(selection, event));
    return { events, through };
  }

  /** About as many events as make up the bytes, by the last page: what is cut off was in vain. */
  private copyOf(request: PageRequest): PageRequest {
    const bytesMax = Math.max(copiedBytes, request.bytesMax);
    const about = Math.ceil(bytesMax / this.eventBytes) + 1;
    return { ...request, bytesMax, eventsMax: Math.min(copiedEventsMax, about) };
  }

  private request(first: number, last: number): PageRequest {
    const { isForwards, eventsMax, window, versions } = this;
    const { selection, batchBytes } = this.read;
    const positions = { first, last };
    const bytesMax = Math.max(pageBytesMin, batchBytes);
    return { selection, isForwards, positions, versions, eventsMax, bytesMax, window };
  }

  private isInVersions({ version }: EventRow): boolean {
    const { versions } = this;
    return versions === undefined || (version >= versions.first && version <= versions.last);
  }

  /** The records of a batch, and how many of the events were looked at for them. */
  private async gather(
    events: readonly EventRow[],
  ): Promise<{ readonly taken: Uint8Array[]; readonly judged: number }> {
    const { batchBytes, batchEvents = Infinity, withRemoved } = this.read;
    const taken: Uint8Array[] = [];
    let bytes = 0;
    let judged = 0;
    while (judged < events.length && bytes < batchBytes && taken.length < batchEvents) {
      const room = batchEvents - taken.length;
      const some = firstOf(events.slice(judged, judged + room), batchBytes - bytes);
      const isAnyRemoved = withRemoved !== true && this.keeper.head.lifecycle > 0;
      const streams = isAnyRemoved ? some.map(({ stream }) => stream) : [];
      const removals = await removalsOf(this.database, this.keeper, streams, this.as);
      for (const event of some) {
        const isPlain = removals.areNone && !event.isEmptied;
        const record = isPlain ? event.record : await this.shown(event, removals);
        if (record === undefined) continue;
        taken.push(record);
        bytes += record.length;
      }
      judged += some.length;
    }
    return { taken, judged };
  }

  /** What the read shows of an event. Undefined: nothing. */
  private async shown(event: EventRow, removals: Removals): Promise<Uint8Array | undefined> {
    const { withRemoved, withRemovedRecords } = this.read;
    const { record, isEmptied } = event;
    if (withRemoved === true) return record;
    if (removals.removes(event)) {
      if (withRemovedRecords !== true) return undefined;
      if (isEmptied) return record;
      const { policy = 0 } = removals.of(event.stream) ?? {};
      return unframed(composeRemovedRecord(record, false, policy));
    }
    if (!isEmptied) return record;
    const { position, stream } = event;
    if (isLostRecord(record)) {
      if (withRemovedRecords === true) return record;
      throw lostEvent({ position, stream });
    }
    await assertNotEmptied(this.database, this.keeper, event);
    return undefined;
  }

  /** Leaves out the removed beginning of a stream, however long it is. */
  private async narrow(): Promise<void> {
    this.isNarrowed = true;
    const { selection, withRemoved, withRemovedRecords } = this.read;
    if (selection.kind !== "stream" || withRemoved === true || withRemovedRecords === true) return;
    const { stream } = selection;
    const left = (await removalsOf(this.database, this.keeper, [stream], this.as)).of(stream);
    if (left === undefined) return;
    if (left.version > 1) {
      const { first = 1, last = Number.MAX_SAFE_INTEGER } = this.versions ?? {};
      this.versions = { first: Math.max(first, left.version), last };
    }
    if (left.time === 0) return;
    const [row] = await this.database.rows<[number]>(positionAtTime, [left.time, this.last]);
    this.first = Math.max(this.first, row?.[0] ?? 1);
  }
}

const positionAtTime = { name: "position-at-time", text: "SELECT position_at($1, $2)" };

function bytesIn(events: readonly EventRow[]): number {
  return events.reduce((sum, { record }) => sum + record.length, 0);
}

/** Those of the events that come to so many bytes, at least one. */
function firstOf(events: readonly EventRow[], bytesMax: number): readonly EventRow[] {
  let bytes = 0;
  const end = events.findIndex(({ record }) => (bytes += record.length) >= bytesMax);
  return end < 0 ? events : events.slice(0, end + 1);
}
