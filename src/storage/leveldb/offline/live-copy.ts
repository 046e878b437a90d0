// A second LevelDB folder with the present content of the first one, also while a server has it
// open. Tables never change, so hard links to them suffice. The MANIFEST and the write-ahead logs
// only grow, so copies of them are what a killed server would leave. LevelDB may write into the
// copy; the store itself is only read.

import { constants } from "node:fs";
import { copyFile, mkdtemp, open, readdir, readFile, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { FileHandle } from "node:fs/promises";

export interface LiveCopy {
  readonly folder: string;
  close(): Promise<void>;
}

/**
 * `scratch` is the folder in which the copy is made. Undefined: LevelDB changed its files
 * meanwhile.
 */
export async function liveCopyOf(database: string, scratch: string): Promise<LiveCopy | undefined> {
  const folder = await mkdtemp(join(scratch, "annals-view-"));
  const held: FileHandle[] = [];
  const close = async (): Promise<void> => {
    for (const handle of held) await handle.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const before = await manifestOf(database);
    const names = (await readdir(database)).toSorted();
    for (const name of names) {
      if (/^\d+\.(ldb|sst)$/.test(name)) await link(database, name, folder, held);
      else if (/^(\d+\.log|MANIFEST-\d+|CURRENT)$/.test(name)) await copy(database, name, folder);
    }
    // The MANIFEST is the same before and after: no table was added or removed meanwhile.
    if ((await manifestOf(database)) === before) return { folder, close };
    await close();
    return undefined;
  } catch (error) {
    await close();
    throw error;
  }
}

/** The name and the content of the present MANIFEST. */
async function manifestOf(database: string): Promise<string> {
  const current = await contentsOf(join(database, "CURRENT"));
  return `${current} ${await contentsOf(join(database, current.trim() || "CURRENT"))}`;
}

async function contentsOf(path: string): Promise<string> {
  return readFile(path, "latin1").catch(unlessMissing(""));
}

/**
 * Links through an open descriptor, so that the link also succeeds if LevelDB removes the table.
 */
async function link(from: string, name: string, to: string, held: FileHandle[]): Promise<void> {
  const handle = await open(join(from, name), "r").catch(unlessMissing(undefined));
  if (!handle) return;
  held.push(handle);
  const linux = process.platform === "linux";
  await symlink(linux ? `/proc/self/fd/${handle.fd}` : resolve(from, name), join(to, name));
}

async function copy(from: string, name: string, to: string): Promise<void> {
  const copied = copyFile(join(from, name), join(to, name), constants.COPYFILE_FICLONE);
  await copied.catch(unlessMissing(undefined));
}

/** LevelDB may remove a file after it was listed. */
function unlessMissing<T>(instead: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === "ENOENT") return instead;
    throw error;
  };
}
