// Small files of our own that must be whole or not there: written aside, synced, renamed, and the
// folder synced.

import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

export async function writeDurably(path: string, contents: string): Promise<void> {
  const aside = `${path}.new`;
  const file = await open(aside, "w", 0o600);
  try {
    await file.writeFile(contents);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(aside, path);
  await syncFolder(dirname(path));
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
