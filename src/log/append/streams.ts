// Lifecycles of streams. Changes are decided and committed by the append queue. This file requests
// them, and turns refusals into errors.

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
  timeBackwards,
} from "../../domain/errors.ts";
import { deleteSnapshots, type SnapshotDeletion } from "./delete-snapshots.ts";
import type { StreamLog } from "../verbs.ts";

export interface StreamLogParts extends SnapshotDeletion {
  /** Reports what an operator should know and the caller need not. */
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
        // The deletion has deleted the stream's snapshots, unless there were more than one commit
        // holds.
        await deleteSnapshots(parts, { stream, maxVersion: removed.version });
      } catch (cause) {
        // They are from before the deletion and never used again.
        warn(`the snapshots of the deleted stream ${stream} were left behind`, cause);
      }
      return removed;
    },
  };
}

/** Throws if the change was refused. */
function changed(outcome: LifecycleOutcome): StreamChanged {
  switch (outcome.kind) {
    case "stream-changed":
      return outcome;
    case "conflict":
      throw appendConflict(outcome);
    case "tombstoned":
      throw streamTombstoned(outcome);
    case "time-backwards":
      throw timeBackwards("recorded_at", outcome);
    case "no-such-stream":
      throw streamNotFound(outcome.stream);
    case "beyond-head": {
      const { field, asked, head } = outcome;
      const message = `${field}: ${asked} is beyond ${head}, the stream's next version`;
      throw new AnnalsError({ reason: "BEYOND_HEAD", field, asked, head }, message);
    }
  }
}
