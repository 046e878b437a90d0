// Failures of a source that speaks gRPC: which can pass by themselves, and what people are told.

import { CallError } from "../../client/rpc/call-error.ts";
import { CommandError } from "../arguments/options.ts";
import type { EventSource } from "./source.ts";

const passing = new Set(["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);

export function isTemporaryCall(error: unknown): boolean {
  return error instanceof CallError && passing.has(error.status);
}

const beyondReach = new Set(["NO_CONNECTION", "UNREACHABLE"]);
const hint = "is the source running, and are its address and TLS options right?";

/** The source, which says by itself that it is not reached: the hint is none about `--address`. */
export function withOwnHints(source: EventSource): EventSource {
  const told = (error: unknown): unknown => {
    const isBeyond = error instanceof CallError && beyondReach.has(error.reason);
    return isBeyond ? new CommandError(`${error.message}\n${hint}`, { cause: error }) : error;
  };
  return {
    ...source,
    head: (signal) =>
      source.head(signal).catch((error: unknown) => {
        throw told(error);
      }),
    async *read(range) {
      try {
        yield* source.read(range);
      } catch (error) {
        throw told(error);
      }
    },
    isTemporary(error) {
      const { cause } = error instanceof CommandError ? error : {};
      return source.isTemporary(cause instanceof CallError ? cause : error);
    },
  };
}
