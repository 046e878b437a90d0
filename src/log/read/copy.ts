// Sends the store to a copy, paced like every other reader: what a part has cost is charged to its
// connection before the next one is read.

import { AnnalsError } from "../../domain/errors.ts";
import type { CopyPart } from "../../storage/copy.ts";
import type { Storage } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { inTurn } from "../scheduling/scheduler.ts";
import type { BackupFigures } from "../log-figures.ts";
import type { Copier, EventLog } from "../verbs.ts";

const { wholeChunkCostShare } = schedulingPolicy;

interface Copying extends Pick<EventLog, "copy"> {
  /** The last copy that was not to follow and was taken whole. */
  readonly backups: () => BackupFigures;
  readonly stop: () => void;
}

/** The copies that are made of a store. */
export function copying(storage: Storage, clock: () => number): Copying {
  const ending = new AbortController();
  let last: BackupFigures = { finishedAt: 0, position: 0 };
  return {
    copy(start, caller) {
      const parts = storage.copy?.(start, AbortSignal.any([caller.signal, ending.signal]));
      if (parts === undefined) return undefined;
      const whole = (position: number): void => {
        if (!start.follow) last = { finishedAt: clock(), position };
      };
      return paced(parts, caller, whole);
    },
    backups: () => last,
    stop: () => ending.abort(new AnnalsError({ reason: "STOPPING" }, "the server is stopping")),
  };
}

/** `whole`: the caller has taken everything up to this position. */
async function* paced(
  parts: AsyncIterable<CopyPart>,
  caller: Copier,
  whole: (position: number) => void,
): AsyncGenerator<CopyPart> {
  for await (const part of parts) {
    yield part;
    if (part.kind === "state") whole(part.state.position);
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
