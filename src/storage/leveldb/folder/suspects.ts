// The tables that were found damaged while the store was served. The next start checks them
// whatever else it has time to check, so that it does not serve the store by LevelDB again.
//
//   <folder>/DAMAGED-TABLES   the name of one table in each line

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { appendDurably } from "./durable-file.ts";

const fileName = "DAMAGED-TABLES";

/** Names of tables. Empty: none is suspected. */
export async function readSuspects(folder: string): Promise<string[]> {
  const contents = await readFile(join(folder, fileName), "utf8").catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    },
  );
  return contents.split("\n").filter((line) => line !== "");
}

export function addSuspect(folder: string, table: string): Promise<void> {
  return appendDurably(join(folder, fileName), `${table}\n`);
}

/** For a store that is served: its start has checked them. */
export function clearSuspects(folder: string): Promise<void> {
  return rm(join(folder, fileName), { force: true });
}
