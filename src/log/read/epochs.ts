// Compares what a client has read with the store's history. Epochs change only while the store is
// closed, and an event never moves, so the answer stays right however long the request then waits.

import type { Append } from "../../domain/append.ts";
import {
  currentEpoch,
  epochMismatch,
  sharedThrough,
  type Claim,
  type EpochMismatch,
  type ReadIn,
} from "../../domain/epoch.ts";
import { scanPlacement } from "../../domain/record.ts";
import { lookAhead } from "../scheduling/look-ahead.ts";
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

/**
 * The append, judged: it may have a `mismatch`, and names no epoch. Undefined: everything it relies
 * on was read in the current epoch.
 */
function judged(source: Source, append: Append): Promise<Append> | undefined {
  const { epoch } = append;
  const saved = append.checkpoint?.epoch;
  if (epoch === undefined && saved === undefined) return undefined;
  const current = currentEpoch(source.storage.identity.history);
  if ((epoch ?? current) === current && (saved ?? current) === current) return undefined;
  return judge(source, append);
}

/** Does something with the append once it is judged: at once, if there is nothing to look up. */
export function inHistory<T>(
  source: Source,
  append: Append,
  act: (append: Append) => Promise<T>,
): Promise<T> {
  return judged(source, append)?.then(act) ?? act(append);
}

/** The append with what is looked up before it waits: see `EventLog.lookAhead`. */
export function lookAheadInHistory(source: Source, append: Append): Promise<Append> | undefined {
  const { storage } = source;
  const known = judged(source, append);
  return known?.then((one) => lookAhead(storage, one) ?? one) ?? lookAhead(storage, append);
}

async function judge(source: Source, append: Append): Promise<Append> {
  const { checkpoint, conditions, expectations, epoch } = append;
  const claims: Claim[] = conditions.map(({ after }, i) => {
    return { field: `conditions[${i}].after`, position: after };
  });
  for (const { stream, expected } of expectations) {
    if (expected.kind !== "version") continue;
    claims.push({ field: `expected version of ${stream}`, stream, version: expected.version });
  }
  let mismatch = epoch === undefined ? undefined : await mismatchOf(source, { epoch, claims });
  if (checkpoint?.epoch !== undefined) {
    const position = Number(checkpoint.position);
    const saved = { field: "checkpoint.position", position };
    mismatch ??= await mismatchOf(source, { epoch: checkpoint.epoch, claims: [saved] });
  }
  return {
    ...append,
    epoch: undefined,
    checkpoint: checkpoint && { ...checkpoint, epoch: undefined },
    mismatch,
  };
}
