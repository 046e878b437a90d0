// The bank of examples/: its rules under concurrency, its read side, and its tour from end to end.
import { execFile } from "node:child_process";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { accountsOf } from "../../examples/bank/account.ts";
import { balances } from "../../examples/bank/balances.ts";
import { bankEvents, streamOf, type BankEvent } from "../../examples/bank/events.ts";
import { openAccount } from "../../examples/bank/opening.ts";
import { startReadSide, type ReadSide } from "../../examples/bank/read-side.ts";
import { RefusedError } from "../../examples/bank/refusal.ts";
import { makeTransfer } from "../../examples/bank/transfer.ts";
import {
  connect,
  defineEvents,
  runProjection,
  type AnnalsClient,
  type RunningProjection,
} from "../../src/client/sdk.ts";
import { sqliteReadModel } from "../../src/client/projection/sqlite-read-model.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const cleanUp: (() => Promise<void> | void)[] = [];
let server: TestServer;
let client: AnnalsClient<BankEvent>;

beforeEach(async () => {
  server = await startTestServer();
  cleanUp.push(() => server.stop());
  client = newClient();
});
afterEach(async () => {
  for (const step of cleanUp.splice(0).toReversed()) await step();
});

function newClient(): AnnalsClient<BankEvent> {
  const made = connect({ address: server.address, events: bankEvents });
  cleanUp.push(() => made.close());
  return made;
}

async function opened(number: string, cents: number): Promise<void> {
  await openAccount(client, { number, owner: `Owner ${number}`, email: `${number}@example.com` });
  if (cents > 0) await accountsOf(client).handle(streamOf(number), { do: "deposit", cents });
}

const balanceOf = async (number: string) =>
  (await accountsOf(client).load(streamOf(number))).state.balance;

describe("the bank", () => {
  test("opens one account per address and per number, even if several clients ask at once", async () => {
    const same = { owner: "Ann", email: "ann@example.com" };
    const wanted = [
      ...["1", "2", "3"].map((number) => ({ ...same, number })),
      ...["x", "y", "z"].map((name) => ({
        number: "9",
        owner: name,
        email: `${name}@example.com`,
      })),
    ];
    const outcomes = await Promise.allSettled(wanted.map((one) => openAccount(newClient(), one)));
    const got = outcomes.map(({ status }) => status === "fulfilled");
    expect(got.slice(0, 3).filter(Boolean)).toHaveLength(1);
    expect(got.slice(3).filter(Boolean)).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(RefusedError);
    }
  });

  test("never lets more be sent than there is, however many send at once", async () => {
    await opened("1", 100);
    await opened("2", 0);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) =>
        makeTransfer(newClient(), { transfer: `t-${index}`, from: "1", to: "2", cents: 30 }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect([await balanceOf("1"), await balanceOf("2")]).toEqual([10, 90]);
  });

  test("makes a transfer once, however often it is sent", async () => {
    await opened("1", 100);
    await opened("2", 0);
    const made = { transfer: "rent", from: "1", to: "2", cents: 10 };
    const outcomes = await Promise.allSettled(
      Array.from({ length: 4 }, () => makeTransfer(newClient(), made)),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(makeTransfer(client, made)).rejects.toThrow("was made already");
    expect([await balanceOf("1"), await balanceOf("2")]).toEqual([90, 10]);
  });

  test.each([
    ["from nowhere", { from: "0", to: "1" }, "no such account"],
    ["to nowhere", { from: "1", to: "0" }, "no such account"],
    ["to itself", { from: "1", to: "1" }, "the same account"],
    ["of too much", { from: "1", to: "2" }, "100 cents, not 101"],
  ])("refuses a transfer %s", async (_, between, why) => {
    await opened("1", 100);
    await opened("2", 0);
    const transfer = makeTransfer(client, { transfer: "t", cents: 101, ...between });
    await expect(transfer).rejects.toThrow(why);
    expect(await balanceOf("1")).toBe(100);
  });

  test("does not believe an event that makes no sense", async () => {
    await opened("1", 100);
    const odd = client.withEvents(defineEvents<Extract<BankEvent, { type: "MoneyDeposited" }>>());
    await odd.append(streamOf("1"), { type: "MoneyDeposited", data: { cents: -5 } });
    await expect(balanceOf("1")).rejects.toMatchObject({ code: "MALFORMED_EVENT" });
  });
});

describe("the read side", () => {
  let readSide: ReadSide;
  let running: RunningProjection;
  beforeEach(async () => {
    const database = new DatabaseSync(":memory:");
    cleanUp.push(() => database.close());
    running = runProjection(client, balances, sqliteReadModel(database));
    cleanUp.push(() => running.stop());
    readSide = await startReadSide(database, running);
    cleanUp.push(() => readSide.close());
  });

  const get = async (path: string) => {
    const response = await fetch(`${readSide.url}${path}`);
    const body: unknown = await response.json();
    return { status: response.status, body };
  };

  test("shows a client its own write if the client passes the write's position", async () => {
    await opened("1", 100);
    await opened("2", 50);
    const made = { transfer: "t", from: "1", to: "2", cents: 30 };
    const { appended } = await makeTransfer(client, made);
    expect(await get(`/accounts?after=${appended.lastPosition}`)).toEqual({
      status: 200,
      body: [
        { number: "1", owner: "Owner 1", balance: 70 },
        { number: "2", owner: "Owner 2", balance: 80 },
      ],
    });
    expect(await get("/accounts/2")).toMatchObject({
      status: 200,
      body: {
        balance: 80,
        lines: [
          { what: "from 1", cents: 30, position: appended.lastPosition },
          { what: "paid in", cents: 50 },
        ],
      },
    });
  });

  test("answers what it cannot", async () => {
    await opened("1", 0);
    await running.waitFor(1);
    expect((await get("/accounts/2")).status).toBe(404);
    expect((await get("/elsewhere")).status).toBe(404);
    expect((await get("/accounts?after=soon")).status).toBe(400);
    expect((await get("/accounts?after=1000")).status).toBe(503);
  });
});

test("the tour ends well", async () => {
  const main = fileURLToPath(new URL("../../examples/bank/main.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main]);
  expect(stderr).not.toContain("Error");
  for (const line of [
    /refused +ANN@example\.com has an account/,
    /opened +one for Cleo, though 4 clerks tried/,
    /transfer +30\.00 EUR: account-1001@3 and account-1002@3/,
    /refused +the transfer rent was made already/,
    /read +MoneyDeposited \{"cents":2500\}/,
    /done +48 transfers in \d+ attempts/,
    /load +Ben: a snapshot at version \d+/,
    /progress +0 of 107, 40 of 107/,
    /Every cent is accounted for\.\n$/,
  ]) {
    expect(stdout).toMatch(line);
  }
});
