// Gives back the space of removed events: their records become removed records, batch by batch, in
// one transaction with the system event that says so, which has the hash of what each batch has
// become. Every server does so, at its own pace; what another one has done meanwhile is seen under
// the lock of the head. A removed event keeps its space for at least one pause, for reads that
// began before its removal.

import { randomInt } from "node:crypto";
import { isSystemName, type CommitEvent, idChances, ownId } from "../../../domain/event.ts";
import { streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import { removalEvent, removalStream } from "../../../domain/lifecycle/removal-event.ts";
import { composeFrame } from "../../../domain/record.ts";
import { cutIntoChunks, presentHashOf, type Chunk } from "../../leveldb/format/chunk.ts";
import { composeRemovedRecord, isRemovedRecord } from "../../removed-record.ts";
import type { ReclaimStatus } from "../../storage.ts";
import { batchesAt, chunkOfBatch, type LogBatch, type BatchEvent } from "./chunk-rows.ts";
import { chunkOf, composeOrders } from "./commit.ts";
import { rewritingOrders } from "./rewriting.ts";
import type { Database } from "../sessions/database.ts";
import { beginCommit } from "../head/lock.ts";
import type { HeadKeeper, LogHead } from "../head/log-head.ts";
import { lifecyclesOf, Removals } from "../reads/removals.ts";
import { recordFrames, unframed } from "../tables/rows.ts";
import type { DbSession } from "../sessions/session.ts";

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

/** A batch with removed records in it. */
interface Rewritten {
  readonly chunk: Chunk;
  readonly emptied: readonly Emptied[];
}

interface Emptied {
  readonly event: BatchEvent;
  readonly record: Uint8Array;
}

const streamsAtOnce = 500;
const eventsAtOnce = 500;
/** Of about 8 KiB each, or of one large event. */
const batchesAtOnce = 32;

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

/** The batches with events to empty. */
const toEmpty = {
  name: "to-empty",
  text: `SELECT DISTINCT b.last FROM (
      SELECT e.position FROM unnest($1::text[], $2::bigint[]) n(name, gone)
      JOIN stream s ON s.name = n.name JOIN event e ON e.stream = n.name
        AND e.version > s.reclaimed AND e.version <= n.gone
      WHERE e.removed_in IS NULL ORDER BY e.position LIMIT $3
    ) e CROSS JOIN LATERAL (
      SELECT last FROM batch b WHERE b.last >= e.position ORDER BY b.last LIMIT 1
    ) b ORDER BY b.last LIMIT $4`,
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
    const limits = [eventsAtOnce, batchesAtOnce];
    const found = await session.rows<[number]>(toEmpty, [names, gone, ...limits]);
    if (found.length === 0) {
      await session.rows(setReclaimed, [names, gone]);
      await session.commit();
      return undefined;
    }
    const lasts = found.map(([last]) => last);
    const batches = await batchesAt(session, lasts);
    const of = new Map(bounds.map((bound) => [bound.stream, bound]));
    const position = before.position + 1;
    const rewritten = batches.map((batch) => rewrittenOf(batch, of, position));
    const emptied = rewritten.flatMap((each) => each.emptied);
    const removal = await this.removal(session, before, rewritten, of);
    const { recordedAt } = removal;
    const drafts = cutIntoChunks({ events: [removal.event], recordedAt });
    const { orders, head } = await composeOrders({ drafts, sideValues: [] }, before);
    const rewriting = rewritingOrders(rewritten.map(({ chunk }) => chunk));
    for (const { statement, values } of [...rewriting, ...orders]) {
      await session.rows(statement, values);
    }
    await session.commit();
    const bytes = emptied.reduce((sum, { event }) => sum + event.record.length, 0);
    return { head, bytes, bytesFreed: freedOf(emptied), events: emptied.length };
  }

  /** The event that says what was emptied. */
  private async removal(
    session: DbSession,
    head: LogHead,
    rewritten: readonly Rewritten[],
    bounds: ReadonlyMap<string, Bound>,
  ): Promise<{ event: CommitEvent; recordedAt: number }> {
    const versionOf = { name: "version-of", text: "SELECT version FROM stream WHERE name = $1" };
    const [row] = await session.rows<[number]>(versionOf, [removalStream]);
    const version = (row?.[0] ?? 0) + 1;
    const position = head.position + 1;
    const recordedAt = Math.max(this.parts.keeper.time, head.recordedAt);
    const emptied = rewritten.flatMap((each) => each.emptied);
    const counts = new Map<string, number>();
    for (const { event } of emptied) counts.set(event.stream, (counts.get(event.stream) ?? 0) + 1);
    const removal = removalEvent({
      chunks: rewritten.map(({ chunk }) => {
        return { first: chunk.first, last: chunk.last, sha256: presentHashOf(chunk) };
      }),
      events: emptied.length,
      bytes: freedOf(emptied),
      streams: [...counts].map(([stream, events]) => {
        const { gone = 0, policy = 0 } = bounds.get(stream) ?? {};
        return { stream, events, before: gone + 1, policy };
      }),
    });
    const { body, ...header } = removal;
    const id = ownId(randomInt(idChances), position, recordedAt);
    const frame = composeFrame(body, version, position, recordedAt, { ownId: id });
    return { event: { ...header, id, version, position, frame }, recordedAt };
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

/** A batch with removed records in place of the events that are gone. Throws CORRUPTION. */
function rewrittenOf(
  batch: LogBatch,
  bounds: ReadonlyMap<string, Bound>,
  recordedIn: number,
): Rewritten {
  const { recordedAt } = chunkOfBatch(batch);
  const emptied: Emptied[] = [];
  const events = batch.events.map((event) => {
    const { gone = 0, policy = 0 } = bounds.get(event.stream) ?? {};
    if (event.isEmptied || event.version > gone || event.stream === "") {
      return { ...event, frame: recordFrames([event.record]) };
    }
    const frame = composeRemovedRecord(event.record, true, policy);
    emptied.push({ event, record: unframed(frame) });
    return { ...event, frame };
  });
  const isEmptied = events.every(({ frame }) => isRemovedRecord(unframed(frame)));
  const reclaimed = { recordedIn, originalHash: batch.chain, isEmptied };
  return { chunk: chunkOf({ events, recordedAt, reclaimed }, batch.before), emptied };
}

function freedOf(emptied: readonly Emptied[]): number {
  return emptied.reduce((sum, { event, record }) => sum + event.record.length - record.length, 0);
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
