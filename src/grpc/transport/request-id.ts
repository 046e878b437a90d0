// The id of a request that failed or was slow: in its status and in the log's line about it, so
// that a user's report leads to the line. Ids are made when they are needed; most calls have none.

import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import { RequestInfoSchema } from "../../gen/google/rpc/error_details_pb.js";

/** Tells the ids of this process from those of others. */
const processId = randomBytes(5).toString("hex");
let count = 0;

export function newRequestId(): string {
  return `${processId}-${(++count).toString(36)}`;
}

/** The detail of a status that has the id. */
export function requestInfo(requestId: string): Any {
  return anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId }));
}
