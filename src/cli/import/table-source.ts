// Tables of events in PostgreSQL as sources: those of message-db and of Marten. Both number their
// events by a sequence, whose numbers become visible out of order and may stay unused. A gap is
// taken as final only when every transaction that ran when it was seen has ended.

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { CommandError, UsageError } from "../arguments/options.ts";
import type { EventSource, SourceItem, SourceOptions, SourceRange } from "./source.ts";

interface Row {
  readonly position: string;
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  readonly revision: string;
  readonly data: string | null;
  readonly metadata: string | null;
  readonly recorded_at: string;
}

interface Table {
  readonly kind: string;
  readonly name: string;
  readonly positionColumn: string;
  readonly columns: string;
}

const time = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const tables: Readonly<Record<string, (schema: string | null) => Table>> = {
  "message-db": (schema) => ({
    kind: "message-db",
    name: `${quoted(schema ?? "message_store")}.messages`,
    positionColumn: "global_position",
    columns:
      `global_position AS position, id::text, stream_name AS stream, type, position AS revision, ` +
      `data::text, metadata::text, ${time("time")} AS recorded_at`,
  }),
  marten: (schema) => ({
    kind: "marten",
    name: `${quoted(schema ?? "public")}.mt_events`,
    positionColumn: "seq_id",
    columns:
      `seq_id AS position, id::text, type, version AS revision, data::text, ` +
      `CASE WHEN coalesce(to_jsonb(e)->>'tenant_id', '*DEFAULT*') = '*DEFAULT*' ` +
      `THEN stream_id::text ELSE (to_jsonb(e)->>'tenant_id') || '/' || stream_id::text END ` +
      `AS stream, ` +
      `(to_jsonb(e) - '{seq_id,id,stream_id,version,data,type,timestamp}'::text[])::text ` +
      `AS metadata, ${time("timestamp AT TIME ZONE 'utc'")} AS recorded_at`,
  }),
};

const pageRows = 1_000;
const pollMs = 500;
const quietPollMs = 50;

/** `message-db:postgres://...` or `marten:postgres://...`, with `?schema=NAME`. */
export function openTable(url: string, { contentType }: SourceOptions): Promise<EventSource> {
  const [, kind = "", address = ""] = /^([a-z-]+):(.*)$/.exec(url) ?? [];
  const [, host = "", database = "", settings = ""] =
    /^postgres(?:ql)?:\/\/(?:[^@/]*@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(address) ?? [];
  if (database === "") {
    throw new UsageError(`name the database: ${kind}:postgres://USER@HOST/DATABASE`);
  }
  const options = new URLSearchParams(settings);
  const table = (tables[kind] as (schema: string | null) => Table)(options.get("schema"));
  options.delete("schema");
  const where = options.get("host") ?? host;
  const [plain = ""] = address.split("?");
  const connection = `${plain}?${options.toString()}`;
  const source = new TableSource(table, connection, contentType ?? "application/json");
  return Promise.resolve({
    name: `${kind}://${where}/${database}`,
    kind,
    idKey: `${kind}-id`,
    head: () => source.connected((client) => source.head(client)),
    read: (range) => source.read(range),
    isTemporary,
    close: () => Promise.resolve(),
  });
}

class TableSource {
  private readonly table: Table;
  private readonly url: string;
  private readonly contentType: string;

  constructor(table: Table, url: string, contentType: string) {
    this.table = table;
    this.url = url;
    this.contentType = contentType;
  }

  async connected<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  async head(client: Client): Promise<bigint | undefined> {
    const { name, positionColumn } = this.table;
    const rows = await query<{ head: string | null }>(
      client,
      `SELECT max(${positionColumn}) AS head FROM ${name}`,
    );
    const head = rows[0]?.head;
    return head === null || head === undefined ? undefined : BigInt(head);
  }

  async *read({ after, isLive, signal }: SourceRange): AsyncGenerator<SourceItem> {
    const client = await this.connect();
    let from = after;
    /** Numbers up to here that are not visible will never be. */
    let final: bigint | undefined;
    try {
      for (;;) {
        signal.throwIfAborted();
        const { rows, running } = await this.page(client, from);
        const gap = gapIn(rows, from, final);
        for (const row of rows.slice(0, gap)) yield this.itemOf(row);
        from = positionOf(rows[gap - 1]) ?? from;
        if (gap < rows.length) {
          await this.ended(client, running, signal);
          final = positionOf(rows.at(-1));
          continue;
        }
        if (rows.length === pageRows) continue;
        if (!isLive) return;
        await sleep(pollMs, undefined, { signal });
      }
    } finally {
      await client.end();
    }
  }

  /** Rows in order, and the transactions that may still add rows between them. */
  private async page(client: Client, from: bigint | undefined) {
    const { name, columns, positionColumn } = this.table;
    const rows = await query<Row>(
      client,
      `SELECT ${columns} FROM ${name} AS e WHERE ${positionColumn} > $1 ` +
        `ORDER BY ${positionColumn} LIMIT ${pageRows}`,
      [String(from ?? -1n)],
    );
    const snapshot = await query<{ next: string }>(
      client,
      "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next",
    );
    return { rows, running: BigInt(snapshot[0]?.next ?? 0) };
  }

  /** Waits until every transaction before `next` has ended. */
  private async ended(client: Client, next: bigint, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(quietPollMs, undefined, { signal });
      const rows = await query<{ oldest: string }>(
        client,
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS oldest",
      );
      if (BigInt(rows[0]?.oldest ?? 0) >= next) return;
    }
  }

  private itemOf(row: Row): SourceItem {
    const { id, stream, type, data, metadata, revision, recorded_at: recordedAt } = row;
    const position = BigInt(row.position);
    return {
      kind: "event",
      position,
      event: {
        id,
        stream,
        type,
        tags: [],
        metadata: metadata === null ? {} : { [`${this.table.kind}-metadata`]: metadata },
        contentType: this.contentType,
        payload: data === null ? { case: undefined } : { case: "data", value: Buffer.from(data) },
        recordedAt,
        revision: BigInt(revision),
      },
    };
  }

  private async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.url, application_name: "annals" });
    // A connection that breaks fails its query as well.
    client.on("error", () => {});
    try {
      await client.connect();
    } catch (error) {
      throw explained(error);
    }
    return client;
  }
}

async function query<R extends object>(
  client: Client,
  text: string,
  values: readonly string[] = [],
): Promise<R[]> {
  try {
    return (await client.query<R>(text, [...values])).rows;
  } catch (error) {
    throw explained(error);
  }
}

function explained(error: unknown): unknown {
  if (isTemporary(error)) return error;
  return new CommandError(`PostgreSQL: ${(error as Error).message}`, { cause: error });
}

/** The index of the first row behind a gap that may still be filled; the number of rows: none. */
function gapIn(rows: readonly Row[], from: bigint | undefined, final: bigint | undefined): number {
  let expected = from === undefined ? undefined : from + 1n;
  for (const [index, row] of rows.entries()) {
    const at = BigInt(row.position);
    const isFinal = final !== undefined && at <= final;
    if (expected !== undefined && at !== expected && !isFinal) return index;
    expected = at + 1n;
  }
  return rows.length;
}

function positionOf(row: Row | undefined): bigint | undefined {
  return row === undefined ? undefined : BigInt(row.position);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The connection broke or could not be made, or the server restarts. */
function isTemporary(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  const text = typeof code === "string" ? code : "";
  const isBroken = error instanceof Error && /Connection terminated/.test(error.message);
  return isBroken || /^(?:08|57P0|53|ECONN|EPIPE|ENOENT)/.test(text);
}
