// `annals backup`: copies a store into a folder of checksummed files: that of a server, or that in
// a folder, even while a server has it open. A later run adds what the store has gained since.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BackupRefused } from "../../storage/leveldb/offline/backup-file.ts";
import type { BackupReport } from "../../storage/leveldb/offline/backup-receive.ts";
import { unfinishedName } from "../../storage/leveldb/offline/backup-list.ts";
import { printAnswer } from "../connection/answer.ts";
import { withSession, type ConnectionValues } from "../connection/session.ts";
import { byteCount, counted, grouped } from "../output/display.ts";
import {
  CommandError,
  CommandStopped,
  connectionOptions,
  durationMs,
  exitCode,
  jsonOption,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { refuseArray } from "../output/form.ts";
import { positionProgress } from "../output/progress.ts";
import { say, type Terminal } from "../output/terminal.ts";
import { isAddress } from "./address.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  scratch: { type: "string" },
  every: { type: "string" },
  keep: { type: "string" },
} as const;
type Values = ReturnType<typeof parse<typeof options>>["values"];

const retryMs = 60_000;

export async function backup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 2 });
  const [store = "", target = ""] = positionals;
  const keep =
    values.keep === undefined ? undefined : wholeNumber(values.keep, "--keep", { min: 1 });
  const run = async (): Promise<void> => {
    if (keep === undefined) return backUpInto(store, target, values, terminal);
    const { beginGeneration, forgetGenerations } = await import("./generations.ts");
    await backUpInto(store, await beginGeneration(target), values, terminal);
    await forgetGenerations(target, keep);
  };
  if (values.every !== undefined) refuseArray(terminal, "backup --every");
  if (values.every === undefined) await run();
  else await repeated(run, durationMs(values.every, "--every"), terminal);
  return exitCode.ok;
}

/** Until the command is interrupted. A run that fails is told, and repeated soon. */
async function repeated(
  run: () => Promise<void>,
  everyMs: number,
  { signal, errors }: Terminal,
): Promise<void> {
  while (!signal.aborted) {
    const begun = Date.now();
    let pauseMs = everyMs;
    try {
      await run();
    } catch (error) {
      if (signal.aborted || error instanceof UsageError) throw error;
      const cause = error instanceof CommandStopped ? error.cause : error;
      await say(errors, `the backup failed: ${(cause as Error).message}`);
      pauseMs = Math.min(everyMs, retryMs);
    }
    const leftMs = Math.max(0, begun + pauseMs - Date.now());
    await setTimeout(leftMs, undefined, { signal }).catch(() => {});
  }
}

async function backUpInto(
  store: string,
  target: string,
  values: Values,
  terminal: Terminal,
): Promise<void> {
  const progress = positionProgress(terminal, "backed up");
  const receiving = {
    target,
    progress: (position: number, last: number) => progress.tell(position, last),
    signal: terminal.signal,
  };
  try {
    const report = isAddress(store)
      ? await ofServer({ ...values, address: store }, terminal, receiving)
      : await ofFolder(store, values, receiving);
    await progress.end();
    const { first, last, bytes, chain } = report;
    const added = `${counted(last - first + 1, "event")} added, ${byteCount(bytes)} written`;
    const words = `${added}; the backup ends at position ${grouped(last)}, chain ${chain}`;
    await printAnswer(terminal, values, report, words);
  } catch (error) {
    await progress.end();
    if (!existsSync(join(target, unfinishedName))) throw error;
    const hint =
      error instanceof BackupRefused
        ? "a sound store with its history can complete it"
        : "run the same command again to complete it";
    throw new CommandStopped(error, `${target} contains an unfinished backup: ${hint}`);
  }
}

interface Receiving {
  readonly target: string;
  readonly progress: (position: number, last: number) => void;
  readonly signal: AbortSignal;
}

async function ofFolder(
  store: string,
  values: Values,
  receiving: Receiving,
): Promise<BackupReport> {
  const [option] = Object.keys(connectionOptions).filter((name) => name in values);
  if (option !== undefined) throw new UsageError(`--${option}: ${store} is a folder, no server`);
  const { backUp } = await import("../../storage/leveldb/offline/backup.ts");
  return backUp({ ...receiving, store, scratch: values.scratch });
}

async function ofServer(
  values: ConnectionValues & Pick<Values, "scratch">,
  terminal: Terminal,
  receiving: Receiving,
): Promise<BackupReport> {
  if (values.scratch !== undefined) throw new CommandError("--scratch: is for a store's folder");
  const { receiveBackup } = await import("../../storage/leveldb/offline/backup-receive.ts");
  const { copyFrom } = await import("../../follow/copy-messages.ts");
  return withSession(values, terminal, ({ backups, streaming }) =>
    receiveBackup({ ...receiving, open: (start) => copyFrom(backups, start, streaming) }),
  );
}
