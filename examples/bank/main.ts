// The bank, told in the terminal. Accounts are opened under a rule over all of them, money moves
// between two streams at a time, a read model follows, the store is killed meanwhile, and every
// cent is accounted for. Ends with an error if one is not.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  connect,
  runProjection,
  type AnnalsClient,
  type ProjectionStatus,
  type RunningProjection,
  type RunOptions,
} from "../../src/client/sdk.ts";
import { sqliteReadModel } from "../../src/client/projection/sqlite-read-model.ts";
import { accountsOf } from "./account.ts";
import { balances, type AccountRow } from "./balances.ts";
import { bankEvents, streamOf, type BankEvent } from "./events.ts";
import { openAccount } from "./opening.ts";
import { startReadSide, type ReadSide } from "./read-side.ts";
import { RefusedError } from "./refusal.ts";
import { storeProcess } from "./store-process.ts";
import { makeTransfer } from "./transfer.ts";

const coloured = process.stdout.isTTY && !process.env["NO_COLOR"];
const title = (text: string) => console.log(coloured ? `\n\u001B[1m${text}\u001B[0m` : `\n${text}`);
const say = (what: string, text: string) => console.log(`  ${what.padEnd(10)}${text}`);
const euros = (cents: number) => `${(cents / 100).toFixed(2)} EUR`;

const folder = mkdtempSync(join(tmpdir(), "annals-bank-"));
const store = await storeProcess(join(folder, "store"));
const newClient = () => connect({ address: store.address, events: bankEvents, timeoutMs: 60_000 });
const client = newClient();
const database = new DatabaseSync(join(folder, "read-model.db"));
const clerks = Array.from({ length: 4 }, newClient);

/** The money paid in, less the money taken out: the sum of all balances. */
let paidIn = 0;

async function refused(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    return say("refused", error.message);
  }
  throw new Error("this should have been refused");
}

function follow(options: RunOptions = {}): RunningProjection {
  const running = runProjection(client, balances, sqliteReadModel(database), options);
  // An error is thrown where the projection is awaited, and at the end of the tour.
  running.done.catch(() => {});
  return running;
}

async function shown(readSide: ReadSide, after: number): Promise<AccountRow[]> {
  const response = await fetch(`${readSide.url}/accounts?after=${after}`);
  if (!response.ok) throw new Error(`the read side says ${response.status}`);
  const rows = (await response.json()) as AccountRow[];
  for (const { number, owner, balance } of rows) {
    say("balance", `${number}  ${owner.padEnd(5)}${euros(balance).padStart(12)}`);
  }
  const total = rows.reduce((sum, { balance }) => sum + balance, 0);
  if (total !== paidIn) throw new Error(`${total} cents are there, ${paidIn} should be`);
  say("total", `${euros(total)}: what was paid in`);
  return rows;
}

async function deposit(number: string, cents: number): Promise<number> {
  const command = { do: "deposit", cents } as const;
  const { state, position } = await accountsOf(client).handle(streamOf(number), command);
  paidIn += cents;
  say("deposit", `${euros(cents)} for ${state.owner}, who has ${euros(state.balance)} now`);
  return position;
}

// ---- the tour -----------------------------------------------------------------------------------

async function openings(): Promise<void> {
  title("Accounts, and a rule over all of them: one for each e-mail address");
  for (const [number, owner] of [
    ["1001", "Ann"],
    ["1002", "Ben"],
  ] as const) {
    const email = `${owner.toLowerCase()}@example.com`;
    const { position } = await openAccount(client, { number, owner, email });
    say("opened", `${number} for ${owner}, at position ${position}`);
  }
  await refused(openAccount(client, { number: "1009", owner: "Ann", email: "ANN@example.com" }));
  await refused(openAccount(client, { number: "1001", owner: "Dan", email: "dan@example.com" }));
  const wanted = { owner: "Cleo", email: "cleo@example.com" };
  const outcomes = await Promise.allSettled(
    clerks.map((clerk, index) => openAccount(clerk, { ...wanted, number: `20${index}1` })),
  );
  const opened = outcomes.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  if (opened.length !== 1) throw new Error(`Cleo has ${opened.length} accounts`);
  say("opened", `one for Cleo, though ${clerks.length} clerks tried at the same moment`);
}

async function money(readSide: ReadSide): Promise<void> {
  title("Money, and a transfer: two streams, one append");
  await deposit("1001", 100_00);
  await deposit("1002", 50_00);
  const overdrawn = { do: "withdraw", cents: 500_00 } as const;
  await refused(accountsOf(client).handle(streamOf("1002"), overdrawn));
  const made = { transfer: "rent", from: "1001", to: "1002", cents: 30_00 };
  const { appended } = await makeTransfer(client, made);
  const places = appended.streams.map(({ stream, lastVersion }) => `${stream}@${lastVersion}`);
  say("transfer", `${euros(made.cents)}: ${places.join(" and ")}`);
  await refused(makeTransfer(client, made));
  await refused(makeTransfer(client, { ...made, transfer: "yacht", cents: 900_000_00 }));
  say("read side", `${readSide.url}/accounts?after=${appended.lastPosition}`);
  await shown(readSide, appended.lastPosition);
}

/** Money from before there were cents: an old event, converted when it is read. */
async function oldMoney(readSide: ReadSide): Promise<void> {
  title("An event of the bank's first year, in whole euros and under another name");
  const { rpc } = client;
  const value = Buffer.from('{"euros":25}');
  const event = { type: "EurosPaidIn", payload: { case: "data", value } as const };
  const contentType = "application/json";
  const stream = streamOf("1001");
  const { lastPosition } = await rpc.append({ stream, events: [{ ...event, contentType }] });
  paidIn += 25_00;
  const [old] = await client.read({ from: { position: Number(lastPosition) } }).toArray();
  if (old?.type !== "MoneyDeposited") throw new Error(`it is read as ${old?.type}`);
  const payload = Buffer.from(old.payload).toString();
  say("stored", `EurosPaidIn ${payload}`);
  say("read", `${old.type} ${JSON.stringify(old.data)}`);
  await shown(readSide, old.position);
}

async function rush(readSide: ReadSide, running: RunningProjection): Promise<void> {
  title("A rush: four clerks move money between the same two accounts, and the store is killed");
  let attempts = 0;
  let last = 0;
  const moves = clerks.map(async (clerk, index) => {
    for (let round = 0; round < 12; round += 1) {
      const [from, to] = index % 2 === 0 ? ["1001", "1002"] : ["1002", "1001"];
      const transfer = `rush-${index}-${round}`;
      const cents = 25 * (index + 1) + round;
      const made = await makeTransfer(clerk, { transfer, from, to, cents });
      attempts += made.attempts;
      last = Math.max(last, made.appended.lastPosition);
      if (index === 0 && round === 5) {
        await store.kill();
        say("killed", "the store is gone, in the middle of everything");
        store.start();
      }
    }
  });
  await Promise.all(moves);
  const sent = await client.read({ query: { types: ["MoneySent"] } }).toArray();
  const names = new Set(sent.map((one) => (one.type === "MoneySent" ? one.data.transfer : "")));
  if (sent.length !== 49 || names.size !== 49) throw new Error(`${sent.length} were sent`);
  say("done", `48 transfers in ${attempts} attempts: commands that met a conflict decided again`);
  await running.waitFor(last, { timeoutMs: 60_000 });
  await shown(readSide, last);
}

async function timeTravel(): Promise<void> {
  title("Snapshots and time travel");
  const accounts = accountsOf(client);
  for (let index = 0; index < 3; index += 1) await deposit("1002", 5_00);
  await accounts.settled();
  const { version, snapshotVersion, state } = await accounts.load(streamOf("1002"));
  const folded = version - snapshotVersion;
  const from = snapshotVersion === 0 ? "no snapshot" : `a snapshot at version ${snapshotVersion}`;
  say("load", `${state.owner}: ${from}, events since then: ${folded}; ${euros(state.balance)}`);
  for (const at of [1, 2, 3]) {
    const then = await accounts.load(streamOf("1002"), { version: at });
    say("replay", `at version ${at} it was ${euros(then.state.balance)}`);
  }
}

async function rebuild(readSide: ReadSide, before: RunningProjection): Promise<void> {
  title("The read model, built anew from the first event");
  await before.stop();
  const seen: string[] = [];
  const onStatus = ({ state, position, head }: ProjectionStatus) => {
    if (state === "rebuilding") seen.push(`${position} of ${head}`);
  };
  const { head } = await client.info();
  const running = follow({ rebuild: true, batchEventsMax: 40, onStatus });
  await running.waitFor(head, { timeoutMs: 60_000 });
  say("progress", seen.join(", "));
  await running.stop();
  const again = follow();
  await again.waitFor(head);
  const other = await startReadSide(database, again);
  await shown(other, head);
  const response = await fetch(`${other.url}/accounts/1002`);
  const { lines } = (await response.json()) as { lines: { what: string; cents: number }[] };
  for (const { what, cents } of lines.slice(0, 3)) say("statement", `${what}: ${euros(cents)}`);
  await other.close();
  await again.stop();
  await Promise.all([before.done, running.done, again.done, readSide.close()]);
}

async function tour(bank: AnnalsClient<BankEvent>): Promise<void> {
  title("A bank, its store, its read model");
  store.start();
  await bank.ready(60_000);
  const { storeId, serverVersion } = await bank.info();
  say("store", `${store.address}, version ${serverVersion}, ${storeId}`);
  const running = follow();
  const readSide = await startReadSide(database, running);
  await openings();
  await money(readSide);
  await oldMoney(readSide);
  await rush(readSide, running);
  await timeTravel();
  await rebuild(readSide, running);
  title("Every cent is accounted for.");
}

try {
  await tour(client);
} finally {
  for (const one of [client, ...clerks]) one.close();
  await store.stop();
  database.close();
  rmSync(folder, { recursive: true, force: true });
}
