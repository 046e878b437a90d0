// Servers of stores in a PostgreSQL of the test file's own: real processes, with clients of each. What
// a test has begun is ended after it.
import type { ChannelCredentials } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll } from "vitest";
import { connect, defineEvents, type ConnectOptions } from "../../src/client/sdk.ts";
import { spawnAnnals } from "../cli/running-server.ts";
import { freePort } from "../clients/live-server.ts";
import { Calls } from "../support/calls.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

export const happenings = defineEvents<{ type: "Happened"; data: { n: number } }>();

/** How a client shows who it is. */
export interface Shown extends Pick<ConnectOptions, "tls" | "token"> {
  readonly credentials?: ChannelCredentials;
}

export type StoreServer = Awaited<ReturnType<StoreServers["served"]>>;

export class StoreServers {
  /** Undefined: PostgreSQL is not installed. */
  readonly programs = postgresPrograms();
  private database: PostgresServer | undefined;
  private readonly ends: (() => unknown)[] = [];

  constructor() {
    beforeAll(async () => {
      if (this.programs !== undefined) this.database = await startPostgres(this.programs);
    });
    afterEach(async () => {
      for (const end of this.ends.splice(0).toReversed()) await end();
    });
    afterAll(() => this.database?.remove());
  }

  get url(): string {
    return this.database?.connectionString ?? "";
  }

  /** A standby of the database. */
  async standby(): Promise<PostgresServer> {
    const standby = await startPostgres(this.programs ?? "", this.database);
    this.afterwards(() => standby.remove());
    return standby;
  }

  /** After the test; what was named last comes first. */
  afterwards(end: () => unknown): void {
    this.ends.push(end);
  }

  /** Runs a statement beside the servers. */
  asked(text: string): Promise<unknown[][]> {
    return asking(this.url, text);
  }

  /** A server of the store in a schema. */
  async served(schema: string, flags: readonly string[] = [], shown: Shown = {}) {
    const port = await freePort();
    const storage = ["--storage", this.url, "--storage-schema", schema];
    const server = spawnAnnals(["serve", "--port", `${port}`, ...storage, ...flags]);
    const address = `127.0.0.1:${port}`;
    const { tls, token, credentials } = shown;
    const client = connect({ address, events: happenings, tls, token });
    const calls = new Calls(address, credentials);
    const kill = async (): Promise<void> => {
      server.kill();
      await server.ended;
    };
    this.afterwards(async () => {
      client.close();
      calls.close();
      await kill();
    });
    await client.ready(60_000);
    return { address, port, client, calls, kill };
  }
}
