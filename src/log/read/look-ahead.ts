// Lookups for an append before it waits for its commit. A lookup between two commits delays all
// writers, and most events that a condition covers are old and never change. So the events up to
// the present head are looked up here, and only later ones between the commits. The epochs that the
// append names are compared here, too.

import type { Append, AppendCondition } from "../../domain/append.ts";
import { currentEpoch, type Claim } from "../../domain/epoch.ts";
import type { Storage } from "../../storage/storage.ts";
import { valuesOf } from "../../domain/query.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { inTurn, type Gate } from "../scheduling/scheduler.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import { mismatchOf } from "./epochs.ts";

/**
 * The append with its conditions looked up, and compared with the store's history: it may have a
 * `mismatch`, and names no epoch. Undefined: there is nothing to look up, or no condition reaches
 * back far enough, or asks for enough, for that to pay off. `gate`: the writer's.
 */
export function lookAhead(
  parts: Source,
  append: Append,
  gate: Gate = parts.gate,
): Promise<Append> | undefined {
  const source = { ...parts, gate };
  if (!isOfPresent(source.storage, append)) {
    return judged(source, append).then((it) => conditionsLookedUp(source, it) ?? it);
  }
  return conditionsLookedUp(source, append);
}

/** Whether everything the append relies on was read in the current epoch. */
function isOfPresent(storage: Storage, { epoch, checkpoint }: Append): boolean {
  if ((epoch ?? checkpoint?.epoch) === undefined) return true;
  const current = currentEpoch(storage.identity.history);
  return (epoch ?? current) === current && (checkpoint?.epoch ?? current) === current;
}

async function judged(source: Source, append: Append): Promise<Append> {
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

function conditionsLookedUp(
  { storage, gate }: Source,
  append: Append,
): Promise<Append> | undefined {
  const { conditions } = append;
  if (conditions.every(({ nothingThrough }) => nothingThrough !== undefined)) return undefined;
  const { lookAheadPositionsMin, lookAheadItemsMin } = schedulingPolicy;
  const near = storage.head().position - lookAheadPositionsMin;
  const items = conditions.reduce((sum, { query }) => sum + query.items.length, 0);
  const isNear = conditions.every(({ after }) => after > near);
  if (isNear && items < lookAheadItemsMin) return undefined;
  const lookUp = () => storage.facts({ streams: [], ids: [], conditions });
  const caller = { gate, aborted: false, reason: undefined };
  return inTurn(caller, costOfConditions(conditions), lookUp).then(({ head, matches }) => ({
    ...append,
    conditions: conditions.map((condition, i) => {
      // A match may be removed before the append is decided, so its commit looks it up again.
      const nothingThrough = matches[i] === 0 ? head.position : condition.after;
      return { ...condition, nothingThrough };
    }),
  }));
}

function costOfConditions(conditions: readonly AppendCondition[]): number {
  const { conditionItemBytes, conditionValueBytes } = schedulingPolicy;
  let bytes = 0;
  for (const { query } of conditions) {
    bytes += conditionItemBytes * Math.max(1, query.items.length);
    for (const item of query.items) bytes += conditionValueBytes * valuesOf(item).length;
  }
  return bytes;
}
