// `annals verify FOLDER`: all checks of a store's folder that are possible without opening the
// store, changing it, or keeping a server from it.

import { currentEpoch } from "../../../domain/epoch.ts";
import type { Head } from "../../storage.ts";
import { historyOf } from "../folder/identity.ts";
import { verifyStore, type StoreTotals } from "../verify/verify-store.ts";
import { openView } from "./view.ts";

export interface FolderReport {
  readonly storeId: string;
  readonly epoch: string;
  readonly head: Head | undefined;
  /** SHA-256 of the last chunk, which stands for the whole log. Hexadecimal. */
  readonly headHash: string | undefined;
  readonly totals: StoreTotals | undefined;
  readonly tables: number;
  /** Empty: no fault was found. */
  readonly findings: readonly string[];
}

export interface VerifyOptions {
  readonly scratch?: string | undefined;
  /** Called with the last position that was checked, and the last one there is. */
  readonly progress?: (position: number, head: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Throws StoreRefused if there is no store to verify. */
export async function verifyFolder(
  folder: string,
  { scratch, progress, signal }: VerifyOptions = {},
): Promise<FolderReport> {
  const pace = async (): Promise<void> => signal?.throwIfAborted();
  const view = await openView(folder, { scratch, pace });
  try {
    const findings = new Set(view.findings);
    const found = (finding: string): void => void findings.add(finding);
    const { content, identity, tables } = view;
    const head = content?.head;
    const history = historyOf(identity);
    for (const { id, after } of history) {
      if (head === undefined || after <= head.position) continue;
      found(`epoch ${id} began after position ${after}, but the log ends at ${head.position}`);
    }
    const totals =
      content &&
      (await verifyStore(content.kv, {
        head: content.head.position,
        found,
        pace,
        reached: ({ last }) => progress?.(last, content.head.position),
      }));
    return {
      storeId: identity.storeId,
      epoch: currentEpoch(history),
      head,
      headHash: content && Buffer.from(content.headHash).toString("hex"),
      totals,
      tables: tables.length,
      // What is damaged first, then what follows from it.
      findings: [...view.damages, ...findings],
    };
  } finally {
    await view.close();
  }
}
