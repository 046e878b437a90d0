// Sends the store to a copy, paced like every other reader: what a part has cost is charged to its
// connection before the next one is read.

import { AnnalsError } from "../../domain/errors.ts";
import type { CopyPart } from "../../storage/copy.ts";
import type { Storage } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { inTurn } from "../scheduling/scheduler.ts";
import type { Copier, EventLog } from "../verbs.ts";

const { wholeChunkCostShare } = schedulingPolicy;

/** The copies that are made of a store. */
export function copying(storage: Storage): Pick<EventLog, "copy"> & { readonly stop: () => void } {
  const ending = new AbortController();
  return {
    copy(start, caller) {
      const parts = storage.copy?.(start, AbortSignal.any([caller.signal, ending.signal]));
      return parts && paced(parts, caller);
    },
    stop: () => ending.abort(new AnnalsError({ reason: "STOPPING" }, "the server is stopping")),
  };
}

async function* paced(parts: AsyncIterable<CopyPart>, caller: Copier): AsyncGenerator<CopyPart> {
  for await (const part of parts) {
    yield part;
    await inTurn(caller, costOf(part), () => Promise.resolve());
  }
}

function costOf(part: CopyPart): number {
  const bytes = (values: readonly Uint8Array[]): number =>
    values.reduce((sum, { length }) => sum + length, 0);
  switch (part.kind) {
    case "commits":
      return (bytes(part.commits.chunks) + bytes(part.commits.rewritten)) * wholeChunkCostShare;
    case "side-values":
      return bytes(part.entries.map(({ value }) => value ?? new Uint8Array()));
    default:
      return 0;
  }
}
