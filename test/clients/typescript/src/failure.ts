// Errors as the contract types them: the code, `ErrorInfo`, then the details.

import type { ServiceError } from "@grpc/grpc-js";
import type { Any } from "./gen/google/protobuf/any.js";
import { AppendConflict, EventIdConflict, eventIdProblemToJSON } from "./gen/annals/v1/errors.js";
import { ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";

export type Facts = Record<string, unknown>;

/** Describes the error of a call that must fail. */
export async function failed(call: Promise<unknown>): Promise<Facts> {
  try {
    await call;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    const found: Facts = { code: error.code };
    const [trailer] = error.metadata.get("grpc-status-details-bin");
    const details = trailer instanceof Buffer ? Status.decode(trailer).details : [];
    for (const detail of details) describe(found, detail);
    return found;
  }
  throw new Error("expected an error");
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

export function describe(found: Facts, { typeUrl, value }: Any): void {
  switch (typeUrl.slice(typeUrl.lastIndexOf("/") + 1)) {
    case "google.rpc.ErrorInfo": {
      const { domain, reason } = ErrorInfo.decode(value);
      Object.assign(found, { domain, reason });
      break;
    }
    case "annals.v1.AppendConflict": {
      const { streams, conditions } = AppendConflict.decode(value);
      const actual = streams.map(({ stream, actualVersion }) => [stream, actualVersion]);
      found["actual_versions"] = Object.fromEntries(actual);
      const [condition] = conditions;
      if (condition !== undefined) found["condition_position"] = condition.position;
      break;
    }
    case "annals.v1.EventIdConflict": {
      const { events } = EventIdConflict.decode(value);
      found["id_positions"] = events.map(({ position }) => position);
      found["problem"] = events[0] && eventIdProblemToJSON(events[0].problem);
    }
  }
}
