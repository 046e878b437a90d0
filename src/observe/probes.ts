// `/healthz` and `/readyz`, for probes that start no process.

import { failure, plainText, type HttpAnswer, type Route } from "../http/http-server.ts";
import type { WriteState } from "../storage/storage.ts";

export interface Probed {
  /** The server serves calls: see grpc.health.v1. */
  readonly isServing: () => boolean;
  readonly isStopping: () => boolean;
  readonly writeState: () => WriteState;
}

const refusing: Readonly<Record<Exclude<WriteState, "accepting">, string>> = {
  "disk-full": "the disk is nearly full: appends are refused, reads are served",
  recovering: "the store is being reopened after a failed write: appends are refused for a moment",
  following: "a follower: appends are refused, reads are served from its copy",
  failed: "the store cannot be written any more; the log says why",
};

/** 503: only another start helps. */
export function healthz({ writeState }: Probed): Route {
  return () => (writeState() === "failed" ? failure(503, refusing.failed) : said("alive"));
}

/** 503: clients should not come here. */
export function readyz({ isServing, isStopping, writeState }: Probed): Route {
  return () => {
    if (isStopping()) return failure(503, "the server is stopping");
    const state = writeState();
    if (state === "accepting") return isServing() ? said("serving") : failure(503, "not serving");
    if (!isServing()) return failure(503, refusing[state]);
    return said(`serving; ${refusing[state]}`);
  };
}

function said(words: string): HttpAnswer {
  return { status: 200, type: plainText, body: `${words}\n` };
}
