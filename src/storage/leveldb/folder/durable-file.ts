// Writes small files that must be complete or absent: written under a temporary name, synced,
// renamed, and the folder synced.

import { mkdir, open, rename, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

export async function writeDurably(path: string, contents: string): Promise<void> {
  const aside = `${path}.new`;
  await writeSynced(aside, "w", contents);
  await rename(aside, path);
  await syncFolder(dirname(path));
}

/** Appends to a file durably. */
export async function appendDurably(path: string, contents: string): Promise<void> {
  await writeSynced(path, "a", contents);
  await syncFolder(dirname(path));
}

async function writeSynced(path: string, flag: "w" | "a", contents: string): Promise<void> {
  const file = await open(path, flag, 0o600);
  try {
    await file.writeFile(contents);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Creates a folder and its missing parents, and makes their names durable. One at a time, because
 * Node's recursive mkdir never returns if a file system does not allow folders (below /proc).
 */
export async function makeFolder(folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = resolve(folder); !(await isFolder(path)); path = dirname(path)) {
    missing.push(path);
  }
  for (const path of missing.toReversed()) {
    await mkdir(path, 0o700).catch((error: NodeJS.ErrnoException) => {
      // Another process may have made it since.
      if (error.code !== "EEXIST") throw error;
    });
    await syncFolder(dirname(path));
  }
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found !== undefined && !found.isDirectory()) throw new Error(`${path} is not a folder`);
  return found !== undefined;
}

/** Makes names created in or removed from a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
