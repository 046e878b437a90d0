// `annals restore`: builds a store from a backup in an empty folder, with the same hash chain. The
// folder becomes a store only after everything in it was verified.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { unfinishedRestore } from "../../storage/leveldb/folder/identity.ts";
import { printAnswer } from "../connection/answer.ts";
import { counted, grouped } from "../output/display.ts";
import { CommandStopped, exitCode, jsonOption, parse } from "../arguments/options.ts";
import { positionProgress } from "../output/progress.ts";
import type { Terminal } from "../output/terminal.ts";

export async function restoreCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, jsonOption, { min: 2, max: 2 });
  const [backup = "", target = ""] = positionals;
  const restoring = await import("../../storage/leveldb/offline/restore.ts");
  const progress = positionProgress(terminal, "restored");
  try {
    const report = await restoring.restore({
      backup,
      target,
      progress: (position, last) => progress.tell(position, last),
      signal: terminal.signal,
    });
    await progress.end();
    const { head, epoch, chain, takenAt, totals } = report;
    const words =
      `${counted(totals.events, "event")} restored as of ${takenAt} and verified; ` +
      `head ${grouped(head)}, chain ${chain}; epoch ${epoch} begins`;
    await printAnswer(terminal, values, report, words);
    return exitCode.ok;
  } catch (error) {
    await progress.end();
    if (!existsSync(join(target, unfinishedRestore))) throw error;
    const hint = "run the same command to start it again";
    throw new CommandStopped(error, `${target} contains an unfinished restore: ${hint}`);
  }
}
