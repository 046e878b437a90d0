// Backs up a store by its folder, whether it is being served or not.

import { AnnalsError } from "../../../domain/errors.ts";
import type { CopiedStore, CopyPart, CopyStart } from "../../copy.ts";
import { requireContinued, sideValueParts, sideValueRange } from "../copy/copy-store.ts";
import { logParts } from "../copy/log-parts.ts";
import { highWaterMarkPath } from "../create.ts";
import { isFolderHeld } from "../folder/folder-lock.ts";
import { readHighWaterMark } from "../folder/high-water-mark.ts";
import { historyOf } from "../folder/identity.ts";
import { prefixOldSnapshot } from "../format/keys.ts";
import { openScan } from "../kv/scan.ts";
import { BackupRefused, refuseInside } from "./backup-file.ts";
import { receiveBackup, type BackupReport, type ReceiveOptions } from "./backup-receive.ts";
import { openView, type StoreView, type ViewContent } from "./view.ts";

const partBytesMax = 256 * 1024;

export interface BackupOptions extends Omit<ReceiveOptions, "open"> {
  /** The store's folder. */
  readonly store: string;
  /** A folder for some megabytes of temporary files. Absent: the system's temporary folder. */
  readonly scratch?: string | undefined;
}

/** Throws BackupRefused if the store is damaged, and what `receiveBackup` throws. */
export async function backUp({ store, scratch, ...options }: BackupOptions): Promise<BackupReport> {
  await refuseInside(store, options.target);
  const partBytes = options.partBytes && Math.min(options.partBytes, partBytesMax);
  const copy = await openFolderCopy(store, { scratch, partBytes });
  try {
    return await receiveBackup({ ...options, open: (start) => copy.open(start) });
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    throw notSound(store, [error.message]);
  } finally {
    await copy.close();
  }
}

/** A copy of the store in a folder as it is now. */
export interface FolderCopy {
  readonly store: CopiedStore;
  /** Whether the folder has something that the copy has not, or a server has it open. */
  isOutdated(): Promise<boolean>;
  open(start: CopyStart): AsyncGenerator<CopyPart>;
  close(): Promise<void>;
}

export interface FolderCopyOptions extends Pick<BackupOptions, "scratch"> {
  readonly partBytes?: number | undefined;
}

/** Throws BackupRefused if the store is damaged. */
export async function openFolderCopy(
  folder: string,
  { scratch, partBytes }: FolderCopyOptions = {},
): Promise<FolderCopy> {
  const wasHeld = await isFolderHeld(folder).catch(() => false);
  const view = await openView(folder, { scratch, isChecked: true });
  try {
    const content = soundContent(folder, view);
    const store = describe(view, content);
    const open = (start: CopyStart) => copyView(store, content, start, partBytes);
    const isOutdated = async (): Promise<boolean> => {
      if (wasHeld || (await isFolderHeld(folder))) return true;
      const { sequence } = readHighWaterMark(highWaterMarkPath(folder)) ?? {};
      return sequence !== view.acknowledged?.sequence;
    };
    return { store, isOutdated, open, close: () => view.close() };
  } catch (error) {
    await view.close();
    throw error;
  }
}

function describe({ identity, time }: StoreView, { head }: ViewContent): CopiedStore {
  const { storeId, createdAt, formatVersion } = identity;
  const described = { storeId, createdAt, formatVersion, history: historyOf(identity), time };
  return { ...described, head: head.position, isContinued: false };
}

function soundContent(store: string, { findings, content }: StoreView): ViewContent {
  if (findings.length === 0 && content) return content;
  throw notSound(store, findings);
}

function notSound(store: string, findings: readonly string[]): BackupRefused {
  const ways = `annals verify ${store} names all damage, annals salvage what can be saved`;
  return new BackupRefused(["the store is not sound:", ...findings, ways].join("\n"));
}

async function* copyView(
  store: CopiedStore,
  { kv, head, headHash: chain }: ViewContent,
  start: CopyStart,
  partBytes: number | undefined,
): AsyncGenerator<CopyPart> {
  const { position } = head;
  yield { kind: "begin", store };
  await requireContinued(kv, start, position);
  const sentFrom = start.position + 1;
  const stretch = { kv, after: start.position, last: position, sentFrom, rewrittenAsOf: position };
  for await (const part of logParts({ ...stretch, partBytes })) {
    yield { kind: "commits", commits: { ...part, sideValues: [], head: position } };
  }
  const oldSnapshots = {
    ...sideValueRange,
    first: Buffer.from([prefixOldSnapshot]),
    last: Buffer.from([prefixOldSnapshot + 1]),
  };
  const scans = [openScan(kv, oldSnapshots), openScan(kv, sideValueRange)];
  yield* sideValueParts(scans, { position, chain, cursor: "" });
}
