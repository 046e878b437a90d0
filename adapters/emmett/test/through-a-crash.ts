// Commands on shared streams, and a consumer, while the server is killed and comes back. Says
// RESTART where that is to happen, and at the end what is wrong.

import { once } from "node:events";
import { CommandHandler, type Event } from "@event-driven-io/emmett";
import { connect } from "annals-client";
import { getAnnalsEventStore } from "annals-emmett";

type Counted = Event<"Counted", { n: number }>;
const streams = ["a", "b", "c", "d"];
const writersEach = 2;
const eventsEach = 40;
const inStream = writersEach * eventsEach;
const client = connect({ address: process.env["ANNALS_ADDRESS"], timeoutMs: 120_000 });
const store = getAnnalsEventStore(client);
const handle = CommandHandler<number, Counted>({
  evolve: (_, { data }) => data.n,
  initialState: () => 0,
  retry: { onVersionConflict: 1_000 },
});

let [crashes, acknowledged] = [0, 0];
async function crash(): Promise<void> {
  console.log("RESTART");
  await once(process.stdin, "data");
  crashes += 1;
}

let crashed: Promise<void> | undefined;
async function write(stream: string): Promise<void> {
  for (let i = 0; i < eventsEach; i++) {
    await handle(store, stream, (n) => ({ type: "Counted", data: { n: n + 1 } }));
    if (++acknowledged === (streams.length * inStream) / 2) crashed = crash();
  }
}

const seen = new Map(streams.map((stream) => [stream, [] as number[]]));
const consumer = store.consumer({ batchSize: 10 });
let handled = 0;
consumer.reactor<any>({
  processorId: "counts",
  stopAfter: () => handled === streams.length * inStream,
  eachMessage: ({ data, metadata }) => {
    seen.get(metadata.streamName)?.push(data.n);
    handled += 1;
  },
});

const writers = streams.flatMap((stream) =>
  Array.from({ length: writersEach }, () => write(stream)),
);
await Promise.all([consumer.start(), ...writers]);
await crashed;
const expected = Array.from({ length: inStream }, (_, i) => i + 1);
const [lost, doubled]: unknown[][] = [[], []];
let outOfOrder = 0;
for (const stream of streams) {
  const { events } = await store.readStream<Counted>(stream);
  const read = events.map(({ data }) => data.n);
  lost?.push(...expected.filter((n) => !read.includes(n)));
  doubled?.push(...read.filter((n, i) => read.indexOf(n) !== i));
  outOfOrder += (seen.get(stream) ?? []).filter((n, i) => n !== i + 1).length;
}
console.log(JSON.stringify({ crashes, lost, doubled, outOfOrder }));
client.close();
process.stdin.destroy();
