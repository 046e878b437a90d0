// `annals backup`: copies a store into a folder of checksummed files, even while a server has the
// store open. A later run adds what the store has gained since.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { unfinishedName } from "../storage/leveldb/offline/backup-list.ts";
import { eventsCounted, byteCount, grouped } from "./display.ts";
import { jsonOption, parse } from "./options.ts";
import { positionProgress } from "./progress.ts";
import { exitCode } from "./exit-code.ts";
import { print, type Terminal } from "./terminal.ts";

const options = { ...jsonOption, scratch: { type: "string" } } as const;

export async function backup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 2 });
  const [store = "", target = ""] = positionals;
  const { backUp } = await import("../storage/leveldb/offline/backup.ts");
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
    const added = `${eventsCounted(last - first + 1)} added, ${byteCount(bytes)} written`;
    const text = `${added}; the backup ends at position ${grouped(last)}, chain ${chain}\n`;
    await print(terminal.output, values.json === true ? `${JSON.stringify(report)}\n` : text);
    return exitCode.ok;
  } catch (error) {
    await progress.end();
    if (existsSync(join(target, unfinishedName))) {
      await print(
        terminal.errors,
        `${target} contains an unfinished backup: run the same command again to complete it\n`,
      );
    }
    throw error;
  }
}
