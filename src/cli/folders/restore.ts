// `annals restore`: builds a store from a backup in an empty folder, with the same hash chain: all
// of it, or up to a position or a time. The folder becomes a store only after everything in it was
// verified.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { unfinishedRestore } from "../../storage/leveldb/folder/identity.ts";
import { readBackupList, type BackupList } from "../../storage/leveldb/offline/backup-list.ts";
import type { RestorePoint } from "../../storage/leveldb/offline/point-in-time.ts";
import type { RestoreReport } from "../../storage/leveldb/offline/restore.ts";
import { printAnswer } from "../connection/answer.ts";
import { counted, grouped } from "../output/display.ts";
import {
  CommandStopped,
  exitCode,
  jsonOption,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { isoTime, timestampOf } from "../arguments/time.ts";
import { positionProgress } from "../output/progress.ts";
import type { Terminal } from "../output/terminal.ts";
import { finishedGenerations } from "./generations.ts";

const options = {
  ...jsonOption,
  "to-position": { type: "string" },
  "to-time": { type: "string" },
  "progress-from": { type: "string" },
  "without-progress": { type: "boolean" },
} as const;
type Values = ReturnType<typeof parse<typeof options>>["values"];

const microsPerSecond = 1_000_000;
/**
 * A backup has everything that was recorded before it was begun, but for commits that were under
 * way. One that was begun so much later has those as well.
 */
const commitMicrosMax = 60 * microsPerSecond;
const namesShownMax = 20;

export async function restoreCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 2 });
  const [folder = "", target = ""] = positionals;
  const to = pointOf(values);
  const { backup, earlier } = await chosenBackup(folder, to, values["progress-from"]);
  const restoring = await import("../../storage/leveldb/offline/restore.ts");
  const progress = positionProgress(terminal, "restored");
  const verifying = positionProgress(terminal, "verified");
  try {
    const report = await restoring.restore({
      backup,
      target,
      to,
      earlier,
      withoutProgress: values["without-progress"],
      progress: (position, last) => progress.tell(position, last),
      verifying: (position, last) => verifying.tell(position, last),
      signal: terminal.signal,
    });
    await progress.end();
    await verifying.end();
    await printAnswer(terminal, values, { backup, ...report }, wordsOf(report));
    return exitCode.ok;
  } catch (error) {
    await progress.end();
    await verifying.end();
    if (!existsSync(join(target, unfinishedRestore))) throw error;
    const hint = "run the same command to start it again";
    throw new CommandStopped(error, `${target} contains an unfinished restore: ${hint}`);
  }
}

function pointOf(values: Values): RestorePoint | undefined {
  const { "to-position": position, "to-time": time } = values;
  if (position !== undefined && time !== undefined) {
    throw new UsageError("--to-position and --to-time exclude each other");
  }
  const isAlone = position === undefined && time === undefined;
  for (const name of ["progress-from", "without-progress"] as const) {
    if (isAlone && values[name] !== undefined) {
      throw new UsageError(`--${name}: goes with --to-position or --to-time`);
    }
  }
  if (values["progress-from"] !== undefined && values["without-progress"] === true) {
    throw new UsageError("--progress-from and --without-progress exclude each other");
  }
  if (position !== undefined) {
    return { position: wholeNumber(position, "--to-position", { min: 1 }) };
  }
  if (time === undefined) return undefined;
  const { seconds, nanos } = timestampOf(time, "--to-time");
  return { time: Number(seconds) * microsPerSecond + Math.floor(nanos / 1_000) };
}

/** A backup, and those that were made before it: a folder may have several of them. */
async function chosenBackup(
  folder: string,
  to: RestorePoint | undefined,
  progressFrom: string | undefined,
): Promise<{ readonly backup: string; readonly earlier: readonly string[] }> {
  const named = progressFrom === undefined ? [] : [progressFrom];
  const generations = existsSync(join(folder, "BACKUP")) ? [] : await finishedGenerations(folder);
  const lists = await Promise.all(generations.map((each) => readBackupList(each)));
  const at = lists.findIndex((list) => list !== undefined && isReaching(list, to));
  const backup = generations.at(at);
  if (backup === undefined) return { backup: folder, earlier: named };
  if (to === undefined) return { backup, earlier: [] };
  const earlier = progressFrom === undefined ? generations.filter((each) => each < backup) : named;
  return { backup, earlier };
}

/** Whether the backup has everything up to the point. */
function isReaching({ log, storeTime, takenAt }: BackupList, to: RestorePoint | undefined) {
  if (to === undefined) return false;
  if ("position" in to) return (log.at(-1)?.last ?? 0) >= to.position;
  return (storeTime || Date.parse(takenAt) * 1_000) >= to.time + commitMicrosMax;
}

type Pair = readonly [string, string];

function wordsOf(report: RestoreReport): string | Pair[] {
  const { head, epoch, chain, takenAt, totals, cut, progress } = report;
  if (cut === undefined) {
    const words = `${counted(totals.events, "event")} restored as of ${takenAt} and verified`;
    return `${words}; head ${grouped(head)}, chain ${chain}; epoch ${epoch} begins`;
  }
  const { position, recordedAt, leftOut, divided } = cut;
  const pairs: Pair[] = [
    ["restored", `up to position ${grouped(position)}, recorded at ${timeOf(recordedAt)}`],
  ];
  if (leftOut === undefined) {
    pairs.push(["left out", "nothing: these are the last events of the backup"]);
  } else {
    const { first, last, firstRecordedAt, lastRecordedAt } = leftOut;
    const times = `recorded from ${timeOf(firstRecordedAt)} to ${timeOf(lastRecordedAt)}`;
    pairs.push(["left out", `positions ${grouped(first)} to ${grouped(last)}, ${times}`]);
  }
  if (divided !== undefined) {
    const { first, last } = divided;
    const what = `positions ${grouped(first)} to ${grouped(last)}, which became durable together`;
    pairs.push(["not divided", what]);
  }
  if (head > position) {
    const own = counted(head - position, "event");
    pairs.push(["added", `${own} of the store itself, about events that were removed since`]);
  }
  const sound = `head ${grouped(head)}, chain ${chain}`;
  return [...pairs, ...progressPairs(progress), ["verified", sound], ["begins", `epoch ${epoch}`]];
}

function* progressPairs(progress: RestoreReport["progress"]): Generator<Pair> {
  if (progress === undefined) return;
  const { from, asOf, consumersLeftOut, groupsLeftOut } = progress;
  const source = `as of position ${grouped(asOf)}, from ${from}`;
  const values = "checkpoints, groups and snapshots";
  yield ["progress", from === undefined ? `none: without ${values}` : `${values} ${source}`];
  if (consumersLeftOut.length > 0) yield ["begin anew", `consumers ${some(consumersLeftOut)}`];
  if (groupsLeftOut.length > 0) yield ["are missing", `groups ${some(groupsLeftOut)}`];
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, namesShownMax).join(", ");
  const more = names.length - namesShownMax;
  return more > 0 ? `${shown} and ${more} more` : shown;
}

function timeOf(micros: number): string {
  const seconds = Math.floor(micros / microsPerSecond);
  const nanos = (micros - seconds * microsPerSecond) * 1_000;
  return isoTime({ $typeName: "google.protobuf.Timestamp", seconds: BigInt(seconds), nanos });
}
