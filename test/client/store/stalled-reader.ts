// A process of its own that takes the first event of a reading or a subscription and then stands
// still for a while, with calls beside it; it says what memory that took, and how much it read
// after. Usage: stalled-reader.ts ADDRESS read|subscribe COUNT
import { connect } from "../../../src/client/sdk.ts";

const [address = "", verb, count = ""] = process.argv.slice(2);
const client = connect({ address });
await client.info();
global.gc?.();
const before = process.memoryUsage();
const events = verb === "read" ? client.read() : client.subscribe();
let seen = 0;
let report = {};
for await (const _ of events) {
  seen += 1;
  if (seen === 1) {
    for (let round = 0; round < 200; round += 1) await client.info();
    global.gc?.();
    const { rss, arrayBuffers } = process.memoryUsage();
    report = {
      rssBytes: rss - before.rss,
      bufferBytes: arrayBuffers - before.arrayBuffers,
    };
  }
  if (seen === Number(count)) break;
}
console.log(JSON.stringify({ ...report, seen }));
client.close();
