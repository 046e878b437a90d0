// The same loads on PostgreSQL, built as event stores usually are there: one table, a unique index
// on stream and version, positions from a sequence. The client groups appends: all waiting appends
// go into one INSERT, so that one sync serves many. User and database come from the PG* variables.

import { Client } from "pg";
import { commonType, contentType, payload, streamOf, tagOf, typeOf } from "./events.ts";
import type { CallSpec, Part } from "./job.ts";
import { latch } from "./latch.ts";
import { type PartContext, type RunningPart } from "./part.ts";

const groupEventsMax = 2_000;
const pageEvents = 5_000;
/** The client does not report received bytes. This is about the size of an event of Annals. */
const rowBytes = 430;
const payloads = Array.from({ length: 256 }, (_, seed) => payload(seed));

const schema = `
  create table if not exists annals_bench_events (
    position bigserial primary key,
    stream text not null,
    version bigint not null,
    id uuid not null default gen_random_uuid(),
    type text not null,
    tags text[] not null,
    metadata jsonb not null,
    content_type text not null,
    data bytea not null,
    recorded_at timestamptz not null default now(),
    unique (stream, version)
  )`;

/** Versions continue the existing ones. The index checks an expected version. */
const insert = {
  name: "append",
  text: `
    insert into annals_bench_events (stream, version, type, tags, metadata, content_type, data)
    select t.stream,
      coalesce(t.version, (
        select coalesce(max(e.version), 0) from annals_bench_events e where e.stream = t.stream
      ) + row_number() over (partition by t.stream order by t.ordinal)),
      t.type, array[t.tag], '{"user": "clerk-7", "correlation": "0123456789abcdef"}',
      '${contentType}', t.data
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[])
      with ordinality as t(stream, version, type, tag, data, ordinal)`,
};
const columns =
  "position, stream, version, id, type, tags, metadata, content_type, data, recorded_at";
const readPage = {
  name: "read",
  text: `
    select ${columns} from annals_bench_events
    where position > $1 order by position limit ${pageEvents}`,
};
const readStream = {
  name: "stream",
  text: `select ${columns} from annals_bench_events where stream = $1 order by version`,
};

interface Row {
  readonly stream: string;
  /** Null: the next version. */
  readonly version: number | null;
  readonly type: string;
  readonly tag: string;
  readonly data: Buffer;
}

export async function runPostgres(part: Part, context: PartContext): Promise<RunningPart> {
  const { verb } = part.call;
  const { meter } = context;
  const isRead = verb === "read-all" || verb === "read-stream";
  const isAppend = verb === "append" || verb === "append-expecting-version" || verb === "preload";
  if (part.kind === "follow" || part.kind === "consume" || !(isRead || isAppend)) {
    throw new Error(`a plain table in PostgreSQL has no ${verb}`);
  }
  const workers = part.kind === "pipe" ? part.window : part.concurrency;
  const clients = await connect(context, isRead ? workers : 1);
  const done = latch();
  const run: Run = { part, context, stopped: false, left: part.requests ?? Infinity, n: 0 };
  const failed = (error: unknown) => {
    if (run.stopped) return;
    meter.fail((error as Error).message);
    done.open();
  };
  const group = new Group(clients[0] as Client);
  const running = Array.from({ length: workers }, (_, worker) =>
    isRead
      ? reading(run, clients[worker] as Client)
      : appending(run, group, worker, part.kind === "pipe"),
  );
  Promise.all(running).then(done.open, failed);
  return {
    ready: Promise.resolve(),
    done: part.requests === undefined ? undefined : done.promise,
    stop() {
      run.stopped = true;
      for (const client of clients) client.end().catch(() => {});
    },
  };
}

async function connect({ job }: PartContext, count: number): Promise<Client[]> {
  const clients = Array.from(
    { length: count },
    () => new Client({ host: job.host, port: job.port }),
  );
  for (const client of clients) {
    client.on("error", () => {});
    await client.connect();
  }
  await clients[0]?.query(schema);
  return clients;
}

interface Run {
  readonly part: Part;
  readonly context: PartContext;
  stopped: boolean;
  left: number;
  n: number;
}

async function appending(run: Run, group: Group, worker: number, messages: boolean): Promise<void> {
  const { meter } = run.context;
  for (let version = 1; !run.stopped && run.left > 0; version++) {
    run.left--;
    const rows = rowsOf(run, run.part.call, worker, version);
    const since = performance.now();
    await group.append(rows);
    meter.latency.record(performance.now() - since);
    meter.calls++;
    if (messages) meter.messages++;
    meter.events += rows.length;
  }
}

function rowsOf(run: Run, call: CallSpec, worker: number, version: number): Row[] {
  const data = () => payloads[run.n % payloads.length] as Buffer;
  if (call.verb === "append-expecting-version") {
    const stream = `ledger-${call.group}-${worker}`;
    run.n++;
    return [{ stream, version, type: commonType, tag: `card-${run.n}`, data: data() }];
  }
  if (call.verb !== "append" && call.verb !== "preload") throw new Error(`no ${call.verb}`);
  const total = call.verb === "append" ? call.streams * 10 : call.total;
  const first = run.n;
  return Array.from({ length: call.events }, () => {
    const n = run.n++;
    const stream = streamOf(call.verb === "append" ? first : n, total);
    return {
      stream: `account-${stream}`,
      version: null,
      type: `Posted-${typeOf(n)}`,
      tag: `card-${tagOf(n, total)}`,
      data: data(),
    };
  });
}

async function reading(run: Run, client: Client): Promise<void> {
  const { call } = run.part;
  const { meter } = run.context;
  for (let n = 0; !run.stopped && run.left > 0; n++) {
    run.left--;
    const since = performance.now();
    if (call.verb === "read-stream") {
      const name = `account-${streamOf(n, call.streams * 10)}`;
      const { rows } = await client.query({ ...readStream, values: [name] });
      meter.events += rows.length;
      meter.messages++;
      meter.receivedBytes += rows.length * rowBytes;
    } else {
      for (let position = 0, count = pageEvents; count === pageEvents && !run.stopped;) {
        const { rows } = await client.query<{ position: string }>({
          ...readPage,
          values: [position],
        });
        count = rows.length;
        position = Number(rows[count - 1]?.position ?? position);
        meter.events += count;
        meter.messages++;
        meter.receivedBytes += count * rowBytes;
      }
    }
    meter.latency.record(performance.now() - since);
    meter.calls++;
  }
}

/**
 * Group commit by the client: one INSERT at a time; appends that arrive meanwhile form the next
 * one.
 */
class Group {
  private readonly client: Client;
  private waiting: { rows: readonly Row[]; settle: (error?: Error) => void }[] = [];
  private running = false;

  constructor(client: Client) {
    this.client = client;
  }

  append(rows: readonly Row[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => (error === undefined ? resolve() : reject(error));
      this.waiting.push({ rows, settle });
      if (this.running) return;
      this.running = true;
      setImmediate(() => void this.drain());
    });
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      let events = 0;
      let count = 0;
      for (const { rows } of this.waiting) {
        if (count > 0 && events + rows.length > groupEventsMax) break;
        events += rows.length;
        count++;
      }
      const group = this.waiting.splice(0, count);
      const rows = group.flatMap((append) => append.rows);
      const values = [
        rows.map((row) => row.stream),
        rows.map((row) => row.version),
        rows.map((row) => row.type),
        rows.map((row) => row.tag),
        rows.map((row) => row.data),
      ];
      const error = await this.client.query({ ...insert, values }).then(
        () => undefined,
        (reason: Error) => reason,
      );
      for (const { settle } of group) settle(error);
    }
    this.running = false;
  }
}
