// Small files and folders of our own that must be whole or not there: written aside, synced,
// renamed, and the folder synced.

import { mkdir, open, rename } from "node:fs/promises";
import { dirname, resolve } from "node:path";

export async function writeDurably(path: string, contents: string): Promise<void> {
  const aside = `${path}.new`;
  await writeSynced(aside, "w", contents);
  await rename(aside, path);
  await syncFolder(dirname(path));
}

/** Adds to the end of a file, durably. */
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

/** Makes a folder and those above it, where they are missing, and their names durable. */
export async function makeFolder(folder: string): Promise<void> {
  const path = resolve(folder);
  const firstMade = await mkdir(path, { recursive: true, mode: 0o700 });
  if (firstMade === undefined) return;
  const top = dirname(firstMade);
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    await syncFolder(parent);
    if (parent === top || parent === dirname(parent)) return;
  }
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
