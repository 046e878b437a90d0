// `/healthz` and `/readyz`, for probes that start no process.

import { failure, plainText, type HttpAnswer, type Route } from "../http/http-server.ts";
import type { FollowStatus } from "../storage/copy.ts";
import type { Storage, WriteState } from "../storage/storage.ts";

export interface Probed {
  /** The server serves calls: see grpc.health.v1. */
  readonly isServing: () => boolean;
  readonly isStopping: () => boolean;
  readonly storage: Pick<Storage, "writeState" | "following" | "isDamaged">;
}

const refusing: Readonly<Record<Exclude<WriteState, "accepting" | "following">, string>> = {
  "disk-full": "the disk is nearly full: appends are refused, reads are served",
  recovering: "the store is being reopened after a failed write: appends are refused for a moment",
  failed: "the store cannot be written any more; the log says why",
  unreachable: "the database does not answer; the log says why",
};

const damaged = "the store is damaged: appends are refused, reads go on; the log says what to do";

/** 503: only another start helps. */
export function healthz({ storage }: Probed): Route {
  return () => {
    if (storage.writeState() !== "failed") return said("alive");
    return isDamaged(storage) ? said(`alive; ${damaged}`) : failure(503, refusing.failed);
  };
}

function isDamaged(storage: Probed["storage"]): boolean {
  return storage.isDamaged?.() === true;
}

/** 503: clients should not come here. */
export function readyz({ isServing, isStopping, storage }: Probed): Route {
  return () => {
    if (isStopping()) return failure(503, "the server is stopping");
    const state = storage.writeState();
    if (state === "accepting") return isServing() ? said("serving") : failure(503, "not serving");
    if (isDamaged(storage)) return failure(503, damaged);
    const why = state === "following" ? lag(storage.following?.()) : refusing[state];
    return isServing() ? said(`serving; ${why}`) : failure(503, why);
  };
}

/** Not why it is behind: that may tell of addresses, and probes answer everybody. */
function lag(status: FollowStatus | undefined): string {
  const what = "a follower, which refuses appends";
  if (status === undefined) return what;
  const { phase, lagEvents, lagMs } = status;
  const events = `${lagEvents} ${lagEvents === 1 ? "event" : "events"}`;
  return `${what}: ${phase}, ${events} and ${(lagMs / 1_000).toFixed(1)} s behind its leader`;
}

function said(words: string): HttpAnswer {
  return { status: 200, type: plainText, body: `${words}\n` };
}
