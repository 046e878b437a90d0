// Checks a store in a database as a whole: every record and its CRC, the dense positions, the hash
// chain, what was reclaimed and the events that say so, the columns beside the records, the tables
// of tags, streams and types, and the side values. All of it in one transaction that sees a single
// moment, while servers go on.

import { AnnalsError } from "../../domain/errors.ts";
import { currentEpoch } from "../../domain/epoch.ts";
import { chunksRewrittenBy } from "../../domain/lifecycle/removal-event.ts";
import { scanRecord, scanRecordedAt } from "../../domain/record.ts";
import { firstHash, presentHashOf, type Chunk } from "../leveldb/format/chunk.ts";
import { isRemovedRecord } from "../removed-record.ts";
import { chunkOfBatch, type LogBatch, type BatchEvent } from "./writes/chunk-rows.ts";
import { isEmptiedRecord } from "./writes/commit.ts";
import { Database, hostOf, urlsOf } from "./sessions/database.ts";
import { DatabaseRefused } from "./sessions/database-refused.ts";
import { askHead, type LogHead } from "./head/log-head.ts";
import { lifecyclesOf, Removals } from "./reads/removals.ts";
import { eventColumns, eventIn, sideCrc } from "./tables/rows.ts";
import { assertFit, knownStore, refusal } from "./tables/schema.ts";
import { sqlState, type DbSession, type Statement } from "./sessions/session.ts";

export interface DatabaseReport {
  readonly storeId: string;
  readonly epoch: string;
  readonly head: number;
  /** Hexadecimal. */
  readonly chain: string;
  readonly events: number;
  readonly removedRecords: number;
  readonly streams: number;
  readonly types: number;
  readonly tags: number;
  readonly sideValues: number;
  readonly findings: readonly string[];
}

export interface VerifyContext {
  readonly progress: (position: number, last: number) => void;
  readonly signal?: AbortSignal | undefined;
}

const findingsMax = 1_000;
const eventsAtOnce = 500;
const positionsAtOnce = 20_000;
const sideValuesAtOnce = 100;

const page = {
  name: "verify-events",
  text: `SELECT ${eventColumns}, e.removed_in, e.id_from_client FROM event e
    WHERE e.position > $1 ORDER BY e.position LIMIT $2`,
};

const batches = {
  name: "verify-batches",
  text: `SELECT first, last, chain, removed_in, is_emptied FROM batch WHERE last > $1
    ORDER BY last LIMIT $2`,
};

const tagFaults = {
  name: "verify-tags",
  text: `SELECT position, tag, t.tag IS NULL FROM (
      SELECT DISTINCT e.position, x.tag FROM event e, unnest(e.tags) x(tag)
      WHERE e.position BETWEEN $1 AND $2
    ) a FULL JOIN (SELECT position, tag FROM tag WHERE position BETWEEN $1 AND $2) t
    USING (position, tag) WHERE a.tag IS NULL OR t.tag IS NULL LIMIT 20`,
};

const streamFaults = {
  name: "verify-streams",
  text: `SELECT coalesce(s.name, e.stream) FROM stream s FULL JOIN (
      SELECT stream, count(*) AS n, max(version) AS v, min(position) AS f, max(position) AS l,
        count(*) FILTER (WHERE position < previous) AS wrong
      FROM (SELECT *, lag(position) OVER (PARTITION BY stream ORDER BY version) AS previous
        FROM event WHERE stream IS NOT NULL) e GROUP BY stream
    ) e ON e.stream = s.name
    WHERE (s.version, s.version, s.first_position, s.last_position, 0)
      IS DISTINCT FROM (e.n, e.v, e.f, e.l, e.wrong) LIMIT 20`,
};

const typeFaults = {
  name: "verify-types",
  text: `SELECT coalesce(t.name, e.type) FROM type t FULL JOIN (
      SELECT type, count(*) AS n, min(position) AS f, max(position) AS l FROM event GROUP BY type
    ) e ON e.type = t.name
    WHERE (t.count, t.first_position, t.last_position) IS DISTINCT FROM (e.n, e.f, e.l) LIMIT 20`,
};

const counts = {
  name: "verify-counts",
  text: `SELECT (SELECT count(*) FROM stream), (SELECT count(*) FROM type),
    (SELECT count(*) FROM tag), (SELECT count(*) FROM tag WHERE position > $1)`,
};

const sideValues = {
  name: "verify-side-values",
  text: `SELECT space, name, value, crc FROM side_value WHERE (space, name) > ($1, $2)
    ORDER BY space, name LIMIT $3`,
};

/** Throws DatabaseRefused, and what the database says. */
export async function verifyDatabase(
  url: string,
  schema: string,
  context: VerifyContext,
): Promise<DatabaseReport> {
  const urls = urlsOf(url);
  const database = new Database({ urls, schema, readersMax: 1, lost: () => {} });
  let session: DbSession | undefined;
  try {
    ({ session } = await database.find((found) => assertFit(found, false)));
    await session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    return await new Verification(session, context).run();
  } catch (error) {
    if (session !== undefined && sqlState(error) === undefined) throw error;
    const { message } = refusal(error, schema) as Error;
    throw new DatabaseRefused(`the database in ${urls.map(hostOf).join(", ")}: ${message}`, {
      cause: error,
    });
  } finally {
    session?.end();
  }
}

type Link = Omit<LogBatch, "before" | "events">;

class Verification {
  private readonly session: DbSession;
  private readonly context: VerifyContext;
  private readonly findings: string[] = [];
  private events = 0;
  private sideValueCount = 0;
  private removedRecords = 0;
  /** What the event that was looked at last says of rewritten chunks. */
  private removal: { position: number; chunks: ReadonlyMap<number, Uint8Array> } | undefined;

  constructor(session: DbSession, context: VerifyContext) {
    this.session = session;
    this.context = context;
  }

  async run(): Promise<DatabaseReport> {
    const { storeId, history } = await knownStore(this.session);
    const head = await askHead(this.session);
    const chain = await this.log(head);
    if (Buffer.compare(chain, head.chain) !== 0)
      this.found("the hash chain ends otherwise than its head says");
    await this.tables(head);
    await this.sideValues();
    const [row = []] = await this.session.rows<number[]>(counts, [head.position]);
    const [streams = 0, types = 0, tags = 0, beyond = 0] = row;
    if (beyond > 0) this.found(`${beyond} tags are of positions beyond the head`);
    return {
      storeId,
      epoch: currentEpoch(history),
      head: head.position,
      chain: Buffer.from(head.chain).toString("hex"),
      events: this.events,
      removedRecords: this.removedRecords,
      streams,
      types,
      tags,
      sideValues: this.sideValueCount,
      findings: this.findings,
    };
  }

  private found(finding: string): void {
    if (this.findings.length < findingsMax) this.findings.push(finding);
  }

  /** Walks the log along its hash chain. */
  private async log(head: LogHead): Promise<Uint8Array> {
    const links = this.links();
    let link = (await links.next()).value;
    let chain: Uint8Array = firstHash;
    let waiting: BatchEvent[] = [];
    let expected = 1;
    for (let after = 0; ;) {
      this.context.signal?.throwIfAborted();
      const rows = await this.session.rows(page, [after, eventsAtOnce]);
      for (const row of rows) {
        const position = row[0] as number;
        if (position !== expected)
          this.found(`positions ${expected} to ${position - 1} are missing`);
        expected = position + 1;
        const event = this.event(row);
        if (event !== undefined) waiting.push(event);
        if (link === undefined || position < link.last) continue;
        await this.linked({ ...link, before: chain, events: waiting });
        await this.hidden(waiting);
        waiting = [];
        ({ chain } = link);
        link = (await links.next()).value;
      }
      this.events += rows.length;
      after = expected - 1;
      this.context.progress(after, head.position);
      if (rows.length < eventsAtOnce) break;
    }
    const last = expected - 1;
    if (last !== head.position)
      this.found(`the log ends at ${last}, its head says ${head.position}`);
    if (waiting.length > 0) this.found(`the last ${waiting.length} events are in no hash chain`);
    return chain;
  }

  private async *links(): AsyncGenerator<Link, undefined> {
    for (let after = 0; ;) {
      const rows = await this.session.rows<[number, number, Uint8Array, number | null, boolean]>(
        batches,
        [after, eventsAtOnce],
      );
      for (const [first, last, chain, removedIn, isEmptied] of rows) {
        yield { first, last, chain, removedIn: removedIn ?? undefined, isEmptied };
      }
      if (rows.length < eventsAtOnce) return undefined;
      after = rows.at(-1)?.[1] ?? after;
    }
  }

  /** Checks a batch against the hash chain, and against what rewrote it. */
  private async linked(batch: LogBatch): Promise<void> {
    const { first, last, events } = batch;
    const isWhole = events[0]?.position === first && events.length === last - first + 1;
    if (!isWhole) return this.found(`the hash chain breaks at positions ${first} to ${last}`);
    try {
      const chunk = chunkOfBatch(batch);
      if (batch.removedIn !== undefined) await this.rewritten(chunk, batch.removedIn);
    } catch (error) {
      if (!(error instanceof AnnalsError)) throw error;
      this.found(error.message);
    }
  }

  /** A rewritten batch has to be what the event that says so made of it. */
  private async rewritten(chunk: Chunk, recordedIn: number): Promise<void> {
    if (this.removal?.position !== recordedIn) {
      const [row] = await this.session.rows(page, [recordedIn - 1, 1]);
      const chunks = row && chunksRewrittenBy(eventIn(row).record);
      this.removal = { position: recordedIn, chunks: chunks ?? new Map() };
    }
    const said = this.removal.chunks.get(chunk.last);
    if (said !== undefined && Buffer.compare(said, presentHashOf(chunk)) === 0) return;
    this.found(
      `positions ${chunk.first} to ${chunk.last}: position ${recordedIn} says otherwise of what ` +
        "was emptied",
    );
  }

  /** Checks a record and the columns beside it. Undefined: it cannot be read. */
  private event(row: readonly unknown[]): BatchEvent | undefined {
    const position = row[0] as number;
    const isMarked = row.at(-2) !== null;
    try {
      const event = eventIn(row);
      const { stream, version, id, type, tags, recordedAt, record } = event;
      const said = scanRecord(record);
      const isSame =
        said.stream === stream &&
        said.version === version &&
        said.type === type &&
        said.id === id &&
        said.tags.join("\0") === tags.join("\0") &&
        scanRecordedAt(record) === recordedAt;
      if (!isSame) this.found(`position ${position}: the columns disagree with the record`);
      if (isEmptiedRecord(record) !== isMarked) {
        this.found(`position ${position}: a removed record that nothing has removed`);
      }
      if (isRemovedRecord(record)) this.removedRecords++;
      return { ...event, idFromClient: row.at(-1) as boolean };
    } catch (error) {
      if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
      this.found(`position ${position}: ${error.message}`);
      return undefined;
    }
  }

  /** What was emptied has to be hidden by the lifecycle of its stream. */
  private async hidden(events: readonly BatchEvent[]): Promise<void> {
    const emptied = events.filter(({ record }) => isRemovedRecord(record));
    if (emptied.length === 0) return;
    const streams = [...new Set(emptied.map(({ stream }) => stream))];
    const now = Date.now() * 1_000;
    const lifecycles = await lifecyclesOf(this.session, streams, Number.MAX_SAFE_INTEGER);
    const removals = new Removals(lifecycles, now);
    for (const event of emptied) {
      if (removals.isKnown(event.stream) && removals.removes(event)) continue;
      this.found(`position ${event.position}: it was emptied, and no lifecycle has removed it`);
    }
  }

  private async tables(head: LogHead): Promise<void> {
    for (let first = 1; first <= head.position; first += positionsAtOnce) {
      this.context.signal?.throwIfAborted();
      const rows = await this.session.rows<[number, string, boolean]>(tagFaults, [
        first,
        first + positionsAtOnce - 1,
      ]);
      for (const [position, tag, isMissing] of rows) {
        const what = isMissing ? "is not looked up by it" : "does not have it";
        this.found(`tag ${JSON.stringify(tag)}: position ${position} ${what}`);
      }
    }
    const said = async (statement: Statement, what: string): Promise<void> => {
      for (const [name] of await this.session.rows<[string]>(statement)) {
        this.found(`${what} ${JSON.stringify(name)}: its row disagrees with its events`);
      }
    };
    await said(streamFaults, "stream");
    await said(typeFaults, "type");
  }

  private async sideValues(): Promise<void> {
    for (let after = ["", ""]; ;) {
      const rows = await this.session.rows<[string, string, Uint8Array, number]>(sideValues, [
        ...after,
        sideValuesAtOnce,
      ]);
      for (const [space, name, value, crc] of rows) {
        if (sideCrc(space, name, value) === crc) continue;
        this.found(`${space} ${JSON.stringify(name)}: it fails its CRC`);
      }
      this.sideValueCount += rows.length;
      const last = rows.at(-1);
      if (last === undefined || rows.length < sideValuesAtOnce) return;
      after = [last[0], last[1]];
    }
  }
}
