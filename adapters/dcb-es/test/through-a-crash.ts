// Writers that count by decision models, and a subscription, while the server is killed and comes
// back. Says RESTART where that is to happen, and at the end what is wrong.

import { once } from "node:events";
import {
  AppendConditionError,
  buildDecisionModel,
  Query,
  Tags,
  type EventHandlerWithState,
} from "@dcb-es/event-store";
import { AnnalsEventStore } from "annals-dcb-es";
import { connect } from "annals-client";

const writers = 4;
const eventsEach = 60;
const client = connect({ address: process.env["ANNALS_ADDRESS"], timeoutMs: 120_000 });
const store = new AnnalsEventStore(client);
const tags = Tags.from(["counter=1"]);
const counted = Query.fromItems([{ types: ["Counted"], tags }]);
const counter: EventHandlerWithState<any, number> = {
  tagFilter: tags,
  init: 0,
  when: { Counted: (_: unknown, count: number) => count + 1 },
};

const acknowledged: number[] = [];
let crashes = 0;

async function crash(): Promise<void> {
  console.log("RESTART");
  await once(process.stdin, "data");
  crashes += 1;
}

let crashed: Promise<void> | undefined;
async function write(): Promise<void> {
  for (let stored = 0; stored < eventsEach;) {
    const { state, appendCondition } = await buildDecisionModel(store, { counter });
    const events = { type: "Counted", tags, data: state.counter + 1, metadata: {} };
    try {
      await store.append({ events, condition: appendCondition });
    } catch (error) {
      if (!(error instanceof AppendConditionError)) throw error;
      continue;
    }
    acknowledged.push(state.counter + 1);
    stored += 1;
    if (acknowledged.length === (writers * eventsEach) / 2) crashed = crash();
  }
}

const seen: number[] = [];
async function follow(): Promise<void> {
  for await (const { event } of store.subscribe(counted)) {
    seen.push(event.data as number);
    if (seen.length === writers * eventsEach) return;
  }
}

await Promise.all([follow(), ...Array.from({ length: writers }, write)]);
await crashed;
const read: number[] = [];
for await (const { event } of store.read(counted)) read.push(event.data as number);
const expected = Array.from({ length: writers * eventsEach }, (_, i) => i + 1);
const lost = expected.filter((n) => !read.includes(n) || !acknowledged.includes(n));
const doubled = read.filter((n, i) => read.indexOf(n) !== i);
const outOfOrder = seen.filter((n, i) => n !== i + 1).length;
console.log(JSON.stringify({ crashes, lost, doubled, outOfOrder }));
client.close();
process.stdin.destroy();
