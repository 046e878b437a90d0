// Streams' lifecycles: changes are decided and committed in the queue of the appends; here they are
// asked for, and their refusals become failures.

import type {
  LifecycleOutcome,
  LifecycleRequest,
  StreamChanged,
} from "../../domain/decide/decide-lifecycle.ts";
import {
  AnnalsError,
  appendConflict,
  streamNotFound,
  streamTombstoned,
} from "../../domain/errors.ts";
import { deleteSnapshots, type SnapshotDeletion } from "./delete-snapshots.ts";
import type { StreamLog } from "../verbs.ts";

export interface StreamLogParts extends SnapshotDeletion {
  /** Told what an operator should know and the caller need not. */
  readonly warn: (message: string, cause?: unknown) => void;
}

export function streamLog(parts: StreamLogParts): StreamLog {
  const { queue, warn } = parts;
  const change = async (
    request: LifecycleRequest,
    signal: AbortSignal | undefined,
  ): Promise<StreamChanged> => changed((await queue.add(request, signal)).outcome);

  return {
    update: (request, signal) => change({ ...request, kind: "update-stream" }, signal),

    async remove(request, signal) {
      const removed = await change({ ...request, kind: "delete-stream" }, signal);
      const { stream } = request;
      try {
        // The deletion has taken its snapshots along, unless there were more than fit one commit.
        await deleteSnapshots(parts, { stream, maxVersion: removed.version });
      } catch (cause) {
        // They are of before the deletion and never used again, whether they are there or not.
        warn(`the snapshots of the deleted stream ${stream} were left behind`, cause);
      }
      return removed;
    },
  };
}

/** Throws where the change was refused. */
function changed(outcome: LifecycleOutcome): StreamChanged {
  switch (outcome.kind) {
    case "stream-changed":
      return outcome;
    case "conflict":
      throw appendConflict(outcome);
    case "tombstoned":
      throw streamTombstoned(outcome);
    case "no-such-stream":
      throw streamNotFound(outcome.stream);
    case "beyond-head": {
      const { field, asked, head } = outcome;
      const message = `${field}: ${asked} is beyond ${head}, the stream's next version`;
      throw new AnnalsError({ reason: "BEYOND_HEAD", field, asked, head }, message);
    }
  }
}
