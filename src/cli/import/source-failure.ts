// Which failures of a source that speaks gRPC can pass by themselves.

import { CallError } from "../../client/rpc/call-error.ts";

const passing = new Set(["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);

export function isTemporaryCall(error: unknown): boolean {
  return error instanceof CallError && passing.has(error.status);
}
