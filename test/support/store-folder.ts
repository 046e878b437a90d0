// The folder of a store as files: copied as a kill would leave it, listed, compared.
import { cp, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** Copies the folder as a process that is killed now would leave it, without its locks. */
export async function copyStore(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, filter: (path) => !path.endsWith(".sock") });
}

/** Every file of a folder with its size, in a fixed order. */
export async function filesOf(folder: string): Promise<{ path: string; bytes: number }[]> {
  const names = (await readdir(folder, { recursive: true })).toSorted();
  const files: { path: string; bytes: number }[] = [];
  for (const path of names) {
    const found = await stat(join(folder, path));
    if (found.isFile()) files.push({ path, bytes: found.size });
  }
  return files;
}

/** Every file of a folder with its contents, for comparing. */
export async function contentsOf(folder: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for (const { path } of await filesOf(folder)) {
    contents.set(path, (await readFile(join(folder, path))).toString("latin1"));
  }
  return contents;
}
