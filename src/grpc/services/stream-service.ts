// The stream service: one handler for each method.

import { create } from "@bufbuild/protobuf";
import {
  DeleteStreamResponseSchema,
  UpdateStreamResponseSchema,
  type DeleteStreamRequest,
  type StreamService,
  type UpdateStreamRequest,
} from "../../gen/annals/v1/stream_service_pb.js";
import type { Handlers } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { ServiceContext } from "./context.ts";
import { convertDeleteStream, convertUpdateStream, wirePolicy } from "../convert/stream.ts";
import { claimsOfChange, requireEpoch } from "../convert/epoch.ts";
import { timestamp } from "../convert/time.ts";

export function streamService(context: ServiceContext): Handlers<typeof StreamService> {
  return {
    updateStream: (request, call) => updateStream(context, request, call),
    deleteStream: (request, call) => deleteStream(context, request, call),
  };
}

async function updateStream(context: ServiceContext, wire: UpdateStreamRequest, call: Call) {
  const request = attributed(convertUpdateStream(wire, context), call);
  await requireEpoch(context.log, wire.epoch, claimsOfChange(request, request.change));
  const { position, recordedAt, lifecycle } = await context.log.streams.update(
    request,
    call.signal,
  );
  return create(UpdateStreamResponseSchema, {
    position: BigInt(position),
    policy: wirePolicy(lifecycle.policy),
    recordedAt: timestamp(recordedAt),
  });
}

async function deleteStream(context: ServiceContext, wire: DeleteStreamRequest, call: Call) {
  const request = attributed(convertDeleteStream(wire, context), call);
  await requireEpoch(context.log, wire.epoch, claimsOfChange(request));
  const { position, recordedAt, version } = await context.log.streams.remove(request, call.signal);
  return create(DeleteStreamResponseSchema, {
    position: BigInt(position),
    version: BigInt(version),
    recordedAt: timestamp(recordedAt),
  });
}

/** Records the caller, who is the actor if the request names none. */
function attributed<R extends { readonly actor: string }>(request: R, { principal }: Call): R {
  if (principal === "") return request;
  return { ...request, principal, actor: request.actor === "" ? principal : request.actor };
}
