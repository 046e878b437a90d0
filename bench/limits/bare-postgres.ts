// The limits of PostgreSQL for a program without a server: the driver, and nothing between it and
// the database.
//
//   batches   the rows of the engine, with its own statements, so many events in a transaction
//   singles   the table of events as it is usually built, one INSERT and one commit for each append
//   copy      the events of a store by one COPY in the binary format
//   stream    the events of one stream by a prepared SELECT

import { Client, Pool, type Submittable } from "pg";
import { cutIntoChunks } from "../../src/storage/leveldb/format/chunk.ts";
import { composeOrders } from "../../src/storage/postgres/writes/commit.ts";
import { beginCommit } from "../../src/storage/postgres/head/lock.ts";
import { composeFrame, headerBody } from "../../src/domain/record.ts";
import { ownId } from "../../src/domain/event.ts";
import { DbSession } from "../../src/storage/postgres/sessions/session.ts";
import { migrate } from "../../src/storage/postgres/tables/schema.ts";
import { payload, streamOf } from "../load/events.ts";
import { Histogram } from "../load/histogram.ts";

export interface BareJob {
  readonly what: "batches" | "singles" | "copy" | "stream";
  readonly url: string;
  readonly schema: string;
  /** Events in a batch; appends or reads at a time. */
  readonly atATime: number;
  /** Streams to choose from. */
  readonly streams: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface BareResult {
  readonly callsPerSecond: number;
  readonly eventsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

const payloads = Array.from({ length: 256 }, (_, seed) => payload(seed));
/** As many as a server has. */
const connections = 8;
const poolSize = 20;

/** Does one call after another, so many at a time, and counts the events of each. */
async function measured(
  { warmUpMs, measureMs }: BareJob,
  workers: number,
  call: (worker: number, n: number) => Promise<number>,
): Promise<BareResult> {
  const latency = new Histogram();
  let [calls, events, begun] = [0, 0, performance.now()];
  const warm = begun + warmUpMs;
  const end = warm + measureMs;
  let isWarm = false;
  const work = async (worker: number): Promise<void> => {
    for (let n = 0; ; n++) {
      const since = performance.now();
      if (since >= end) return;
      if (!isWarm && since >= warm) [isWarm, calls, events, begun] = [true, 0, 0, since];
      const count = await call(worker, n);
      calls++;
      events += count;
      if (isWarm) latency.record(performance.now() - since);
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  const seconds = (performance.now() - begun) / 1_000;
  return {
    callsPerSecond: calls / seconds,
    eventsPerSecond: events / seconds,
    p50: latency.percentile(0.5),
    p99: latency.percentile(0.99),
    p999: latency.percentile(0.999),
  };
}

const versionsNow = {
  name: "versions-now",
  text: "SELECT name, version FROM stream WHERE name = ANY ($1::text[])",
};

async function batches(job: BareJob): Promise<BareResult> {
  const { url, schema, atATime, streams } = job;
  const session = await DbSession.open({ url, schema });
  await migrate(session, { schema, isReplicated: false, clock: () => Date.now() * 1_000 });
  let n = 0;
  const result = await measured(job, 1, async () => {
    const names = Array.from(
      { length: atATime },
      (_, i) => `account-${streamOf(n + i, streams * 10)}`,
    );
    const [head, rows] = await Promise.all([
      beginCommit(session),
      session.rows<[string, number]>(versionsNow, [names]),
    ]);
    const versions = new Map(rows);
    const recordedAt = Math.max(Date.now() * 1_000, head.recordedAt);
    const events = names.map((named, i) => {
      const position = head.position + 1 + i;
      const version = (versions.get(named) ?? 0) + 1;
      versions.set(named, version);
      const header = { stream: named, type: `Posted-${n % 10}`, tags: [`card-${n++}`] };
      const data = payloads[n % payloads.length] as Buffer;
      const body = Buffer.concat([headerBody(header), Buffer.from([0x3a, 0x80, 2]), data]);
      const id = ownId(n % 1_000, position, recordedAt);
      const frame = composeFrame(body, version, position, recordedAt, { ownId: id });
      return { ...header, id, idFromClient: false, version, position, frame };
    });
    const drafts = cutIntoChunks({ events, recordedAt });
    const { orders } = await composeOrders({ drafts, sideValues: [] }, head);
    const answers = orders.map(({ statement, values }) => session.rows(statement, values));
    await Promise.all([...answers, session.commit()]);
    return atATime;
  });
  session.end();
  return result;
}

const usualTable = (schema: string): string => `
  CREATE SCHEMA IF NOT EXISTS "${schema}";
  CREATE TABLE IF NOT EXISTS "${schema}".events (
    position bigserial PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(), type text NOT NULL, tags text[] NOT NULL,
    metadata jsonb NOT NULL, data jsonb NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, version))`;

async function singles(job: BareJob): Promise<BareResult> {
  const { url, schema, atATime } = job;
  const pool = new Pool({ connectionString: url, max: poolSize });
  await pool.query(usualTable(schema));
  const text = `INSERT INTO "${schema}".events (stream, version, type, tags, metadata, data)
    VALUES ($1, $2, $3, $4, '{"user": "clerk-7"}', $5)`;
  const texts = payloads.map((data) => data.toString());
  const run = Date.now();
  const result = await measured(job, atATime, async (worker, n) => {
    const data = texts[n % texts.length];
    const values = [`account-${run}-${worker}`, n + 1, "Posted-0", [`card-${n}`], data];
    await pool.query({ name: "append", text, values });
    return 1;
  });
  await pool.end();
  return result;
}

const headerBytes = 19;

/** Counts what a COPY brings, and throws it away. */
class CopyOut implements Submittable {
  readonly ended: Promise<number>;
  private readonly text: string;
  private rows = 0;
  private settle: (rows: number) => void = () => {};
  private fail: (error: Error) => void = () => {};

  constructor(text: string) {
    this.text = text;
    this.ended = new Promise((resolve, reject) => ([this.settle, this.fail] = [resolve, reject]));
  }

  submit(connection: { query(text: string): void }): void {
    connection.query(this.text);
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    const start = chunk.length >= headerBytes && chunk.toString("latin1", 0, 6) === "PGCOPY";
    if (!start && chunk.readInt16BE(0) > 0) this.rows++;
    else if (start && chunk.length > headerBytes) this.rows++;
  }

  handleCommandComplete(): void {}

  handleError(error: Error): void {
    this.fail(error);
  }

  handleReadyForQuery(): void {
    this.settle(this.rows);
  }
}

async function copy(job: BareJob): Promise<BareResult> {
  const { url, schema } = job;
  const client = new Client({ connectionString: url });
  await client.connect();
  const result = await measured(job, 1, () => {
    const text = `COPY (SELECT position, stream, version, record FROM "${schema}".event
      ORDER BY position) TO STDOUT (FORMAT binary)`;
    return client.query(new CopyOut(text)).ended;
  });
  await client.end();
  return result;
}

async function stream(job: BareJob): Promise<BareResult> {
  const { url, schema, atATime, streams } = job;
  const pool = new Pool({ connectionString: url, max: connections });
  const text = `SELECT position, version, id, type, tags, recorded_at, record
    FROM "${schema}".event WHERE stream = $1 ORDER BY version`;
  const result = await measured(job, atATime, async (worker, n) => {
    const name = `account-${streamOf(n * atATime + worker, streams * 10)}`;
    const { rows } = await pool.query({ name: "stream", text, values: [name], rowMode: "array" });
    return rows.length;
  });
  await pool.end();
  return result;
}

const programs = { batches, singles, copy, stream };

process.on("message", (job: BareJob) => {
  programs[job.what](job).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ error: (error as Error).message }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
