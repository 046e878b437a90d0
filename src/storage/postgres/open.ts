// Opens a store in a PostgreSQL database, or creates it there. A database that could lose events,
// or that this server may not use, is refused in one line.

import type { Storage } from "../storage.ts";
import { Database, hostOf, urlsOf } from "./sessions/database.ts";
import { DatabaseRefused } from "./sessions/database-refused.ts";
import { beginning } from "./head/begun.ts";
import { PostgresEngine } from "./engine.ts";
import type { DatabaseReclaimOptions } from "./writes/reclaimer.ts";
import { assertFit, knownStore, migrate, refusal } from "./tables/schema.ts";

export interface PostgresStorageOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT[,HOST:PORT...]/DATABASE?...` */
  readonly url: string;
  /** As `url`, of hosts that events are read from: standbys. Absent: they are read at `url`. */
  readonly readUrl?: string | undefined;
  /** The schema with the store's tables. */
  readonly schema: string;
  /** True: a database that does not commit to a standby as well is refused. */
  readonly isReplicated?: boolean;
  /** Microseconds since 1970, UTC. Absent: the system's. */
  readonly clock?: () => number;
  readonly warn?: (message: string, cause?: unknown) => void;
  /** Where the server is, for people and clients. Absent: not said. */
  readonly address?: string;
  /** Absent: space is not reclaimed. */
  readonly reclaim?: DatabaseReclaimOptions | undefined;
}

/** Of a URL: `HOST:PORT` of each, or the folder of a socket. */
export function hostsOf(url: string): string[] {
  const places = urlsOf(url).map((each) => hostOf(each).replace(/(?<=.)\/[^/]*$/, ""));
  return places.map(decodeURIComponent);
}

/** Throws DatabaseRefused. */
export async function openPostgresStorage(options: PostgresStorageOptions): Promise<Storage> {
  const engine = await openPostgres(options);
  return engine.storage();
}

export async function openPostgres(options: PostgresStorageOptions): Promise<PostgresEngine> {
  const { url, schema, isReplicated = false, warn = () => {}, reclaim, address = "" } = options;
  const clock = options.clock ?? (() => Date.now() * 1_000);
  const urls = urlsOf(url);
  const readUrls = urlsOf(options.readUrl ?? "");
  const database = new Database({ urls, schema, readersMax: 1, lost: () => {} });
  try {
    const { session } = await database.find((found) => assertFit(found, isReplicated));
    try {
      await migrate(session, { schema, isReplicated, clock });
      const store = await knownStore(session);
      if (store.isCopy) {
        throw new DatabaseRefused("a copy into it has not finished: run annals copy again");
      }
      const begun = await beginning(session, store);
      const check = (found: typeof session): Promise<void> => assertFit(found, isReplicated);
      return await PostgresEngine.open(
        { urls, readUrls, schema, check, clock, warn, reclaim, address },
        begun,
      );
    } finally {
      session.end();
    }
  } catch (error) {
    const refused = refusal(error, schema);
    const where = urls.map(hostOf).join(", ");
    const { message } = refused as Error;
    throw new DatabaseRefused(`the store in ${where} is not served: ${message}`, { cause: error });
  } finally {
    database.leave("it was only looked for");
  }
}
