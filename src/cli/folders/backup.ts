// `annals backup`: copies a store into a folder of checksummed files, even while a server has the
// store open. A later run adds what the store has gained since.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { unfinishedName } from "../../storage/leveldb/offline/backup-list.ts";
import { printAnswer } from "../connection/answer.ts";
import { byteCount, counted, grouped } from "../output/display.ts";
import { CommandStopped, exitCode, jsonOption, parse } from "../arguments/options.ts";
import { positionProgress } from "../output/progress.ts";
import type { Terminal } from "../output/terminal.ts";

const options = { ...jsonOption, scratch: { type: "string" } } as const;

export async function backup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 2 });
  const [store = "", target = ""] = positionals;
  const { backUp } = await import("../../storage/leveldb/offline/backup.ts");
  const progress = positionProgress(terminal, "backed up");
  try {
    const report = await backUp({
      store,
      target,
      scratch: values.scratch,
      progress: (position, last) => progress.tell(position, last),
      signal: terminal.signal,
    });
    await progress.end();
    const { first, last, bytes, chain } = report;
    const added = `${counted(last - first + 1, "event")} added, ${byteCount(bytes)} written`;
    const words = `${added}; the backup ends at position ${grouped(last)}, chain ${chain}`;
    await printAnswer(terminal, values, report, words);
    return exitCode.ok;
  } catch (error) {
    await progress.end();
    if (!existsSync(join(target, unfinishedName))) throw error;
    const hint = "run the same command again to complete it";
    throw new CommandStopped(error, `${target} contains an unfinished backup: ${hint}`);
  }
}
