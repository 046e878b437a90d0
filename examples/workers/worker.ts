// A worker process: takes orders from the group and packs them. If the handler returns, the order
// is acknowledged; if it throws, the order is delivered again and parked in the end.

import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../../src/client/sdk.ts";
import { group, shopEvents } from "./orders.ts";

const [address = "", name = ""] = process.argv.slice(2);
const client = connect({ address, events: shopEvents, retry: { delayMaxMs: 200 } });
const closing = new AbortController();
process.once("SIGTERM", () => closing.abort());

const say = (what: object) =>
  process.stdout.write(`${JSON.stringify({ worker: name, ...what })}\n`);

/** The customer's present address, by the last event about it. */
async function addressOf(customer: string): Promise<string> {
  for await (const event of client.read({ stream: customer, backwards: true })) {
    if (event.type === "AddressGiven") return `${event.data.street}, ${event.data.town}`;
  }
  throw new Error(`nobody knows where ${customer} lives`);
}

const options = { member: name, permits: 2, signal: closing.signal };
await client.group(group, options).work(async ({ type, stream, data }, { attempt }) => {
  if (type !== "OrderPlaced") return;
  const { order } = data;
  say({ took: order, attempt });
  await pause(40);
  say({ packed: order, customer: stream, for: await addressOf(stream) });
});
client.close();
