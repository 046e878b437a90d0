// Shows what a seed does: every fault that strikes, and what the checker says in the end.
//   node test/campaigns/simulation/replay.ts 1000042
import { simulate } from "./simulation.ts";

const seed = Number(process.argv[2]);
if (!Number.isSafeInteger(seed)) throw new TypeError("which seed?");
const { violations, hits, steps, events, ending } = await simulate(seed, {}, (line) => {
  console.log(line);
});
console.log({ seed, ending, steps, events, hits: Object.fromEntries(hits) });
for (const violation of violations) console.log(`VIOLATION ${violation}`);
