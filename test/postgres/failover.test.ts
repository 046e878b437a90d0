// What a server does where the primary is gone, hangs, or commits to nobody: it waits for no host
// that does not answer, and acknowledges nothing that may be nowhere else.
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/domain/limits.ts";
import { createEventLog } from "../../src/log/event-log.ts";
import { Database } from "../../src/storage/postgres/sessions/database.ts";
import { openPostgres } from "../../src/storage/postgres/open.ts";
import { connect, defineEvents } from "../../src/client/sdk.ts";
import { spawnAnnals, type Spawned } from "../cli/running-server.ts";
import { freePort } from "../clients/live-server.ts";
import { selectStream } from "../storage/contract/checks.ts";
import { newAppend, newEvent } from "../support/events.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

const programs = postgresPrograms();
const events = defineEvents<{ type: "Happened"; data: { n: number } }>();
let postgres: PostgresServer;
let hole: Hole;

/** A host that takes connections and never says a word. */
class Hole {
  readonly open = new Set<Socket>();
  private readonly server: Server = createServer((socket) => {
    this.open.add(socket);
    socket.on("error", () => {}).on("close", () => this.open.delete(socket));
  });

  async listen(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `postgres://annals@127.0.0.1:${(this.server.address() as AddressInfo).port}/postgres`;
  }

  close(): void {
    for (const socket of this.open) socket.destroy();
    this.server.close();
  }
}

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(() => postgres?.remove());

describe.skipIf(programs === undefined)("finding the primary", () => {
  let holeUrl: string;
  beforeEach(async () => {
    hole = new Hole();
    holeUrl = await hole.listen();
  });
  afterEach(() => hole.close());

  const databaseOf = (urls: readonly string[], lost: (why: Error) => void = () => {}): Database =>
    new Database({ urls, schema: "public", readersMax: 2, lost });

  test("a host that never answers keeps nobody from the primary", async () => {
    const database = databaseOf([holeUrl, postgres.connectionString]);
    const { session } = await database.find(async () => {});
    expect(hole.open.size, "it was waited for").toBe(1);
    session.end();
    database.leave("it was the test");
    const stop = new AbortController();
    const found = await database.search(
      async () => {},
      stop.signal,
      () => {},
    );
    found.session.end();
    database.leave("it was the test");
  });

  test("a search ends when it is told to, whatever it waits for", async () => {
    const stop = new AbortController();
    const searching = databaseOf([holeUrl]).search(
      async () => {},
      stop.signal,
      () => {},
    );
    await until(async () => hole.open.size > 0);
    stop.abort();
    await expect(searching).rejects.toMatchObject({ reason: "RECOVERING" });
  });

  test("who waits for an answer of a primary that is given up gets an error", async () => {
    const lost: Error[] = [];
    const database = databaseOf([postgres.connectionString], (why) => lost.push(why));
    (await database.find(async () => {})).session.end();
    const sleep = { name: "sleep", text: "SELECT pg_sleep(600)" };
    // Two sessions, so that the third waits for one of them.
    const failures = [1, 2, 3].map(() => database.rows(sleep).catch((error: unknown) => error));
    const asleep = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await until(async () => (await asking(postgres.connectionString, asleep))[0]?.[0] === 2);
    database.leave("it hangs");
    for (const each of failures) expect(await each).toMatchObject({ reason: "RECOVERING" });
    // It is found again, with all of its sessions, and what broke before does not count any more.
    (await database.find(async () => {})).session.end();
    const now = { name: "now", text: "SELECT 1" };
    await Promise.all([1, 2, 3, 4].map(() => database.rows(now)));
    expect(lost).toEqual([]);
    database.leave("it was the test");
  });

  test("a primary that is found again goes on with what is read there", async () => {
    const database = databaseOf([postgres.connectionString]);
    (await database.find(async () => {})).session.end();
    const slow = database.rows({ name: "slow", text: "SELECT 1, pg_sleep(1)" });
    (await database.find(async () => {})).session.end();
    expect(await slow).toEqual([[1, ""]]);
    database.leave("it was the test");
  });

  test("another host that is no standby is noticed, one that does not answer is not", async () => {
    const other = await startPostgres(programs ?? "");
    try {
      const urls = [postgres.connectionString, other.connectionString];
      const contested = databaseOf(urls);
      (await contested.find(async () => {})).session.end();
      expect(await contested.isContested()).toBe(true);
      contested.leave("it was the test");
      const alone = databaseOf([postgres.connectionString, holeUrl]);
      (await alone.find(async () => {})).session.end();
      expect(await alone.isContested()).toBe(false);
      alone.leave("it was the test");
    } finally {
      await other.remove();
    }
  });

  test("the most telling of what the hosts say is told", async () => {
    const nowhere = "postgres://annals@127.0.0.1:1/postgres";
    const wrong = postgres.connectionString.replace("/postgres?", "/missing?");
    await expect(databaseOf([nowhere, wrong]).find(async () => {})).rejects.toThrow(
      'database "missing" does not exist',
    );
  });
});

describe.skipIf(programs === undefined)("a primary whose standby is gone", () => {
  const spawned: Spawned[] = [];
  const standbys = (names: string): Promise<unknown> =>
    asking(postgres.connectionString, `ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
      .then(() => asking(postgres.connectionString, "SELECT pg_reload_conf()"))
      .then(() => new Promise((resolve) => setTimeout(resolve, 200)));
  afterEach(async () => {
    await standbys("");
    for (const each of spawned.splice(0)) {
      each.kill();
      await each.ended;
    }
  });

  test("acknowledges nothing, not even what it has, and goes on when it is back", async () => {
    const port = await freePort();
    const server = spawnAnnals(
      ["serve", "--port", `${port}`, "--storage", postgres.connectionString].concat([
        "--storage-schema",
        "alone",
      ]),
    );
    spawned.push(server);
    const client = connect({ address: `127.0.0.1:${port}`, events });
    await client.ready(60_000);
    const event = { type: "Happened", data: { n: 1 }, id: crypto.randomUUID() } as const;
    const first = await client.append("a", event);
    await standbys("nobody");
    // A retry of what is stored: the answer has to wait until it is known to be on a standby.
    const again = client.append("a", event);
    const more = client.append("a", { type: "Happened", data: { n: 2 } });
    const isReady = async (): Promise<boolean> =>
      (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200;
    let answered = 0;
    void again.then(() => answered++);
    void more.then(() => answered++);
    await until(async () => !(await isReady()));
    expect(answered).toBe(0);
    await standbys("");
    expect((await again).lastPosition).toBe(first.lastPosition);
    expect((await more).lastPosition).toBe(first.lastPosition + 1);
    await until(isReady);
    client.close();
  });
});

describe.skipIf(programs === undefined)("a server that looks for the primary again", () => {
  test("serves although a look at the head was under way", async () => {
    const url = postgres.connectionString;
    const engine = await openPostgres({ url, schema: "looking" });
    const storage = engine.storage();
    const clock = (): number => Date.now() * 1_000;
    const log = createEventLog({ storage, limits: defaultLimits, clock });
    const append = () => log.append(newAppend([newEvent({ stream: "a" })]));
    const [head, time] = [await connected(url), await connected(url)];
    try {
      await append();
      await head.query("BEGIN; SELECT * FROM looking.head FOR UPDATE");
      await time.query("BEGIN; LOCK TABLE looking.store_time");
      const failed = append().catch((error: unknown) => error);
      const waits = (what: string): string =>
        `FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%${what}%'`;
      const isThere = async (what: string): Promise<boolean> =>
        (await asking(url, `SELECT 1 ${waits(what)}`)).length > 0;
      await until(() => isThere("store_time"));
      await until(() => isThere("FOR UPDATE"));
      // The append fails, and the server looks for the primary: it is the same one.
      await asking(url, `SELECT pg_cancel_backend(pid) ${waits("FOR UPDATE")}`);
      expect(await failed).toMatchObject({ reason: "RECOVERING" });
      await head.query("ROLLBACK");
      await new Promise((resolve) => setTimeout(resolve, 500));
      await time.query("ROLLBACK");
      await until(async () => (await append().catch(() => undefined)) !== undefined);
      expect(await storage.stream("a")).toMatchObject({ version: 2 });
    } finally {
      await Promise.all([head.end(), time.end()]);
      await log.stop();
      await storage.close();
    }
  });
});

describe.skipIf(programs === undefined)("a client that goes to another server", () => {
  test("resumes behind what that one has not heard of", async () => {
    const open = async () => {
      const engine = await openPostgres({ url: postgres.connectionString, schema: "moved" });
      const storage = engine.storage();
      const clock = (): number => Date.now() * 1_000;
      return { storage, log: createEventLog({ storage, limits: defaultLimits, clock }) };
    };
    const [one, other] = [await open(), await open()];
    const gone = new AbortController();
    try {
      for (let i = 1; i <= 50; i++) {
        await one.log.append(newAppend([newEvent({ stream: "a" })]));
        const starts = [
          { selection: { kind: "all" }, start: { kind: "after-position", position: i } },
          { selection: selectStream("a"), start: { kind: "after-version", version: i } },
        ] as const;
        const begun = starts.map(async (from) => {
          const request = { ...from, checkpointIntervalMs: 60_000, batchEventsMax: 10 };
          for await (const message of other.log.subscribe(request, gone.signal)) return message;
          return undefined;
        });
        for (const each of begun) expect(await each).toMatchObject({ position: i });
      }
    } finally {
      gone.abort();
      for (const { storage, log } of [one, other]) {
        await log.stop();
        await storage.close();
      }
    }
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function connected(connectionString: string): Promise<Client> {
  const client = new Client({ connectionString });
  await client.connect();
  return client;
}
