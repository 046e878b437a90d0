// Compares what a client has read with the store's history. Epochs change only while the store is
// closed, and an event never moves, so the answer stays right however long the request then waits.

import {
  currentEpoch,
  epochMismatch,
  sharedThrough,
  type Claim,
  type EpochMismatch,
  type ReadIn,
} from "../../domain/epoch.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import { recordOfVersion } from "./records.ts";

/** Undefined: everything that was read is part of this store's history. */
export async function mismatchOf(
  source: Source,
  { epoch, claims }: ReadIn,
): Promise<EpochMismatch | undefined> {
  const { history } = source.storage.identity;
  if (epoch === currentEpoch(history)) return undefined;
  for (const claim of claims) {
    const asked = "position" in claim ? claim.position : claim.version;
    const { field } = claim;
    const isKnown = sharedThrough(history, epoch) !== undefined;
    const position = isKnown && asked > 0 ? await positionOf(source, claim) : asked;
    const mismatch = epochMismatch(history, { epoch, field, asked, position });
    if (mismatch !== undefined) return mismatch;
  }
  return undefined;
}

/** Infinity: the stream has no such version. */
async function positionOf(source: Source, claim: Claim): Promise<number> {
  if ("position" in claim) return claim.position;
  const { position: head } = source.storage.head();
  const record = await recordOfVersion(source, claim.stream, claim.version, head);
  return record === undefined ? Infinity : scanPlacement(record).position;
}
