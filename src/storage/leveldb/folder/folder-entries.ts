// What lies in a store's folder, looked at before any of it is opened. Opening a FIFO or a device
// may wait for ever, and files that other users may read show them every event.

import { chmod, lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isLockName } from "./folder-lock.ts";
import { StoreRefused } from "./store-refused.ts";

/** The store's files and LevelDB's, by the names they are opened under. */
const databaseFolder = "log";
const othersMask = 0o077;

/** Throws StoreRefused where an entry is neither a file nor a folder nor a lock of ours. */
export async function refuseSpecialFiles(folder: string): Promise<void> {
  const findings: string[] = [];
  for (const name of await entriesOf(folder)) {
    if (isLockName(name)) continue;
    const found = await stat(join(folder, name)).catch(unlessMissing);
    if (found === undefined || found.isFile() || found.isDirectory()) continue;
    findings.push(`${name} is neither a file nor a folder`);
  }
  if (findings.length > 0) throw new StoreRefused(folder, findings);
}

/** Takes other users' rights from the store's files; warns where the folder is open to them. */
export async function closeToOthers(
  folder: string,
  warn: (message: string, cause?: unknown) => void,
): Promise<void> {
  const { mode, uid } = await stat(folder);
  if ((mode & othersMask) !== 0) {
    const octal = (mode & 0o777).toString(8);
    warn(`${folder} is open to other users (mode ${octal}); chmod 700 closes it`);
  }
  if (uid !== process.getuid?.()) return;
  for (const name of await entriesOf(folder)) {
    const path = join(folder, name);
    const found = await lstat(path).catch(unlessMissing);
    if (found === undefined || found.uid !== uid || (found.mode & othersMask) === 0) continue;
    if (!found.isFile() && !(found.isDirectory() && name === databaseFolder)) continue;
    await chmod(path, found.mode & 0o700).catch((error: unknown) => {
      warn(`${path} stays readable for other users`, error);
    });
  }
}

/** Relative names: the folder's own, and those of the database. */
async function entriesOf(folder: string): Promise<string[]> {
  const own = await readdir(folder);
  const inDatabase = await readdir(join(folder, databaseFolder)).catch(unlessMissing);
  return [...own, ...(inDatabase ?? []).map((name) => join(databaseFolder, name))];
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
  throw error;
}
