// The protocol of UmaDB over the log of this server: its service, under its present name and under
// that of older clients. It is loaded only if the protocol is turned on.

import type { Requirement } from "../../access/requirements.ts";
import { UmaDBService } from "../../gen/umadb/umadb_pb.js";
import {
  DCB,
  type HeadResponse,
  type ReadRequest,
  type SubscribeRequest,
  type TrackingRequest,
  type TrackingResponse,
} from "../../gen/umadb/v1/umadb_pb.js";
import type { Call } from "../../grpc/transport/call-environment.ts";
import { handling, type BoundService } from "../../grpc/transport/methods.ts";
import { appendEvents, trackedPosition } from "./append.ts";
import { umadbStatus } from "./errors.ts";
import type { UmadbContext } from "./mapping.ts";
import { subscribedEvents, eventMessages } from "./read.ts";

/** The handler says what the request needs. */
const judged: Requirement = { isOpen: false };
const requirements = {
  append: judged,
  read: judged,
  subscribe: judged,
  head: judged,
  getTrackingInfo: judged,
};

export function umadbServices(context: UmadbContext): BoundService[] {
  const handlers = {
    append: {
      bytes: (request: Buffer, call: Call) => appendEvents(context, request, call),
    },
    read: (request: ReadRequest, call: Call) => eventMessages(context, request, call),
    subscribe: (request: SubscribeRequest, call: Call) => subscribedEvents(context, request, call),
    head: () => headOf(context),
    getTrackingInfo: (request: TrackingRequest, call: Call) => tracking(context, request, call),
  };
  return [
    handling(DCB, handlers, requirements),
    handling(UmaDBService, handlers, requirements),
  ].map((bound) => ({ ...bound, statusOf: umadbStatus }));
}

function headOf({ log }: UmadbContext): HeadResponse {
  const { head } = log.info();
  return { $typeName: "umadb.v1.HeadResponse", ...(head > 0 && { position: BigInt(head) }) };
}

async function tracking(
  context: UmadbContext,
  { source }: TrackingRequest,
  call: Call,
): Promise<TrackingResponse> {
  const position = await trackedPosition(context, source, call);
  return { $typeName: "umadb.v1.TrackingResponse", ...(position !== undefined && { position }) };
}
