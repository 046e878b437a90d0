// Loaded into a server under test beside its entry point (`--import`): measures the processor time
// that its main thread spends in each turn of the event loop, and writes the long ones to a file.
// Time without a processor does not count, so that a busy machine changes little.
import { appendFileSync } from "node:fs";

const file = process.env["CAMPAIGN_TURNS"];
const reportedMs = 3;

if (file !== undefined && process.argv.includes("serve")) {
  let before = process.threadCpuUsage();
  const turn = (): void => {
    const spent = process.threadCpuUsage(before);
    const ms = (spent.user + spent.system) / 1_000;
    if (ms >= reportedMs) appendFileSync(file, `${ms}\n`);
    before = process.threadCpuUsage();
    setImmediate(turn).unref();
  };
  turn();
}
