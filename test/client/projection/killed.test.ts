// Processes that are killed: subscriptions miss nothing, projections have each effect exactly once.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, test } from "vitest";
import { connect, StoreReplacedError } from "../../../src/client/sdk.ts";
import { startServer, temporaryFolder, type RunningServer } from "../../cli/running-server.ts";
import { killedAgainAndAgain } from "./killed-projector.ts";

const servers: RunningServer[] = [];
const clients: { close(): void }[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) await server.kill();
});

async function newServer(): Promise<RunningServer> {
  const server = await startServer(temporaryFolder());
  servers.push(server);
  return server;
}

function clientOf(server: RunningServer) {
  const retry = { attemptsMax: 1_000, delayMaxMs: 100 };
  const client = connect({ address: server.address, retry, timeoutMs: 60_000 });
  clients.push(client);
  return client;
}

test("a subscriber through the kill of its server sees every event once, in order", async () => {
  const server = await newServer();
  const [writer, reader] = [clientOf(server), clientOf(server)];
  const count = 600;
  const writing = (async () => {
    for (let number = 1; number <= count; number += 1) {
      await writer.append(`s-${number % 3}`, { type: "Counted", data: number });
      if (number === count / 2) {
        await server.kill();
        await server.start();
      }
    }
  })();
  const numbers: unknown[] = [];
  let interruptions = 0;
  const onInterruption = () => (interruptions += 1);
  for await (const { data, position } of reader.subscribe({ onInterruption })) {
    expect(position).toBe(numbers.length + 1);
    if (numbers.push(data) === count) break;
  }
  await writing;
  expect(numbers).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect(interruptions).toBeGreaterThan(0);
});

test("a subscriber whose store is replaced by another is told, before it sees an event", async () => {
  const server = await newServer();
  const client = clientOf(server);
  await client.append("s", [{ type: "A" }, { type: "B" }]);
  const messages = client.subscribe().messages()[Symbol.asyncIterator]();
  expect(await messages.next()).toMatchObject({ value: { kind: "events", position: 2 } });
  expect(await messages.next()).toMatchObject({ value: { kind: "caught-up" } });
  await server.kill();
  await server.start(temporaryFolder());
  const other = clientOf(server);
  await other.append("s", [{ type: "X" }, { type: "Y" }, { type: "Z" }]);
  expect(await messages.next()).toMatchObject({ value: { kind: "fell-behind", position: 2 } });
  await expect(messages.next()).rejects.toBeInstanceOf(StoreReplacedError);
});

test("a projection killed again and again, and its server too, has every effect once", async () => {
  const path = join(temporaryFolder(), "read-model.db");
  const expected = await killedAgainAndAgain({
    server: await newServer(),
    kind: "sqlite",
    where: path,
    kills: 4,
    paymentCount: 1_500,
    commitsUntilKill: (kill) => 3 + kill * 7,
  });
  const database = new DatabaseSync(path);
  const seen = database.prepare("SELECT position FROM seen ORDER BY position").all();
  expect(seen.map(({ position }) => position)).toEqual(expected.positions);
  const totals = database.prepare("SELECT stream, cents FROM totals").all();
  expect(Object.fromEntries(totals.map((row) => [row["stream"], row["cents"]]))).toEqual(
    expected.totals,
  );
  expect(expected.positions).toHaveLength(1_500);
  database.close();
}, 120_000);
