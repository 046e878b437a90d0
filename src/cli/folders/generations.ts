// Several backups in one folder, each in a folder of its own that is named after its time. A new
// one begins with the files of the last one, as hard links: a file of a backup is written once and
// never changed. So it costs little more than what the store has gained since.

import { copyFile, link, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readBackupList, unfinishedName } from "../../storage/leveldb/offline/backup-list.ts";
import { makeFolder, writeDurably } from "../../storage/leveldb/folder/durable-file.ts";

/** The time of a run in UTC, without characters that some file systems refuse. */
const named = /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z$/;

/** The folder for a backup of now. One that was not finished is continued. */
export async function beginGeneration(folder: string, now = new Date()): Promise<string> {
  await makeFolder(folder);
  const generations = await generationsIn(folder);
  const last = generations.at(-1);
  if (last !== undefined && !(await isWhole(join(folder, last)))) return join(folder, last);
  const name = now
    .toISOString()
    .replaceAll(":", "-")
    .replace(/\.\d+Z$/, "Z");
  if (name === last) return join(folder, name);
  const target = join(folder, name);
  await makeFolder(target);
  if (last !== undefined) await linkAll(join(folder, last), target);
  return target;
}

/** Deletes all but the newest backups. */
export async function forgetGenerations(folder: string, keep: number): Promise<void> {
  for (const name of (await generationsIn(folder)).slice(0, -keep)) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** The finished backups in the folder, the oldest first. Empty: it is none of several backups. */
export async function finishedGenerations(folder: string): Promise<string[]> {
  const finished: string[] = [];
  for (const name of await generationsIn(folder).catch(() => [])) {
    if (await isWhole(join(folder, name))) finished.push(join(folder, name));
  }
  return finished;
}

async function generationsIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => named.test(name)).toSorted();
}

async function isWhole(folder: string): Promise<boolean> {
  const names = await readdir(folder);
  return names.includes("BACKUP") && !names.includes(unfinishedName);
}

/** The list goes last: without it, the folder holds a backup that was not finished. */
async function linkAll(from: string, to: string): Promise<void> {
  const list = await readBackupList(from);
  if (list === undefined) return;
  await writeDurably(join(to, unfinishedName), "");
  for (const { name } of [...list.log, list.side]) {
    await link(join(from, name), join(to, name)).catch(() =>
      copyFile(join(from, name), join(to, name)),
    );
  }
  await copyFile(join(from, "BACKUP"), join(to, "BACKUP"));
}
