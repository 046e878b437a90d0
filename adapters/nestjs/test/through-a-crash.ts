// Commands by HTTP and projections in SQLite, while the server is killed and comes back. Says RESTART
// where that is to happen, and at the end what is wrong.

import { once } from "node:events";
import { DatabaseSync } from "node:sqlite";
import { connect } from "annals-client";
import { startApp, type AccountEvent } from "./accounts-app.js";

const streams = ["account-a", "account-b", "account-c", "account-d"];
const commandsEach = 40;
const db = new DatabaseSync(":memory:");
const { app, call, runtime } = await startApp(db);
let [crashes, acknowledged, last] = [0, 0, 0];

async function crash(): Promise<void> {
  console.log("RESTART");
  await once(process.stdin, "data");
  crashes += 1;
}

let crashed: Promise<void> | undefined;
async function command(stream: string): Promise<void> {
  for (let n = 1; n <= commandsEach; n++) {
    const { status, body } = await call(`accounts/${stream}`, { do: "deposit", amount: 1 });
    if (status !== 201) throw new Error(JSON.stringify(body));
    last = Math.max(last, body.position);
    if (++acknowledged === (streams.length * commandsEach) / 2) crashed = crash();
  }
}

await Promise.all(streams.map(command));
await crashed;
await runtime.waitFor(last, 60_000);
const client = connect<AccountEvent>({ address: process.env["ANNALS_ADDRESS"] } as never);
const [lost, doubled]: string[][] = [[], []];
for (const stream of streams) {
  const { length } = await client.read({ stream }).toArray();
  const { cents } = db.prepare("SELECT cents FROM balance WHERE stream = ?").get(stream) as any;
  const [{ count }] = db
    .prepare("SELECT count(*) AS count FROM counts WHERE stream = ?")
    .all(stream) as any;
  for (const found of [length, cents / 100, count]) {
    if (found < commandsEach) lost?.push(`${stream}: ${found}`);
    if (found > commandsEach) doubled?.push(`${stream}: ${found}`);
  }
}
console.log(JSON.stringify({ crashes, lost, doubled, outOfOrder: 0 }));
client.close();
await app.close();
process.stdin.destroy();
