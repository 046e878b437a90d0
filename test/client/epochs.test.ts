// What a client of a restored store learns: everything of the SDK that keeps a position or a version
// over time sends its epoch, and stops with a typed error where the store has another history since.
// Real servers on real folders, one after the other on one port.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  boundary,
  connect,
  defineEvents,
  EpochMismatchError,
  repository,
  runProjection,
  type AnnalsClient,
  type Decider,
  type Projection,
  type RunOptions,
  type SubscriptionMessage,
} from "../../src/client/sdk.ts";
import { sqliteReadModel } from "../../src/client/projection/sqlite-read-model.ts";
import { backUp } from "../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../src/storage/leveldb/offline/restore.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

type Added = { readonly type: "Added"; readonly data: { readonly n: number } };
const added = (n: number) => ({ type: "Added", data: { n } }) as const;

let scratch: string;
let server: TestServer;
let client: AnnalsClient<Added>;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-epochs-"));
  server = await startTestServer(["--data", join(scratch, "store")]);
  client = connect({ address: server.address, events: defineEvents<Added>() });
  await client.append("s", [added(1), added(2), added(3)]);
  await backUp({ store: join(scratch, "store"), target: join(scratch, "backup") });
});
afterEach(async () => {
  client.close();
  await server.stop();
  await rm(scratch, { recursive: true });
});

/** The backup, which ends after position 3, is restored and served at the same address. */
async function restored(): Promise<void> {
  const { address } = server;
  await server.stop();
  const target = join(scratch, `restored-${Date.now()}`);
  await restore({ backup: join(scratch, "backup"), target });
  const port = address.slice(address.lastIndexOf(":") + 1);
  server = await startTestServer(["--data", target, "--port", port]);
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("a subscription", () => {
  test("that was ahead of the restored store ends, with what both have in common", async () => {
    const { epoch: first } = await client.append("s", [added(4), added(5)]);
    const seen: number[] = [];
    let restoring: Promise<unknown> | undefined;
    const following = (async () => {
      for await (const message of client.subscribe({ stream: "s" }).messages()) {
        if (message.kind === "events") seen.push(...message.events.map(({ data }) => data.n));
        if (message.kind !== "caught-up") continue;
        restoring ??= restored().then(() => client.append("s", [14, 15, 16].map(added)));
      }
    })();
    const error = await rejectionOf(following);
    const { epoch, head } = await client.info();
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    expect(error).toBeInstanceOf(EpochMismatchError);
    expect(error).toMatchObject({
      code: "EPOCH_MISMATCH",
      askedEpoch: first,
      epoch,
      sharedThrough: 3,
    });
    await restoring;
    expect(head).toBeLessThanOrEqual(6);
  });

  test("that was not ahead goes on in the new epoch, and says so", async () => {
    const messages: SubscriptionMessage<unknown>[] = [];
    let restoring: Promise<unknown> | undefined;
    for await (const message of client.subscribe({ stream: "s" }).messages()) {
      messages.push(message);
      if (message.kind === "events" && message.position > 3) break;
      if (message.kind !== "caught-up") continue;
      restoring ??= restored().then(() => client.append("s", added(4)));
    }
    await restoring;
    const { epoch } = await client.info();
    expect(messages[0]?.epoch).not.toBe(epoch);
    expect(messages.at(-1)).toMatchObject({ kind: "events", position: 4, epoch });
  });

  test("from the end begins at a position with its epoch", async () => {
    const messages = client.subscribe({ after: "end" }).messages()[Symbol.asyncIterator]();
    const { value } = await messages.next();
    expect(value).toMatchObject({
      kind: "caught-up",
      position: 3,
      epoch: (await client.info()).epoch,
    });
    await messages.return?.();
  });
});

describe("what was decided before a restore", () => {
  test("is refused afterwards: appends, checkpoints, snapshots, waits, groups", async () => {
    const { lastPosition, version, epoch } = await client.append("s", [added(4), added(5)]);
    const reading = client.read({ stream: "s" });
    await reading.toArray();
    expect(reading.end).toMatchObject({ after: 5, epoch });
    await restored();
    await client.append("s", [14, 15, 16].map(added));
    const condition = { query: [{ types: ["None"] }], after: reading.end.after };
    const state = Buffer.from("{}");
    const consumer = "c";
    const attempts = [
      client.append("s", added(6), { expect: version, epoch }),
      client.append("s", added(6), { condition, epoch }),
      client.append("s", added(6), { checkpoint: { consumer, position: lastPosition, epoch } }),
      client.checkpoints.save(consumer, lastPosition, { epoch }),
      client.waitFor({ consumer }, lastPosition, { epoch }),
      client.snapshots.save({ stream: "s", version, state, epoch }),
      client.groups.create("g", { after: lastPosition, epoch }),
      client.groups.replay("mails", { positions: [1, lastPosition], epoch }),
      client.groups.discard("mails", { positions: [lastPosition, 1], epoch }),
      client.read({ from: { position: lastPosition + 1 }, epoch }).toArray(),
    ];
    for (const error of await Promise.all(attempts.map(rejectionOf))) {
      expect(error).toBeInstanceOf(EpochMismatchError);
    }
    expect((await client.info()).head).toBe(6);
    const saved = await client.checkpoints.save(consumer, 3, { epoch });
    expect(saved.epoch).toBe((await client.info()).epoch);
  });

  test("is sent with its epoch by repositories and boundaries", async () => {
    const decider: Decider<number, "count" | "restore", Added> = {
      initial: () => 0,
      evolve: (count) => count + 1,
      decide: (_, count) => added(count),
    };
    const handled = await repository(client, decider).handle("s", "count");
    expect(handled).toMatchObject({ version: 4, epoch: (await client.info()).epoch });
    const query = [{ types: ["Added"] }];
    const bounded = await boundary(client, decider).handle(query, "count", { stream: "s" });
    expect(bounded.epoch).toBe(handled.epoch);
    const loaded = await repository(client, decider).load("s");
    await restored();
    await client.append("s", [14, 15].map(added));
    const { version, epoch } = loaded;
    const late = client.append("s", added(9), { expect: version, epoch });
    expect(await rejectionOf(late)).toMatchObject({ code: "EPOCH_MISMATCH", sharedThrough: 3 });
  });
});

describe("a projection", () => {
  const sums: Projection<Added, DatabaseSync> = {
    name: "sums",
    version: 1,
    setup: (db) => db.exec("DROP TABLE IF EXISTS seen; CREATE TABLE seen (n INTEGER)"),
    when: { Added: ({ data }, db) => void db.prepare("INSERT INTO seen VALUES (?)").run(data.n) },
  };
  let database: DatabaseSync;
  beforeEach(() => {
    database = new DatabaseSync(":memory:");
  });
  const seen = () =>
    database
      .prepare("SELECT n FROM seen")
      .all()
      .map((row) => row["n"]);

  /** Runs the projection up to the head. Returns the error with which it fails, if it does. */
  async function runToHead(options: RunOptions = {}): Promise<unknown> {
    const { head } = await client.info();
    const running = runProjection(client, sums, sqliteReadModel(database), options);
    const failed = rejectionOf(running.done);
    await Promise.race([running.waitFor(head).catch(() => {}), failed]);
    await running.stop();
    return failed;
  }

  test("that was ahead of the restored store fails, and its read model stays as it is", async () => {
    await client.append("s", [added(4), added(5)]);
    expect(await runToHead()).toBeUndefined();
    await restored();
    await client.append("s", [14, 15, 16].map(added));
    expect(await runToHead()).toMatchObject({ code: "EPOCH_MISMATCH", sharedThrough: 3 });
    expect(seen()).toEqual([1, 2, 3, 4, 5]);
    expect(await runToHead({ rebuild: true })).toBeUndefined();
    expect(seen()).toEqual([1, 2, 3, 14, 15, 16]);
  });

  test("that was not ahead goes on, and is ahead in the new epoch", async () => {
    expect(await runToHead()).toBeUndefined();
    await restored();
    await client.append("s", [added(4), added(5)]);
    expect(await runToHead()).toBeUndefined();
    expect(seen()).toEqual([1, 2, 3, 4, 5]);
    await restored();
    await client.append("s", [14, 15, 16].map(added));
    expect(await runToHead()).toMatchObject({ code: "EPOCH_MISMATCH", sharedThrough: undefined });
    expect(seen()).toEqual([1, 2, 3, 4, 5]);
  });

  test("of an earlier version, which has stored no epoch, stores one as it goes on", async () => {
    database.exec(`CREATE TABLE annals_checkpoint (projection TEXT PRIMARY KEY,
      position INTEGER NOT NULL, store_id TEXT NOT NULL, version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID; CREATE TABLE seen (n INTEGER)`);
    const { storeId, epoch } = await client.info();
    const insert = database.prepare("INSERT INTO annals_checkpoint VALUES ('sums', 2, ?, 1)");
    insert.run(storeId);
    expect(await runToHead()).toBeUndefined();
    expect(seen()).toEqual([3]);
    const rows = database.prepare("SELECT position, epoch FROM annals_checkpoint").all();
    expect(rows.map((row) => ({ ...row }))).toEqual([{ position: 3, epoch }]);
  });
});
