// Streams' lifecycles: changes are decided and committed in the line of the appends; here they are
// asked for, and their refusals are made failures.

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
import type { Storage } from "../../storage/storage.ts";
import type { AppendQueue } from "./append-queue.ts";
import type { StreamLog } from "../verbs.ts";

export interface StreamLogParts {
  readonly storage: Storage;
  readonly queue: AppendQueue;
  /** Told what an operator should know and the caller need not. */
  readonly warn: (message: string, cause?: unknown) => void;
}

export function streamLog({ storage, queue, warn }: StreamLogParts): StreamLog {
  const change = async (
    request: LifecycleRequest,
    signal: AbortSignal | undefined,
  ): Promise<StreamChanged> => changed((await queue.addLifecycle(request, signal)).outcome);

  return {
    update: (request, signal) => change({ ...request, kind: "update-stream" }, signal),

    async remove(request, signal) {
      const removed = await change({ ...request, kind: "delete-stream" }, signal);
      const { stream } = request;
      try {
        await storage.snapshots.remove({ stream, maxVersion: removed.version });
      } catch (cause) {
        // They are never used again, whether they are there or not.
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
