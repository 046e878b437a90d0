// A read-only view of a store's folder at one moment, whether a server has it open or not. It makes
// the same checks as a start, but returns the findings instead of throwing them.

import { tmpdir } from "node:os";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Head } from "../../storage.ts";
import { auditEnd } from "../verify/audit.ts";
import { databaseOf, highWaterMarkPath } from "../create.ts";
import { checkDatabase, type DatabaseCheck } from "../files/database-check.ts";
import { openLiveFiles, type FilesKv } from "../files/files-kv.ts";
import { checkTable } from "../files/table-file.ts";
import { refuseSpecialFiles } from "../folder/folder-entries.ts";
import { ownerFault, readIdentity, type Identity } from "../folder/identity.ts";
import type { Kv, ReadableKv } from "../kv/kv.ts";
import { logEndOf } from "../state/open-store.ts";
import { openLevelKv } from "../kv/level-kv.ts";
import { readHighWaterMark, readStoreTime, type Acknowledged } from "../folder/high-water-mark.ts";
import { liveCopyOf, type LiveCopy } from "./live-copy.ts";
import { StoreRefused } from "../folder/store-refused.ts";

export interface StoreView {
  readonly identity: Identity;
  /** What was acknowledged when the view was taken, if the high-water mark says so. */
  readonly acknowledged: Acknowledged | undefined;
  /** The store's time that was kept last; 0: none. */
  readonly time: number;
  /** Faults that would prevent a start. Empty: none. */
  readonly findings: readonly string[];
  /** The damage of tables that was found so far. */
  readonly damages: ReadonlySet<string>;
  /** Paths of the table files, oldest first. */
  readonly tables: readonly string[];
  /** Undefined if LevelDB cannot open the database. */
  readonly content: ViewContent | undefined;
  close(): Promise<void>;
}

export interface ViewContent {
  readonly kv: ReadableKv;
  readonly head: Head;
  readonly headHash: Uint8Array;
}

const attemptsMax = 20;
const retryMs = 100;

export interface ViewOptions {
  /** A folder for some megabytes of temporary files. Absent: the system's. */
  readonly scratch?: string | undefined;
  /**
   * Present: every table is checked first, and awaits it. Where one is damaged, the content is read
   * without LevelDB, which might end the process. Absent: no table is checked.
   */
  readonly pace?: (bytes: number) => Promise<void>;
  /** The content is read without LevelDB, and every block is checked: damage is CORRUPTION. */
  readonly isChecked?: boolean;
}

/** Throws StoreRefused if there is no store. */
export async function openView(folder: string, options: ViewOptions = {}): Promise<StoreView> {
  const { scratch = tmpdir() } = options;
  await refuseSpecialFiles(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new StoreRefused(folder, ["there is no such folder"]);
    throw error;
  });
  const identity = await readIdentity(folder);
  if (!identity?.created) throw new StoreRefused(folder, ["it holds no store"]);
  for (let attempt = 1; ; attempt++) {
    // The high-water mark is read first, so that the files contain at least what it names.
    const acknowledged = readHighWaterMark(highWaterMarkPath(folder));
    const time = readStoreTime(highWaterMarkPath(folder));
    const liveCopy = await liveCopyOf(databaseOf(folder), scratch);
    if (liveCopy) return lookInto(folder, liveCopy, { identity, acknowledged, time }, options);
    if (attempt === attemptsMax) {
      throw new StoreRefused(folder, ["its files change too fast to be looked at"]);
    }
    await delay(retryMs);
  }
}

async function lookInto(
  folder: string,
  liveCopy: LiveCopy,
  known: Pick<StoreView, "identity" | "acknowledged" | "time">,
  { pace, isChecked = false }: ViewOptions,
): Promise<StoreView> {
  const { acknowledged } = known;
  const damages = new Set<string>();
  let kv: Kv | FilesKv | undefined;
  const close = async (): Promise<void> => {
    await kv?.close();
    await liveCopy.close();
  };
  try {
    const check = await checkDatabase(liveCopy.folder, acknowledged);
    const findings = [...check.findings];
    const fault = await ownerFault(databaseOf(folder), known.identity.storeId);
    if (fault !== undefined) findings.unshift(fault);
    if (!acknowledged)
      findings.push("MARK is missing or corrupted: it is not known what was acknowledged");
    for (const path of pace === undefined ? [] : check.tables) {
      const found = await checkTable(path, pace, true);
      if (found !== undefined) damages.add(`table ${basename(path)}: ${found}`);
    }
    const damaged = (damage: string): void => void damages.add(damage);
    const opening =
      damages.size > 0 || isChecked
        ? Promise.resolve(openLiveFiles(check, () => true, isChecked ? undefined : damaged))
        : openLevelKv(liveCopy.folder, false);
    kv = await opening.catch((error: Error) => {
      findings.push(`LevelDB does not open it: ${((error.cause ?? error) as Error).message}`);
      return undefined;
    });
    const content = kv && (await contentOf(kv, check, acknowledged, findings));
    return { ...known, findings, damages, tables: check.tables, content, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function contentOf(
  kv: ReadableKv,
  { logged }: DatabaseCheck,
  acknowledged: Acknowledged | undefined,
  findings: string[],
): Promise<ViewContent | undefined> {
  findings.push(...(await auditEnd(kv, acknowledged, logged)));
  try {
    return { kv, ...(await logEndOf(kv)) };
  } catch (error) {
    findings.push(`the end of the log cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}
