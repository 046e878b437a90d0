// Events read from a real standby: what it has not is read from the primary, so that no answer is
// older; one that is away, or has another log, is not read from. And a primary beside a former one.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/domain/limits.ts";
import { createEventLog } from "../../src/log/event-log.ts";
import { openPostgres } from "../../src/storage/postgres/open.ts";
import type { Batch, Storage, StorageRead } from "../../src/storage/storage.ts";
import { selectStream } from "../storage/contract/checks.ts";
import { newAppend, newEvent } from "../support/events.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

const programs = postgresPrograms();
let primary: PostgresServer;
let standby: PostgresServer;

type Opened = Awaited<ReturnType<typeof open>>;

async function open(url: string, schema: string, readUrl?: string) {
  const warned: string[] = [];
  const warn = (message: string): void => void warned.push(message);
  const engine = await openPostgres({ url, schema, warn, ...(readUrl && { readUrl }) });
  const storage = engine.storage();
  const clock = (): number => Date.now() * 1_000;
  const log = createEventLog({ storage, limits: defaultLimits, clock });
  return {
    engine,
    storage,
    warned,
    append(count: number, stream = "a") {
      return this.appendThese(Array.from({ length: count }, () => newEvent({ stream })));
    },
    async appendThese(events: ReturnType<typeof newEvent>[]) {
      await log.append(newAppend(events));
      // What is read from memory is read from no database.
      engine.keeper.tail.reset(storage.head().position);
    },
    async close() {
      await log.stop();
      await storage.close();
    },
  };
}

async function read(storage: Storage, request: Partial<StorageRead>): Promise<Batch[]> {
  const positions = { first: 1, last: storage.head().position };
  const all = { selection: { kind: "all" }, direction: "forwards", batchBytes: 65_536 } as const;
  const batches: Batch[] = [];
  for await (const batch of storage.read({ ...all, positions, ...request })) batches.push(batch);
  return batches;
}

function countOf(batches: readonly Batch[]): number {
  return batches.reduce((sum, { count }) => sum + count, 0);
}

function bytesOf(batches: readonly Batch[]): Buffer {
  return Buffer.concat(batches.flatMap(({ frames }) => frames));
}

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Waits for what the standby has. */
async function reached(schema: string, position: number): Promise<void> {
  const text = `SELECT position FROM "${schema}".head`;
  await until(async () => {
    const [row] = await asking(standby.connectionString, text).catch(() => []);
    return Number(row?.[0] ?? -1) >= position;
  });
}

describe.skipIf(programs === undefined)("events read from a standby", () => {
  let opened: Opened;
  let schema: string;
  const pages = (): number => opened.storage.standbys?.()[0]?.pages ?? 0;
  const readsThere = async (): Promise<void> => {
    const before = pages();
    await until(async () => {
      await read(opened.storage, {});
      return pages() > before;
    });
  };

  beforeAll(async () => {
    primary = await startPostgres(programs ?? "");
    standby = await startPostgres(programs ?? "", primary);
  });
  beforeEach(async () => {
    schema = `read_${crypto.randomUUID().slice(0, 8)}`;
    opened = await open(primary.connectionString, schema, standby.connectionString);
  });
  afterEach(() => opened.close());
  afterAll(async () => {
    await standby?.remove();
    await primary?.remove();
  });

  test("are those of the primary, and what it lacks comes from there", async () => {
    await opened.append(50);
    await reached(schema, 50);
    await readsThere();
    await asking(standby.connectionString, "SELECT pg_wal_replay_pause()");
    try {
      await opened.append(10);
      const other = await open(primary.connectionString, schema);
      try {
        const selections = [{ kind: "all" }, selectStream("a")] as const;
        const requests = selections.flatMap((selection) => [
          { selection, direction: "forwards", batchEvents: 7 } as const,
          { selection, direction: "backwards", batchEvents: 7 } as const,
        ]);
        for (const request of requests) {
          const mine = await read(opened.storage, request);
          expect(countOf(mine)).toBe(60);
          expect(bytesOf(mine)).toEqual(bytesOf(await read(other.storage, request)));
        }
      } finally {
        await other.close();
      }
    } finally {
      await asking(standby.connectionString, "SELECT pg_wal_replay_resume()");
    }
    expect(opened.warned).toEqual([]);
  });

  test("by COPY, too", async () => {
    for (let i = 0; i < 3; i++) await opened.append(900);
    await reached(schema, 2_700);
    await readsThere();
    expect(countOf(await read(opened.storage, {}))).toBe(2_700);
    expect(opened.warned).toEqual([]);
  });

  test("by a COPY that brings far more than was expected, which is broken off", async () => {
    await opened.append(300);
    for (let i = 0; i < 30; i++) {
      await opened.appendThese([newEvent({ stream: "large", data: Buffer.alloc(1_000_000, i) })]);
    }
    await opened.append(300);
    await reached(schema, 630);
    await readsThere();
    const other = await open(primary.connectionString, schema);
    try {
      const one = { direction: "backwards", batchEvents: 1 } as const;
      const small = bytesOf((await read(other.storage, one)).toReversed());
      for (const storage of [opened.storage, other.storage]) {
        const found = await read(storage, {});
        expect(countOf(found)).toBe(630);
        expect(bytesOf(found).equals(small)).toBe(true);
        expect(storage.writeState()).toBe("accepting");
      }
    } finally {
      await other.close();
    }
    expect(opened.storage.standbys?.()).toMatchObject([{ isUsed: true, failures: 0 }]);
    expect(opened.warned).toEqual([]);
  });

  test("come from the primary while the standby is away, and from it again", async () => {
    await opened.append(20);
    await reached(schema, 20);
    await readsThere();
    await standby.crash();
    try {
      expect(countOf(await read(opened.storage, {}))).toBe(20);
      await until(() => opened.storage.standbys?.()[0]?.isUsed === false);
      expect(countOf(await read(opened.storage, { direction: "backwards" }))).toBe(20);
    } finally {
      await standby.start();
    }
    await readsThere();
    expect(opened.warned.length).toBeGreaterThan(0);
  });

  test("come from the primary while the standby hangs, and no read waits for it for long", async () => {
    await opened.append(20);
    await reached(schema, 20);
    await readsThere();
    standby.freeze("SIGSTOP");
    try {
      // More than it has sessions: some wait for one, some for a new connection.
      const reads = Array.from({ length: 20 }, () => read(opened.storage, {}));
      for (const each of await Promise.all(reads)) expect(countOf(each)).toBe(20);
      expect(opened.storage.standbys?.()).toMatchObject([{ isUsed: false }]);
      const before = opened.storage.standbys?.()[0]?.failures ?? 0;
      for (let i = 0; i < 50; i++) expect(countOf(await read(opened.storage, {}))).toBe(20);
      // Nobody waits for it any more.
      expect((opened.storage.standbys?.()[0]?.failures ?? 0) - before).toBeLessThanOrEqual(1);
    } finally {
      standby.freeze("SIGCONT");
    }
    await readsThere();
  });

  test("come from the primary if the standby hangs in the middle of a page", async () => {
    for (let i = 0; i < 3; i++) await opened.append(900);
    await reached(schema, 2_700);
    await readsThere();
    // All is read by COPY, page after page.
    const all = { selection: { kind: "all" }, direction: "forwards", batchBytes: 65_536 } as const;
    const batches = opened.storage.read({ ...all, positions: { first: 1, last: 2_700 } });
    let count = 0;
    try {
      for await (const batch of batches) {
        if (count === 0) standby.freeze("SIGSTOP");
        count += batch.count;
      }
    } finally {
      standby.freeze("SIGCONT");
    }
    expect(count).toBe(2_700);
    await readsThere();
  });

  test("come from the primary for a server that starts while the standby hangs", async () => {
    await opened.append(20);
    await reached(schema, 20);
    standby.freeze("SIGSTOP");
    const other = await open(primary.connectionString, schema, standby.connectionString);
    try {
      expect(countOf(await read(other.storage, {}))).toBe(20);
      await other.append(1);
      expect(countOf(await read(other.storage, {}))).toBe(21);
      expect(other.storage.standbys?.()).toMatchObject([{ isUsed: false }]);
    } finally {
      standby.freeze("SIGCONT");
      await other.close();
    }
    await opened.storage.catchUp?.();
  });

  test("that wait for a session there, because others have them all, say nothing of it", async () => {
    await opened.append(20);
    await reached(schema, 20);
    await readsThere();
    // Each page of a part of a stream asks for two versions, and takes three seconds there.
    await asking(
      primary.connectionString,
      `SET search_path = "${schema}"; ALTER FUNCTION version_at RENAME TO version_at_once;
      CREATE FUNCTION version_at(of_stream text, at_position bigint) RETURNS bigint
      LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$ BEGIN
        IF pg_is_in_recovery() THEN PERFORM pg_sleep(1.5); END IF;
        RETURN version_at_once(of_stream, at_position);
      END $$`,
    );
    await opened.append(1);
    await reached(schema, 21);
    const before = pages();
    // Of eight sessions: eight reads have one at once, eight more wait for half a page's time, and
    // the others give up waiting and ask the primary.
    const request = { selection: selectStream("a"), positions: { first: 2, last: 20 } } as const;
    const reads = Array.from({ length: 20 }, () => read(opened.storage, request));
    for (const each of await Promise.all(reads)) expect(countOf(each)).toBe(19);
    expect(pages() - before).toBeGreaterThanOrEqual(16);
    expect(opened.storage.standbys?.()).toMatchObject([{ isUsed: true, failures: 0 }]);
    expect(opened.warned).toEqual([]);
  });

  test("are not those of a former standby that goes its own way", async () => {
    await opened.append(5);
    const other = await startPostgres(programs ?? "", primary);
    const mine = await open(primary.connectionString, schema, other.connectionString);
    try {
      other.promote();
      const its = await open(other.connectionString, schema);
      await its.append(3, "its");
      await mine.append(2);
      await its.close();
      // The other server has heard of what was appended.
      await opened.storage.catchUp?.();
      await until(async () => {
        const found = await read(mine.storage, {});
        expect(bytesOf(found)).toEqual(bytesOf(await read(opened.storage, {})));
        return mine.warned.length > 0;
      });
      expect(mine.storage.standbys?.()).toMatchObject([{ isUsed: false, position: 0 }]);
    } finally {
      await mine.close();
      await other.remove();
    }
  });
});

describe.skipIf(programs === undefined)("a primary beside a former one that nobody stopped", () => {
  test("stays the primary, because it goes on committing", async () => {
    const one = await startPostgres(programs ?? "");
    const other = await startPostgres(programs ?? "", one);
    // Both are on Unix sockets, whose folders stand for hosts.
    const hosts = [one, other].map(({ connectionString }) => connectionString.split("host=")[1]);
    const opened = await open(`postgresql://annals@${hosts.join(",")}/postgres`, "contested");
    const states: string[] = [];
    opened.storage.watch({ writeStateChanged: (state) => void states.push(state) });
    const proofs = async (): Promise<number> => {
      const [row] = await asking(one.connectionString, "SELECT proofs::int FROM contested.head");
      return row?.[0] as number;
    };
    try {
      await opened.append(1);
      other.promote();
      const before = await proofs();
      await until(async () => (await proofs()) > before);
      await opened.append(1);
      expect(states).toEqual([]);
    } finally {
      await opened.close();
      await other.remove();
      await one.remove();
    }
  });
});
