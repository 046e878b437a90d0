// A running group: its state machine (domain/group/state-machine.ts) with a clock, a cursor over
// the log, its members, and one write to disk at a time. All that happens is passed to the machine;
// the consequences are carried out once per turn of the event loop.

import { AnnalsError, type Reason } from "../../domain/errors.ts";
import { GroupStateMachine, type KeyReading } from "../../domain/group/state-machine.ts";
import type { GroupWrite } from "../../domain/group/journal.ts";
import type { Delivery } from "../../domain/group/state.ts";
import type { SideValueChange } from "../../storage/storage.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import { GroupCursor } from "./cursor.ts";
import { LagCounter, type LagSource } from "./lag.ts";
import { ConnectedMember } from "./member.ts";
import { countParked, findParked, writeSideValues, type LoadedGroup } from "./side-values.ts";
import { groupEvent, readKey, recordAt } from "./reading.ts";
import { RemovedEvents } from "./removed-events.ts";
import type { GroupRecord } from "./record.ts";
import type { MemberInfo, MemberWish } from "../group-verbs.ts";
import type { Interests } from "../subscribe/interest.ts";
import type { HandedFigures } from "../log-figures.ts";
import type { PositionWaiters } from "../position-waiters.ts";
import type { Timers } from "../timers.ts";

export interface RunnerParts extends Source {
  readonly interests: Interests;
  readonly timers: Timers;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Milliseconds since 1970 on a clock that never jumps. */
  readonly nowMs: () => number;
  readonly heartbeatMs: number;
  readonly write: (sideValues: readonly SideValueChange[]) => Promise<void>;
  readonly warn: (message: string, cause?: unknown) => void;
  readonly waiters: PositionWaiters;
  readonly handed: Pick<HandedFigures, "group">;
}

/** Keys that are read again concurrently. */
const readingsMax = 4;
const unplacedAtOnce = 16;
/** The delay after a failed write. */
const retryMs = 250;
/** When the position has advanced this far without a settled event, it is written by itself. */
const passedMax = 100_000;
/** The same when the group ends. */
const passedAtEnd = 1_000;

/** The write may succeed later: the disk is full, or the store is recovering. */
const transient: ReadonlySet<Reason> = new Set<Reason>([
  "OUTCOME_UNKNOWN",
  "RECOVERING",
  "DISK_FULL",
  "OVERLOADED",
  "STORE_FAILED",
]);

interface Flush {
  readonly sideValues: readonly SideValueChange[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupRunner {
  record: GroupRecord;
  readonly machine: GroupStateMachine;
  /** Stops accepting members. When `over` resolves, another runner may take its place. */
  isEnding = false;
  readonly over: Promise<void>;
  private failure: AnnalsError | undefined;
  private readonly parts: RunnerParts;
  private readonly cursor: GroupCursor;
  private readonly lag: LagCounter;
  private readonly removed: RemovedEvents;
  private readonly members = new Map<number, ConnectedMember>();
  private ended: () => void = () => {};
  private readonly tokenTag = `${crypto.randomUUID().slice(0, 8)}.`;
  private memberCount = 0;
  private touched = false;
  private dueAtMs: number | undefined;
  private stopTimer: (() => void) | undefined;
  private endPause: (() => void) | undefined;
  private flushes: Flush[] = [];
  private writing: Promise<void> | undefined;
  private readingCount = 0;
  private isPlacing = false;
  private knownParked: number | undefined;

  constructor(parts: RunnerParts, loaded: LoadedGroup) {
    const { record, progress, baseSequence } = loaded;
    this.parts = parts;
    this.record = record;
    this.over = new Promise((resolve) => {
      this.ended = resolve;
    });
    this.machine = new GroupStateMachine(record.settings, progress, baseSequence);
    this.lag = new LagCounter(this.machine);
    const touched = { touch: () => this.touch(), failed: (error: unknown) => this.fail(error) };
    this.removed = new RemovedEvents({ ...parts, ...touched }, this.machine.held);
    this.cursor = new GroupCursor(
      {
        ...parts,
        moved: () => this.touch(),
        offered: (position) => this.lag.offered(position),
        failed: (error) => this.fail(error),
      },
      this.machine,
    );
    this.cursor.start();
  }

  get name(): string {
    return this.record.name;
  }

  /** Stores side values of the group, but only while this node runs it. */
  get store(): RunnerParts["write"] {
    return this.parts.write;
  }

  /** Whether no member and no caller needs it. */
  get isIdle(): boolean {
    const isWaitedFor = this.parts.waiters.has(this.name);
    return this.members.size === 0 && !isWaitedFor && this.writing === undefined;
  }

  get position(): number {
    this.cursor.catchUp();
    return this.machine.position;
  }

  join(wish: MemberWish): ConnectedMember {
    const { parts, machine, tokenTag } = this;
    const member: ConnectedMember = new ConnectedMember(
      {
        ...parts,
        machine,
        tokenTag,
        position: () => this.position,
        readRecord: (position) => this.readRecord(position),
        touch: () => this.touch(),
        left: () => {
          this.members.delete(member.id);
          this.touch();
        },
      },
      ++this.memberCount,
      wish,
    );
    this.members.set(member.id, member);
    machine.join(member.id, wish.permits, wish.freesAtOnce);
    this.touch();
    return member;
  }

  /** Makes the machine's pending changes durable, with these side values. */
  flush(sideValues: readonly SideValueChange[] = []): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.flushes.push({ sideValues, resolve, reject });
      this.touch();
    });
  }

  /** The machine was reset: the log is read from another position. */
  restart(): void {
    this.cursor.restart();
    this.touch();
  }

  /** The lifecycles of these streams changed; "all": of any. */
  lifecyclesChanged(streams: ReadonlySet<string> | "all"): void {
    this.lag.doubt();
    this.removed.changed(streams);
  }

  /** Something happened: what follows is done once for this turn. */
  touch(): void {
    if (this.touched) return;
    this.touched = true;
    queueMicrotask(() => {
      this.touched = false;
      if (this.failure === undefined) this.follow();
    });
  }

  /** Ends everything. Changes in the machine that are not durable are dropped. */
  fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.isEnding = true;
    this.failure = error instanceof AnnalsError ? error : fault(error);
    if (this.failure !== error) this.parts.warn(`group ${this.name} failed`, error);
    this.cursor.stop();
    this.removed.stop();
    this.stopTimer?.();
    this.endPause?.();
    for (const member of this.members.values()) member.fail(this.failure);
    for (const { reject } of this.flushes.splice(0)) reject(this.failure);
    this.parts.waiters.fail(this.name, this.failure);
    void this.finish();
  }

  /**
   * A write in progress may still reach the disk. No other runner may start before it has ended.
   */
  private async finish(): Promise<void> {
    await this.writing;
    this.ended();
  }

  /** Stops in order: makes durable what can be. Never throws. */
  async stop(reason: AnnalsError): Promise<void> {
    if (this.isEnding) return this.over;
    await this.drain();
    this.fail(reason);
    await this.over;
  }

  /**
   * Makes durable what can be, and from then on only does what `flush` requests. `fail` must
   * follow. Never throws.
   */
  async drain(): Promise<void> {
    this.isEnding = true;
    this.cursor.catchUp();
    this.cursor.stop();
    try {
      const isBusy = this.machine.hasUrgent || this.writing !== undefined;
      if (isBusy || this.machine.unwrittenCount > passedAtEnd) await this.flush();
    } catch (error) {
      this.parts.warn(`the progress of group ${this.name} could not be written`, error);
    }
  }

  /** Stops counting at `max`. */
  async lagEvents(source: LagSource, max: number, signal?: AbortSignal): Promise<number> {
    await this.removed.settled();
    return this.lag.count(source, max, signal);
  }

  get memberInfos(): MemberInfo[] {
    return [...this.members.values()].map(({ id, name, joinedAt }) => {
      const { held: heldCount, permits } = this.machine.member(id);
      return { name, heldCount, permits, joinedAt };
    });
  }

  async parkedCount(): Promise<number> {
    const counted = this.knownParked ?? (await countParked(this.parts.storage, this.record.id));
    this.knownParked ??= counted;
    return this.knownParked;
  }

  readRecord(position: number): Promise<Uint8Array | undefined> {
    return recordAt(this.parts, position);
  }

  private follow(): void {
    const { machine, parts } = this;
    if (!this.isEnding) {
      const now = parts.nowMs();
      machine.tick(now);
      this.give(machine.deliver(now));
      this.plan(now);
    }
    if (this.hasToWrite) {
      this.writing ??= this.writeAll().catch((error: unknown) => this.fail(error));
    }
    if (this.isEnding) return;
    this.removed.plan();
    this.readKeys();
    if (machine.wantsEvents) this.cursor.wake();
    if (parts.waiters.has(this.name)) parts.waiters.reached(this.name, this.position);
  }

  private get hasToWrite(): boolean {
    if (this.flushes.length > 0) return true;
    const { hasUrgent, unwrittenCount } = this.machine;
    return !this.isEnding && (hasUrgent || unwrittenCount > passedMax);
  }

  private give(deliveries: readonly Delivery[]): void {
    const byMember = new Map<number, Delivery[]>();
    for (const delivery of deliveries) {
      const given = byMember.get(delivery.member.id);
      if (given === undefined) byMember.set(delivery.member.id, [delivery]);
      else given.push(delivery);
    }
    for (const [id, given] of byMember) this.members.get(id)?.give(given);
  }

  /** One timer for whatever is due first. */
  private plan(now: number): void {
    const { dueAtMs } = this.machine;
    if (dueAtMs === this.dueAtMs) return;
    this.stopTimer?.();
    this.dueAtMs = dueAtMs;
    if (dueAtMs === undefined) return;
    this.stopTimer = this.parts.timers.delay(Math.max(0, dueAtMs - now), () => {
      this.dueAtMs = undefined;
      this.touch();
    });
  }

  private async writeAll(): Promise<void> {
    try {
      do {
        const flushes = this.flushes.splice(0);
        await this.writeOnce(this.machine.takeWrite(), flushes);
      } while (this.failure === undefined && this.hasToWrite);
    } finally {
      // In the same turn as the last check for pending changes: a later change begins a new write.
      this.writing = undefined;
    }
  }

  /** Retries while the write may succeed later. Throws when it will not. */
  private async writeOnce(write: GroupWrite, flushes: readonly Flush[]): Promise<void> {
    try {
      await this.write(write, flushes);
    } catch (error) {
      this.machine.failed();
      this.knownParked = undefined;
      for (const { reject } of flushes) reject(error);
      if (!(error instanceof AnnalsError && transient.has(error.reason))) throw error;
      await this.pause();
    }
  }

  /** The pause before a write is retried. Ends when there will be no retry. */
  private pause(): Promise<void> {
    if (this.failure !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const stopTimer = this.parts.timers.delay(retryMs, resolve);
      this.endPause = () => {
        stopTimer();
        resolve();
      };
    });
  }

  /** Throws if the write is not known to be durable. */
  private async write(write: GroupWrite, flushes: readonly Flush[]): Promise<void> {
    const { parts, record } = this;
    const { parked, unparked } = write;
    const positions = [...parked.map(({ position }) => position), ...unparked];
    const before =
      positions.length > 0 ? await findParked(parts.storage, record.id, positions) : [];
    const own = writeSideValues(record, write, parts.clock());
    await parts.write([...own, ...flushes.flatMap(({ sideValues }) => sideValues)]);
    if (this.knownParked !== undefined) this.knownParked += parked.length - before.length;
    for (const [id, tokens] of this.machine.written()) this.members.get(id)?.tellSettled(tokens);
    for (const { resolve } of flushes) resolve();
    this.touch();
  }

  private readKeys(): void {
    while (this.readingCount < readingsMax) {
      const reading = this.machine.nextReading();
      if (reading === undefined) break;
      this.readingCount++;
      this.readAgain(reading)
        .catch((error: unknown) => this.fail(error))
        .finally(() => {
          this.readingCount--;
          this.touch();
        });
    }
    if (this.isPlacing || this.machine.nextUnplaced(1).length === 0) return;
    this.isPlacing = true;
    this.placeSome()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.isPlacing = false;
        this.touch();
      });
  }

  private async readAgain(reading: KeyReading): Promise<void> {
    const { machine, parts } = this;
    const found = await readKey(parts, machine.settings, reading, this.cursor.signal);
    const now = parts.nowMs();
    if (found === undefined) machine.readLater(reading, now);
    else machine.readMore(reading, found.events, found.knownThrough, now);
  }

  private async placeSome(): Promise<void> {
    for (const position of this.machine.nextUnplaced(unplacedAtOnce)) {
      const record = await this.readRecord(position);
      this.machine.place(position, record && groupEvent(record), this.parts.nowMs());
    }
  }
}

function fault(cause: unknown): AnnalsError {
  return new AnnalsError({ reason: "RECOVERING" }, "the group failed; join again", cause);
}
