// What a restore will do, decided before anything is written: where it ends, what is to be said of
// later removals, and whose side values go with it.
//
// Side values (checkpoints, what consumer groups keep, snapshots) are as of the end of a backup.
// With a log that ends earlier they would make consumers skip events: those behind the point, and,
// where a consumer appended what it made of an event, also that event. What they were at the point
// is not recorded. Those of an earlier backup of the same log are behind it, but sound: consumers
// get some events again. Without such a backup, somebody has to say that consumers begin anew.

import { sideValueNameOf } from "../write/side-values.ts";
import type { Entry } from "../kv/kv.ts";
import { BackupRefused } from "./backup-file.ts";
import { requireBackupList, type BackupList } from "./backup-list.ts";
import { chunksInBackup, sideEntriesInBackup } from "./backup-read.ts";
import { findCut, findLaterRemovals, type Cut, type RestorePoint } from "./point-in-time.ts";
import { RestoredRemovals } from "./restored-removals.ts";

export interface RestoreOptions {
  /** The backup's folder. */
  readonly backup: string;
  /** The new store's folder: empty, or it does not exist yet. */
  readonly target: string;
  /** Absent: everything in the backup is restored. */
  readonly to?: RestorePoint | undefined;
  /**
   * Earlier backups of the same store. Where a restore ends before its backup does, the side values
   * are those of the last one that ends at or before the point.
   */
  readonly earlier?: readonly string[] | undefined;
  /** Side values that may be of after the point are left out, where no earlier backup has any. */
  readonly withoutProgress?: boolean | undefined;
  /** Called with the last position that was restored, and the last one there will be. */
  readonly progress?: (position: number, last: number) => void;
  /** The same of the check that follows, which reads all of it again. */
  readonly verifying?: ((position: number, last: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Microseconds since 1970, UTC. */
  readonly clock?: () => number;
}

/** Names of consumers and groups that a report lists. */
const namesMax = 1_000;

export interface RestorePlan {
  readonly list: BackupList;
  /** Undefined: everything is restored. */
  readonly cut: Cut | undefined;
  /** Undefined: no removal is left out that rewrote what is kept. */
  readonly removals: RestoredRemovals | undefined;
  /** Undefined: the side values are the backup's own. */
  readonly progress: RestoredProgress | undefined;
  sideEntries(): AsyncIterable<Entry>;
}

export interface RestoredProgress {
  /** The earlier backup that has the side values. Undefined: there are none. */
  readonly from: string | undefined;
  /** The position up to which that backup goes. 0: there is none. */
  readonly asOf: number;
  /** Consumers with a checkpoint in the backup and not in the restored store. */
  readonly consumersLeftOut: readonly string[];
  /** The same of consumer groups. */
  readonly groupsLeftOut: readonly string[];
}

/** Throws BackupRefused. */
export async function planRestore(options: RestoreOptions, list: BackupList): Promise<RestorePlan> {
  const { backup, to } = options;
  const own = { folder: backup, list };
  if (to === undefined) return planOf(own, undefined, undefined, own);
  refuseBeyond(list, to);
  const earlier = await earlierBackups(options, list);
  const ends = new Set(earlier.map((each) => endOf(each.list)));
  const cut = await findCut(watched(options, list), to, ends);
  refuseNothing(cut, to);
  const later = cut.isRewrittenLater
    ? await findLaterRemovals(watched(options, list), cut.position)
    : undefined;
  const removals = later && new RestoredRemovals(cut.position, later);
  if (cut.leftOut === undefined) return planOf(own, cut, removals, own);
  const source = earlier
    .filter(({ list: each }) => isPartOf(each, cut))
    .toSorted((a, b) => endOf(b.list) - endOf(a.list) || (a.list.takenAt < b.list.takenAt ? 1 : -1))
    .at(0);
  if (source === undefined && list.side.entries > 0 && options.withoutProgress !== true) {
    throw new BackupRefused(noProgress(list, cut, earlier.length > 0));
  }
  return planOf(own, cut, removals, source);
}

interface Source {
  readonly folder: string;
  readonly list: BackupList;
}

async function planOf(
  own: Source,
  cut: Cut | undefined,
  removals: RestoredRemovals | undefined,
  source: Source | undefined,
): Promise<RestorePlan> {
  const sideEntries = () => (source ? sideEntriesInBackup(source.folder, source.list) : none());
  const progress = source === own ? undefined : await comparedProgress(own, source);
  return { list: own.list, cut, removals, progress, sideEntries };
}

async function* none(): AsyncGenerator<Entry> {}

async function comparedProgress(
  own: Source,
  source: Source | undefined,
): Promise<RestoredProgress> {
  const had = await namesIn(own);
  const has = source ? await namesIn(source) : { checkpoint: new Set(), group: new Set() };
  const leftOut = (space: "checkpoint" | "group"): string[] =>
    [...had[space]].filter((name) => !has[space].has(name)).slice(0, namesMax);
  return {
    from: source?.folder,
    asOf: source ? endOf(source.list) : 0,
    consumersLeftOut: leftOut("checkpoint"),
    groupsLeftOut: leftOut("group"),
  };
}

async function namesIn({ folder, list }: Source) {
  const names = { checkpoint: new Set<string>(), group: new Set<string>() };
  for await (const [key] of sideEntriesInBackup(folder, list)) {
    const { space, name } = sideValueNameOf(key) ?? {};
    if (name !== undefined && (space === "checkpoint" || space === "group")) names[space].add(name);
  }
  return names;
}

async function* watched({ backup, signal }: RestoreOptions, list: BackupList) {
  for await (const chunk of chunksInBackup(backup, list)) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

function endOf({ log }: BackupList): number {
  return log.at(-1)?.last ?? 0;
}

/** Whether a backup has the log that is kept, or the begin of it. */
function isPartOf(list: BackupList, { position, chainAt }: Cut): boolean {
  const end = list.log.at(-1);
  if (end === undefined) return true;
  return end.last <= position && chainAt.get(end.last) === end.chain;
}

async function earlierBackups(options: RestoreOptions, list: BackupList): Promise<Source[]> {
  const sources: Source[] = [];
  for (const folder of options.earlier ?? []) {
    const each = await requireBackupList(folder);
    if (each.storeId !== list.storeId) {
      throw new BackupRefused(`${folder} is the backup of store ${each.storeId}, another one`);
    }
    sources.push({ folder, list: each });
  }
  return sources;
}

function refuseBeyond(list: BackupList, to: RestorePoint): void {
  const end = endOf(list);
  if ("position" in to && to.position > end) {
    throw new BackupRefused(`the backup ends at position ${end}, before position ${to.position}`);
  }
  if ("time" in to && to.time > Date.parse(list.takenAt) * 1_000) {
    throw new BackupRefused(`the backup was taken at ${list.takenAt}, before ${iso(to.time)}`);
  }
}

function refuseNothing({ position, leftOut, divided }: Cut, to: RestorePoint): void {
  if (position > 0 || leftOut === undefined) return;
  if ("time" in to) {
    const first = iso(leftOut.firstRecordedAt);
    throw new BackupRefused(
      `nothing was recorded by ${iso(to.time)}: the first event is of ${first}`,
    );
  }
  const through = divided?.last ?? leftOut.last;
  throw new BackupRefused(
    `nothing ends by position ${to.position}: positions 1 to ${through} became durable together`,
  );
}

function noProgress({ side }: BackupList, { position }: Cut, isAnyEarlier: boolean): string {
  const tried = isAnyEarlier ? "; none of the earlier backups ends there or before" : "";
  return (
    `the backup's ${side.entries} side values (checkpoints, groups, snapshots) are of after ` +
    `position ${position}, where the restore ends${tried}: name a backup of the same store that ` +
    "ends there or before with --progress-from, or leave them out with --without-progress, so " +
    "that consumers begin anew"
  );
}

/** Microseconds since 1970 as ISO 8601. */
function iso(micros: number): string {
  const ms = new Date(Math.floor(micros / 1_000)).toISOString().slice(0, -1);
  return `${ms}${String(micros % 1_000).padStart(3, "0")}Z`;
}
