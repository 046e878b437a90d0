// Those who look at PostgreSQL itself while a campaign runs: one at each node, who reads the table of
// events as people do and must never see a gap; and one who commits, to tell how long the cluster
// alone stands still.
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { Silence } from "./silence.ts";

const pollMs = 40;
/** Between two attempts of the one who commits. */
const retryMs = 100;
const rowsMax = 5_000;
/** As long as servers wait for them, so that a bare client is not slower on a busy machine. */
const connectMsMax = 3_000;
const answerMsMax = 10_000;

/** A PostgreSQL of the cluster, for the role that Annals has. */
export interface DatabasePlace {
  readonly host: string;
  readonly password: string;
}

function clientOf({ host, password }: DatabasePlace): Client {
  const client = new Client({
    host,
    password,
    user: "annals",
    database: "annals",
    connectionTimeoutMillis: connectMsMax,
    query_timeout: answerMsMax,
  });
  client.on("error", () => {});
  return client;
}

/** Drops a connection, whatever runs on it. */
function drop(client: Client): void {
  void client.end().catch(() => {});
  const { connection } = client as unknown as {
    readonly connection: { readonly stream: { destroy(): void } };
  };
  connection.stream.destroy();
}

/** Cancels the commits that wait for a standby: they are there, and may be nowhere else. */
export async function cancelCommits(place: DatabasePlace): Promise<number> {
  const client = clientOf(place);
  try {
    await client.connect();
    const text = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE wait_event = 'SyncRep' AND application_name = 'annals'`;
    return (await client.query(text)).rowCount ?? 0;
  } finally {
    drop(client);
  }
}

/** Reads positions at one node, primary or standby. Between two connections anything may happen. */
export class SqlTail {
  rows = 0;
  readonly gaps: string[] = [];
  private readonly place: DatabasePlace;
  private readonly table: string;
  private isOver = false;
  private readonly reading: Promise<void>;

  constructor(place: DatabasePlace, schema: string) {
    this.place = place;
    this.table = `"${schema}".event`;
    this.reading = this.read();
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await this.reading;
  }

  private async read(): Promise<void> {
    while (!this.isOver) {
      const client = clientOf(this.place);
      try {
        await client.connect();
        await this.readWith(client);
      } catch {
        // The node is down, or became something else.
      } finally {
        drop(client);
      }
      if (!this.isOver) await pause(pollMs);
    }
  }

  private async readWith(client: Client): Promise<void> {
    const { table } = this;
    const text = `SELECT coalesce(max(position), 0) FROM ${table}`;
    const { rows } = await client.query<[string]>({ text, rowMode: "array" });
    let last = Number(rows[0]?.[0]);
    const next = `SELECT position FROM ${table} WHERE position > $1 ORDER BY position LIMIT ${rowsMax}`;
    while (!this.isOver) {
      const values = [last];
      const page = await client.query<[string]>({ text: next, values, rowMode: "array" });
      for (const [position] of page.rows) {
        this.rows++;
        if (Number(position) !== last + 1) {
          this.gaps.push(
            `a reader of the table at ${this.place.host}: ${position} follows ${last}`,
          );
        }
        last = Number(position);
      }
      await pause(pollMs);
    }
  }
}

/**
 * Commits to a table of its own wherever it can, with one client for each node, so that a node that
 * does not answer keeps nobody from the others: how long the cluster alone stands still.
 */
export class CommitProbe {
  readonly silence = new Silence();
  private isOver = false;
  private readonly committing: readonly Promise<void>[];

  constructor(places: readonly DatabasePlace[]) {
    this.committing = places.map((place) => this.commit(place));
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.committing);
  }

  private async commit(place: DatabasePlace): Promise<void> {
    while (!this.isOver) {
      const client = clientOf(place);
      try {
        await client.connect();
        await this.commitWith(client);
      } catch {
        // It is not the primary, or not any more.
      } finally {
        drop(client);
      }
      await pause(retryMs);
    }
  }

  private async commitWith(client: Client): Promise<void> {
    const isStandby = "SELECT pg_is_in_recovery()";
    const { rows } = await client.query<[boolean]>({ text: isStandby, rowMode: "array" });
    if (rows[0]?.[0] !== false) return;
    await client.query("CREATE SCHEMA IF NOT EXISTS probe");
    await client.query("CREATE TABLE IF NOT EXISTS probe.commits (n int)");
    while (!this.isOver) {
      await client.query("INSERT INTO probe.commits VALUES (1)");
      this.silence.heard();
      await pause(pollMs);
    }
  }
}
