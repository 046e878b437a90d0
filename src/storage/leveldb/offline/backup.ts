// Backs up a store by its folder, whether it is being served or not.

import { AnnalsError } from "../../../domain/errors.ts";
import type { CopyPart, CopyStart } from "../../copy.ts";
import { requireContinued, sideValueParts, sideValueRange } from "../copy/copy-store.ts";
import { logParts } from "../copy/log-parts.ts";
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
  const view = await openView(store, { scratch, isChecked: true });
  try {
    const content = soundContent(store, view);
    const partBytes = options.partBytes && Math.min(options.partBytes, partBytesMax);
    const open = (start: CopyStart) => copyView(view, content, start, partBytes);
    return await receiveBackup({ ...options, open });
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    throw notSound(store, [error.message]);
  } finally {
    await view.close();
  }
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
  { identity, time }: StoreView,
  { kv, head, headHash: chain }: ViewContent,
  start: CopyStart,
  partBytes: number | undefined,
): AsyncGenerator<CopyPart> {
  const { position } = head;
  const { storeId, createdAt, formatVersion } = identity;
  const described = { storeId, createdAt, formatVersion, history: historyOf(identity), time };
  yield { kind: "begin", store: { ...described, head: position, isContinued: false } };
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
