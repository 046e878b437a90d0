// Gives back the space of removed events: their records become removed records, a few hundred in
// one transaction with the system event that says so. Every server does so, at its own pace; what
// another one has done meanwhile is seen under the lock of the head. A removed event keeps its
// space for at least one pause, for reads that began before its removal.

import { randomInt } from "node:crypto";
import { isSystemName, type CommitEvent } from "../../domain/event.ts";
import { streamKeptIn } from "../../domain/lifecycle/lifecycle-event.ts";
import { removalEvent, removalStream } from "../../domain/lifecycle/removal-event.ts";
import { idChances, ownId } from "../../domain/own-id.ts";
import { composeFrame } from "../../domain/record.ts";
import { composeRemovedRecord } from "../removed-record.ts";
import type { ReclaimStatus } from "../storage.ts";
import { byteArrays, composeOrders, digestOf } from "./commit.ts";
import type { Database } from "./database.ts";
import { beginCommit } from "./lock.ts";
import type { HeadKeeper, LogHead } from "./log-head.ts";
import { lifecyclesOf, Removals } from "./removals.ts";
import { eventColumns, eventIn, recordCrc, unframed, type EventRow } from "./rows.ts";
import type { DbSession } from "./session.ts";

export interface DatabaseReclaimOptions {
  /** Upper bound of bytes rewritten per second. */
  readonly bytesPerSecond: number;
  /** Before the first round, and between two. */
  readonly pauseMs: number;
  /** Called after each round that reclaimed something. */
  readonly finished?: (status: ReclaimStatus) => void;
}

export interface DatabaseReclaimParts {
  readonly database: Database;
  readonly keeper: HeadKeeper;
  readonly clock: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  /** Called with the head after each commit. */
  readonly committed: (head: LogHead, asked: LogHead) => Promise<void>;
}

/** What of a stream may be reclaimed. */
interface Bound {
  readonly stream: string;
  /** Every event up to this version is removed. */
  readonly gone: number;
  readonly policy: number;
  readonly reclaimed: number;
}

interface Emptied {
  readonly event: EventRow;
  readonly record: Uint8Array;
}

const streamsAtOnce = 500;
const eventsAtOnce = 500;
const bytesAtOnce = 256 * 1_024;

const lifecycleStreams = {
  name: "lifecycle-streams",
  text: `SELECT name FROM stream WHERE name > $1 AND name < '$lifecycle.' ORDER BY name LIMIT $2`,
};

const goneByAge = {
  name: "gone-by-age",
  text: `SELECT n.name, version_at(n.name, position_at(n.time, $3) - 1)
    FROM unnest($1::text[], $2::bigint[]) n(name, time)`,
};

const reclaimedOf = {
  name: "reclaimed-of",
  text: "SELECT name, reclaimed FROM stream WHERE name = ANY ($1::text[])",
};

const toEmpty = {
  name: "to-empty",
  text: `SELECT ${eventColumns} FROM unnest($1::text[], $2::bigint[]) n(name, gone)
    JOIN stream s ON s.name = n.name JOIN event e ON e.stream = n.name
      AND e.version > s.reclaimed AND e.version <= n.gone
    WHERE e.removed_in IS NULL ORDER BY e.position LIMIT $3`,
};

const empty = {
  name: "empty",
  text: `UPDATE event e SET record = n.record, crc = n.crc, original = n.original, removed_in = $1
    FROM unnest($2::bigint[], $3::bytea[], $4::bigint[], $5::bytea[])
      n(position, record, crc, original) WHERE e.position = n.position`,
};

const setReclaimed = {
  name: "set-reclaimed",
  text: `UPDATE stream s SET reclaimed = greatest(s.reclaimed, n.gone)
    FROM unnest($1::text[], $2::bigint[]) n(name, gone) WHERE s.name = n.name`,
};

export class DatabaseReclaimer {
  status: ReclaimStatus = {
    phase: "waiting",
    rounds: 0,
    chunks: 0,
    events: 0,
    bytesFreed: 0,
    waitingEvents: 0,
    waitingBytes: 0,
    lastFinishedAt: 0,
  };
  private readonly parts: DatabaseReclaimParts;
  private readonly options: DatabaseReclaimOptions;
  private seen = new Map<string, Bound>();
  private isStopped = false;
  private wake: () => void = () => {};
  private last: Promise<unknown> = Promise.resolve();

  constructor(parts: DatabaseReclaimParts, options: DatabaseReclaimOptions) {
    this.parts = parts;
    this.options = options;
  }

  /** Runs until it is stopped. */
  async run(): Promise<void> {
    for (;;) {
      await this.pause(this.options.pauseMs);
      if (this.isStopped) break;
      await this.round().catch((error: unknown) => {
        if (!this.isStopped) this.parts.warn("space could not be reclaimed", error);
      });
    }
    this.change({ phase: "stopped" });
  }

  /** Reclaims what was already removed at the round before. */
  round(): Promise<void> {
    const done = this.last.then(() => this.roundNow());
    this.last = done.catch(() => {});
    return done;
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.wake();
    await this.last;
  }

  private async roundNow(): Promise<void> {
    const { events } = this.status;
    try {
      this.change({ phase: "looking" });
      const before = this.seen;
      this.seen = await this.look();
      this.change({ phase: "reclaiming" });
      const due = [...before.values()].filter(({ gone, reclaimed }) => gone > reclaimed);
      for (let at = 0; at < due.length; at += streamsAtOnce) {
        await this.reclaim(due.slice(at, at + streamsAtOnce));
      }
      const { rounds } = this.status;
      const waitingEvents = rounds === 0 ? 0 : waitingCount(this.seen, before);
      this.change({ rounds: rounds + 1, waitingEvents, lastFinishedAt: this.parts.clock() });
    } finally {
      this.change({ phase: "waiting" });
    }
    if (this.status.events > events) this.options.finished?.(this.status);
  }

  /** What of each stream is removed by now. */
  private async look(): Promise<Map<string, Bound>> {
    const { database } = this.parts;
    const bounds = new Map<string, Bound>();
    for (let after = "$lifecycle-"; ;) {
      const page = await database.rows<[string]>(lifecycleStreams, [after, streamsAtOnce]);
      const names = page.map(([name]) => streamKeptIn(name) as string);
      const streams = names.filter((name) => !isSystemName(name));
      for (const bound of await this.boundsOf(streams)) bounds.set(bound.stream, bound);
      if (page.length < streamsAtOnce || this.isStopped) return bounds;
      after = page.at(-1)?.[0] ?? after;
    }
  }

  private async boundsOf(streams: readonly string[]): Promise<Bound[]> {
    const { database, keeper } = this.parts;
    if (streams.length === 0) return [];
    const { head, time } = keeper;
    const removals = new Removals(await lifecyclesOf(database, streams, head.position), time);
    const done = new Map(await database.rows<[string, number]>(reclaimedOf, [streams]));
    // A stream whose lifecycle cannot be read keeps what it has.
    const known = streams.filter((stream) => done.has(stream) && removals.isKnown(stream));
    const lefts = known.map((stream) => removals.of(stream));
    const times = lefts.map((left) => left?.time ?? 0);
    const values = [known, times, head.position];
    const byAge = new Map(await database.rows<[string, number]>(goneByAge, values));
    return known.map((stream, i) => {
      const { version = 1, policy = 0 } = lefts[i] ?? {};
      const aged = times[i] === 0 ? 0 : (byAge.get(stream) ?? 0);
      const gone = Math.max(version - 1, aged);
      return { stream, gone, policy, reclaimed: done.get(stream) ?? 0 };
    });
  }

  /** In as many transactions as it needs. */
  private async reclaim(bounds: readonly Bound[]): Promise<void> {
    while (!this.isStopped) {
      const { database } = this.parts;
      const asked = this.parts.keeper.head;
      const done = await database.reading((session) => this.reclaimSome(session, bounds));
      if (done === undefined) return;
      await this.parts.committed(done.head, asked);
      const { chunks, events, bytesFreed } = this.status;
      this.change({
        chunks: chunks + 1,
        events: events + done.events,
        bytesFreed: bytesFreed + done.bytesFreed,
      });
      await this.pause((1_000 * done.bytes) / this.options.bytesPerSecond);
    }
  }

  /** Undefined: there was nothing left. */
  private async reclaimSome(session: DbSession, bounds: readonly Bound[]) {
    const names = bounds.map(({ stream }) => stream);
    const gone = bounds.map((bound) => bound.gone);
    const before = await beginCommit(session);
    const rows = await session.rows(toEmpty, [names, gone, eventsAtOnce]);
    const emptied: Emptied[] = [];
    let bytes = 0;
    for (const row of rows) {
      const event = eventIn(row);
      const bound = bounds.find(({ stream }) => stream === event.stream) as Bound;
      const record = unframed(composeRemovedRecord(event.record, true, bound.policy));
      emptied.push({ event, record });
      bytes += event.record.length;
      if (bytes >= bytesAtOnce) break;
    }
    if (emptied.length === 0) {
      await session.rows(setReclaimed, [names, gone]);
      await session.commit();
      return undefined;
    }
    const bytesAfter = emptied.reduce((sum, { record }) => sum + record.length, 0);
    const bytesFreed = bytes - bytesAfter;
    const removal = await this.removal(session, before, emptied, bounds);
    const values = [
      removal.position,
      emptied.map(({ event }) => event.position),
      byteArrays(emptied.map(({ record }) => record)),
      emptied.map(({ event, record }) => recordCrc(event.position, record)),
      byteArrays(emptied.map(({ event }) => digestOf(event.record))),
    ];
    await session.rows(empty, values);
    const { recordedAt } = removal;
    const after = { position: before.position, recordedAt: before.recordedAt };
    const { orders, head } = await composeOrders(
      { after, recordedAt, events: [removal.event] },
      before,
    );
    for (const { statement, values: each } of orders) await session.rows(statement, each);
    await session.commit();
    return { head, bytes, bytesFreed, events: emptied.length };
  }

  /** The event that says what was emptied. */
  private async removal(
    session: DbSession,
    head: LogHead,
    emptied: readonly Emptied[],
    bounds: readonly Bound[],
  ): Promise<{ event: CommitEvent; position: number; recordedAt: number }> {
    const versionOf = { name: "version-of", text: "SELECT version FROM stream WHERE name = $1" };
    const [row] = await session.rows<[number]>(versionOf, [removalStream]);
    const version = (row?.[0] ?? 0) + 1;
    const position = head.position + 1;
    const recordedAt = Math.max(this.parts.keeper.time, head.recordedAt);
    const counts = new Map<string, number>();
    for (const { event } of emptied) counts.set(event.stream, (counts.get(event.stream) ?? 0) + 1);
    const of = new Map(bounds.map((bound) => [bound.stream, bound]));
    const removal = removalEvent({
      chunks: [
        {
          first: emptied[0]?.event.position ?? 0,
          last: emptied.at(-1)?.event.position ?? 0,
          sha256: digestOf(Buffer.concat(emptied.map(({ record }) => record))),
        },
      ],
      events: emptied.length,
      bytes: emptied.reduce(
        (sum, { event, record }) => sum + event.record.length - record.length,
        0,
      ),
      streams: [...counts].map(([stream, events]) => {
        const { gone = 0, policy = 0 } = of.get(stream) ?? {};
        return { stream, events, before: gone + 1, policy };
      }),
    });
    const { body, ...header } = removal;
    const id = ownId(randomInt(idChances), position, recordedAt);
    const frame = composeFrame(body, version, position, recordedAt, { ownId: id });
    return { event: { ...header, id, version, position, frame }, position, recordedAt };
  }

  private pause(ms: number): Promise<void> {
    if (this.isStopped || ms < 1) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private change(change: Partial<ReclaimStatus>): void {
    this.status = { ...this.status, ...change };
  }
}

/** Events that are removed and were not reclaimed in this round, which had these bounds before. */
function waitingCount(
  seen: ReadonlyMap<string, Bound>,
  before: ReadonlyMap<string, Bound>,
): number {
  let count = 0;
  for (const { stream, gone, reclaimed } of seen.values()) {
    count += Math.max(0, gone - Math.max(reclaimed, before.get(stream)?.gone ?? 0));
  }
  return count;
}
