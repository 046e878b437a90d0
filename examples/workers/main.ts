// Workers that share, told in the terminal. Two processes pack the parcels of a shop, in order for
// each customer. One is killed while it holds parcels, one order cannot be packed at all, and the
// store is killed too; in the end every other order is packed. Ends with an error if one is not.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../../src/client/sdk.ts";
import { storeProcess } from "../bank/store-process.ts";
import { hire, type Said, type Worker } from "./crew.ts";
import { group, shopEvents } from "./orders.ts";

const coloured = process.stdout.isTTY && !process.env["NO_COLOR"];
const title = (text: string) => console.log(coloured ? `\n\u001B[1m${text}\u001B[0m` : `\n${text}`);
const say = (what: string, text: string) => console.log(`  ${what.padEnd(10)}${text}`);

const folder = mkdtempSync(join(tmpdir(), "annals-workers-"));
const store = await storeProcess(join(folder, "store"));
const client = connect({ address: store.address, events: shopEvents, timeoutMs: 60_000 });
const customers = ["ann", "ben", "cleo", "dan"].map((name) => `customer-${name}`);
const crew: Worker[] = [];

/** For each customer: orders as they were placed, and as they were packed for the first time. */
const placed = new Map<string, string[]>();
const packed = new Map<string, string[]>();
let heard = (_: Said): void => {};

function hear(said: Said): void {
  const { worker, took, attempt = 1 } = said;
  if (took !== undefined && attempt > 1) say(worker, `${took}, attempt ${attempt}`);
  if (said.packed !== undefined && said.customer !== undefined) {
    const before = packed.get(said.customer) ?? [];
    packed.set(said.customer, before);
    // An order may be packed twice: the worker checks whether it is already done.
    if (!before.includes(said.packed)) before.push(said.packed);
    say(worker, `packed ${said.packed} for ${said.for}`);
  }
  heard(said);
}

/** Resolves with the first thing a worker says that matches. */
function toHear(isIt: (said: Said) => boolean): Promise<Said> {
  return new Promise((resolve) => {
    heard = (said) => (isIt(said) ? resolve(said) : undefined);
  });
}

/** Resolves when everything placed so far is packed or parked. */
async function settled(): Promise<void> {
  const { head } = await client.info();
  await client.waitFor({ group }, head);
  const { parkedCount = 0 } = (await client.groups.get(group)) ?? {};
  // The store may know about it before the worker's output arrives here.
  while ([...packed.values()].flat().length < orders - parkedCount) await toHear(() => true);
}

/** Resolves when this many workers are at work. */
async function atWork(count: number): Promise<void> {
  while (((await client.groups.get(group))?.memberCount ?? 0) < count) await pause(20);
}

let orders = 0;
async function order(customer: string): Promise<string> {
  const name = `order-${++orders}`;
  await client.append(customer, { type: "OrderPlaced", data: { order: name } });
  placed.set(customer, [...(placed.get(customer) ?? []), name]);
  return name;
}

async function orderRound(rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const customer of customers.slice(0, 3)) await order(customer);
  }
}

// ---- the tour -----------------------------------------------------------------------------------

async function sharing(): Promise<void> {
  title("Two workers share the orders, each customer's in order");
  for (const [index, customer] of customers.slice(0, 3).entries()) {
    const data = { street: `${index + 1} Main Street`, town: "Springfield" };
    await client.append(customer, { type: "AddressGiven", data });
  }
  for (const name of ["Wanda", "Wilbur"]) crew.push(hire(store.address, name, hear));
  await atWork(2);
  await orderRound(2);
  await settled();
  const { position, memberCount } = (await client.groups.get(group)) ?? {};
  say("group", `at position ${position}, ${memberCount} members`);
}

async function killed(): Promise<void> {
  title("One is killed with parcels in its hands: the other gets them");
  const taken = toHear(({ worker, took }) => worker === "Wilbur" && took !== undefined);
  await orderRound(2);
  const { took = "" } = await taken;
  await crew.pop()?.kill();
  say("killed", `Wilbur, while packing ${took}`);
  await settled();
}

async function poison(): Promise<void> {
  title("An order nobody can pack holds up its own customer only, and not for long");
  crew.push(hire(store.address, "Wim", hear));
  await atWork(2);
  const bad = await order("customer-dan");
  await order("customer-ann");
  await settled();
  for await (const { event, attempts, reason } of client.groups.parked(group)) {
    if (event?.type !== "OrderPlaced" || event.data.order !== bad) throw new Error("not that one");
    say("parked", `${bad} after ${attempts} attempts: ${reason}`);
  }
}

async function storeKilled(): Promise<void> {
  title("The store is killed, and started again; the workers join again by themselves");
  const taken = toHear(({ took }) => took !== undefined);
  await orderRound(2);
  await taken;
  await store.kill();
  say("killed", "the store, in the middle of everything");
  store.start();
  await settled();
}

async function mended(): Promise<void> {
  title("What was wrong is mended, and what was put aside is handed out again");
  const data = { street: "4 Main Street", town: "Springfield" };
  await client.append("customer-dan", { type: "AddressGiven", data });
  say("replayed", `${await client.groups.replay(group)} parked`);
  await settled();
  // A parcel is packed before the store knows about it.
  while (((await client.groups.get(group))?.lagEvents ?? 0) > 0) await pause(20);
  const { lagEvents, parkedCount } = (await client.groups.get(group)) ?? {};
  say("group", `${lagEvents} to do, ${parkedCount} parked`);
}

function counted(): void {
  const count = [...packed.values()].flat().length;
  for (const [customer, theirs] of placed) {
    const done = packed.get(customer) ?? [];
    if (done.join() !== theirs.join()) throw new Error(`${customer}: ${done.join()}`);
  }
  title(`${count} orders were packed, each customer's in the order they were placed.`);
}

try {
  title("A shop, its store, a group of workers");
  store.start();
  await client.ready(60_000);
  const query = { streamPrefixes: ["customer-"] };
  const settings = { query, attemptsMax: 3, retryDelayMs: 100, leaseMs: 5_000 };
  const created = await client.groups.create(group, settings);
  say("group", `${created.name}, in order by ${JSON.stringify(created.settings.ordering)}`);
  await sharing();
  await killed();
  await poison();
  await storeKilled();
  await mended();
  // A worker that lost the store may still be at an order which another one has packed since.
  await Promise.all(crew.map((worker) => worker.stop()));
  counted();
} finally {
  await Promise.all(crew.map((worker) => worker.stop()));
  client.close();
  await store.stop();
  rmSync(folder, { recursive: true, force: true });
}
