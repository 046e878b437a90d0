// The entry point of servers that are broken on purpose: the shipped sources, with changes made as
// they are loaded (mutants.ts), over a LevelDB that kills the process at given points
// (failpoints.ts).
import { registerHooks } from "node:module";
import { arm, saidOf } from "./failpoints.ts";

process.env["UV_THREADPOOL_SIZE"] ??= "8";

const mutantName = process.env["CAMPAIGN_MUTANT"];
if (mutantName !== undefined) {
  const { mutants } = await import("../broken-servers/mutants.ts");
  const { groupMutants } = await import("../group-work/mutants.ts");
  const { reclaimMutants } = await import("../reclaim/mutants.ts");
  const { greedyMutants } = await import("../greedy/mutants.ts");
  const known = { ...mutants, ...groupMutants, ...reclaimMutants, ...greedyMutants };
  const mutant = known[mutantName];
  if (mutant === undefined) throw new Error(`there is no mutant ${mutantName}`);
  const left = new Set(mutant.edits.map(({ file }) => file));
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      const edits = mutant.edits.filter(({ file }) => url.endsWith(`/src/${file}`));
      if (edits.length === 0) return loaded;
      let source = Buffer.from(loaded.source as Uint8Array).toString("utf8");
      for (const { file, find, replace } of edits) {
        // A mutant that cannot be applied any more would prove nothing.
        if (source.split(find).length !== 2) throw new Error(`${mutantName}: not once in ${file}`);
        source = source.replace(find, () => replace);
        left.delete(file);
      }
      return { ...loaded, source };
    },
  });
  process.once("exit", () => {
    if (left.size > 0) process.stderr.write(`never loaded: ${[...left].join()}\n`);
  });
}

const failpoint = process.env["CAMPAIGN_FAILPOINT"];
// A mutant that acts too early, or in two steps instead of one, waits here in between. With
// `hold:COUNT`, the COUNTth wait has no end, and the campaign is told. It then kills the server at
// exactly that moment, however busy the machine is.
const holdAt = Number(/^hold:(\d+)$/.exec(failpoint ?? "")?.[1] ?? 0);
let waits = 0;
const campaignHold = (): Promise<void> => {
  if (++waits !== holdAt) return Promise.resolve();
  process.stdout.write(`${saidOf.held}\n`);
  return new Promise(() => {});
};
Object.assign(globalThis, { campaignHold });

if (failpoint !== undefined) arm(failpoint);

const { runCommand } = await import("../../../src/cli/run.ts");
process.exitCode = await runCommand(process.argv.slice(2));
