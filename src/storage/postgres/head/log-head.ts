// The head of the log, as this server has seen it. It moves by the server's own commits and by
// those of others, in one order and without gaps, and everybody who watches is told of each move.
// What an answer of the database says of the head is looked at before the answer is given, so that
// nobody is told of anything beyond the head.

import { corruption } from "../../../domain/errors.ts";
import type { CommitEvent } from "../../../domain/event.ts";
import { lifecycleStream, streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import { firstHash } from "../../leveldb/format/chunk.ts";
import type { Advance, Commit, Head, StorageWatcher } from "../../storage.ts";
import { eventColumns, eventIn, recordFrames, unframed, type EventRow } from "../tables/rows.ts";
import { type Asker, behind, type Row, unreachable } from "../sessions/session.ts";
import { Tail } from "./tail.ts";

/** The row of the table `head`. */
export interface LogHead extends Head {
  readonly chain: Uint8Array;
  /** How often side values were changed. */
  readonly sides: number;
  /** The position of the last lifecycle event. 0: there is none. */
  readonly lifecycle: number;
}

/** The columns that `headIn` reads, of a table `h`. */
export const headColumns = "h.position, h.recorded_at, h.chain, h.sides, h.lifecycle";
export const headColumnCount = 5;

export function headIn(row: Row, at = 0): LogHead {
  return {
    position: row[at] as number,
    recordedAt: row[at + 1] as number,
    chain: row[at + 2] as Uint8Array,
    sides: row[at + 3] as number,
    lifecycle: row[at + 4] as number,
  };
}

const headNow = { name: "head-now", text: `SELECT ${headColumns} FROM head h` };

const between = {
  name: "between",
  text: `SELECT ${eventColumns} FROM event e WHERE position > $1 AND position <= $2
    ORDER BY position`,
};
const lifecyclesBetween = {
  name: "lifecycles-between",
  text: `SELECT DISTINCT stream FROM event
    WHERE split_part(stream, '-', 1) = '$lifecycle' AND stream IS NOT NULL AND position > $1
      AND position <= $2 ORDER BY stream LIMIT $3`,
};

const chainOf = { name: "chain-of", text: "SELECT chain FROM batch WHERE last = $1" };

/** Heads whose hash chain is kept. */
const chainsMax = 1_024;
/** Others' events up to this many are told one by one; of more, that they are there. */
const toldMax = 1_000;
/** Streams with a lifecycle that are known by name. Of more, each is asked for. */
const namedMax = 100_000;

export interface HeadParts {
  readonly database: Asker;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** The store's time so far. */
  readonly time: number;
  readonly head: LogHead;
}

/** This server's commit between being sent and being visible. */
interface OwnCommit {
  readonly after: LogHead;
  readonly ended: Promise<unknown>;
}

export class HeadKeeper {
  readonly tail: Tail;
  readonly watchers = new Set<StorageWatcher>();
  /** Set while this server commits. */
  own: OwnCommit | undefined;
  private readonly database: Asker;
  /** The hash chain at the last heads. */
  private readonly chains = new Map<number, Uint8Array>();
  private readonly clock: () => number;
  private seenHead: LogHead;
  private seenTime: number;
  /** Undefined: they are too many, or not known. */
  private withLifecycle: Set<string> | undefined = new Set();
  private last: Promise<void> = Promise.resolve();
  /** The latest time that others may have recorded. */
  private recordedAt: number;

  constructor({ database, clock, time, head }: HeadParts) {
    this.database = database;
    this.clock = clock;
    this.seenHead = head;
    this.seenTime = time;
    this.recordedAt = head.recordedAt;
    this.tail = new Tail(head.position);
  }

  get head(): LogHead {
    return this.seenHead;
  }

  /** The hash chain up to a position of the log. Undefined: no commit ends there. */
  async chainAt(position: number): Promise<Uint8Array | undefined> {
    if (position === 0) return firstHash;
    const known = this.chains.get(position);
    if (known !== undefined) return known;
    const [row] = await this.database.rows<[Uint8Array]>(chainOf, [position]);
    return row?.[0];
  }

  /** Each watch is distinct: the same watcher may watch twice. */
  watch(watcher: StorageWatcher): () => void {
    const own: StorageWatcher = {
      advanced: (advance) => watcher.advanced?.(advance),
      writeStateChanged: (state, why) => watcher.writeStateChanged?.(state, why),
      sideValuesCopied: () => watcher.sideValuesCopied?.(),
      groupsLost: () => watcher.groupsLost?.(),
    };
    this.watchers.add(own);
    return () => void this.watchers.delete(own);
  }

  /** The store's time, and whether it has to be kept. */
  get time(): number {
    const time = Math.max(this.clock(), this.recordedAt, this.seenTime);
    if (this.seenHead.lifecycle > 0) this.seenTime = time;
    return time;
  }

  /** The time to be kept. 0: none has to be. */
  get timeToKeep(): number {
    return this.seenHead.lifecycle > 0 ? this.seenTime : 0;
  }

  /** What another server has kept. */
  timeKept(time: number): void {
    if (time > this.seenTime) this.seenTime = time;
  }

  /** Those of the streams that may have a lifecycle. */
  mayHaveLifecycle(streams: Iterable<string>): string[] {
    const { withLifecycle } = this;
    if (this.seenHead.lifecycle === 0) return [];
    const asked = [...new Set(streams)].filter((stream) => stream !== "");
    return withLifecycle === undefined ? asked : asked.filter((name) => withLifecycle.has(name));
  }

  /** Reads the names of the streams that have a lifecycle. */
  async load(): Promise<void> {
    await this.inOrder(() => this.loadLifecycles(0, this.seenHead));
  }

  /**
   * Waits until this server is at least where an answer of the database was. `asked`: where it was
   * when it asked. Throws RECOVERING if the database was behind that.
   */
  async reach(head: LogHead, asked: LogHead): Promise<void> {
    assertNotBehind(head, asked);
    this.recordedAt = Math.max(this.recordedAt, head.recordedAt);
    while (this.isNew(head)) {
      const { own } = this;
      const isOwn = own !== undefined && isBeyond(head, own.after);
      if (isOwn) await own.ended.catch(() => {});
      else await this.inOrder(() => this.follow(head));
    }
  }

  /** The server's own commit is durable. */
  async committed(after: LogHead, head: LogHead, commit: Commit): Promise<void> {
    const { events } = commit;
    await this.inOrder(async () => {
      if (!this.isNew(head)) return;
      const isNext = this.seenHead.position === after.position;
      this.keepNames(isNext ? events : undefined);
      const isForeign = head.sides > this.seenHead.sides + 1;
      if (isNext) this.tail.push(rowsOf(commit));
      this.move(head, isNext ? events : undefined);
      if (isForeign) this.tellSideValues();
    });
  }

  private isNew(head: LogHead): boolean {
    return isBeyond(head, this.seenHead);
  }

  private inOrder(act: () => Promise<void>): Promise<void> {
    const done = this.last.then(act);
    this.last = done.catch(() => {});
    return done;
  }

  /** Others have committed. */
  private async follow(head: LogHead): Promise<void> {
    if (!this.isNew(head)) return;
    const { position: from, sides, lifecycle } = this.seenHead;
    if (head.position > from) {
      const isFew = head.position - from <= toldMax;
      const rows = isFew ? await this.database.rows(between, [from, head.position]) : [];
      if (!isFew && head.lifecycle > lifecycle) await this.loadLifecycles(from, head);
      const events = isFew ? rows.map((row) => eventIn(row)) : undefined;
      if (events !== undefined && events.length !== head.position - from) {
        throw unreachable("it lacks events that it had");
      }
      const told = events?.map(commitEventOf);
      if (told !== undefined) this.keepNames(told);
      if (events !== undefined) this.tail.push(events);
      this.move(head, told);
    } else {
      this.move(head, undefined);
    }
    if (head.sides > sides) this.tellSideValues();
  }

  private async loadLifecycles(from: number, to: LogHead): Promise<void> {
    if (this.withLifecycle === undefined || to.lifecycle <= from) return;
    const values = [from, to.position, namedMax + 1];
    const rows = await this.database.rows<[string]>(lifecyclesBetween, values);
    for (const [name] of rows) this.withLifecycle.add(streamKeptIn(name) ?? "");
    if (this.withLifecycle.size > namedMax) this.withLifecycle = undefined;
  }

  /** Undefined: they may be any. */
  private keepNames(events: readonly { readonly stream: string }[] | undefined): void {
    if (events === undefined) this.withLifecycle = undefined;
    for (const { stream } of events ?? []) {
      const kept = streamKeptIn(stream);
      if (kept !== undefined) this.withLifecycle?.add(kept);
    }
    if ((this.withLifecycle?.size ?? 0) > namedMax) this.withLifecycle = undefined;
  }

  /** From here to the end nothing waits. */
  private move(head: LogHead, events: readonly CommitEvent[] | undefined): void {
    const from = headOf(this.seenHead);
    this.seenHead = head;
    this.recordedAt = Math.max(this.recordedAt, head.recordedAt);
    if (head.position === from.position) return;
    this.keepChain(head);
    if (events === undefined) this.tail.reset(head.position);
    const advance: Advance = { from, to: headOf(head), ...(events && { events }) };
    for (const watcher of this.watchers) watcher.advanced?.(advance);
  }

  private keepChain({ position, chain }: LogHead): void {
    this.chains.set(position, chain);
    if (this.chains.size <= chainsMax) return;
    const [oldest = 0] = this.chains.keys();
    this.chains.delete(oldest);
  }

  private tellSideValues(): void {
    for (const watcher of this.watchers) watcher.sideValuesCopied?.();
  }
}

export async function askHead(database: Asker): Promise<LogHead> {
  const [row] = await database.rows(headNow);
  if (row === undefined) throw corruption("the head of the log is missing");
  return headIn(row);
}

export function headOf({ position, recordedAt }: LogHead): Head {
  return { position, recordedAt };
}

/** The position of the last lifecycle event among these. 0: there is none. */
export function lastLifecycle(events: readonly CommitEvent[]): number {
  const prefix = lifecycleStream("");
  return events.findLast(({ stream }) => stream.startsWith(prefix))?.position ?? 0;
}

function isBeyond(head: LogHead, than: LogHead): boolean {
  return head.position > than.position || head.sides > than.sides;
}

/** A database that is behind what was seen is not the one that had it. Throws RECOVERING. */
function assertNotBehind({ position, sides }: LogHead, asked: LogHead): void {
  if (position < asked.position || sides < asked.sides) throw behind(position, asked.position);
}

function commitEventOf({ record, isEmptied: _, recordedAt: __, ...event }: EventRow): CommitEvent {
  return { ...event, idFromClient: true, frame: recordFrames([record]) };
}

function rowsOf({ events, recordedAt, times }: Commit): EventRow[] {
  return events.map(({ frame, idFromClient: _, ...event }, i) => {
    const time = times?.[i] ?? recordedAt;
    return { ...event, recordedAt: time, record: unframed(frame), isEmptied: false };
  });
}
