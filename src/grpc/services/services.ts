// The gRPC server with its services bound: the event store, streams, checkpoints, consumer groups,
// health and reflection.

import { Server } from "@grpc/grpc-js";
import { CheckpointService } from "../../gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../gen/annals/v1/consumer_group_service_pb.js";
import { file_annals_v1_errors } from "../../gen/annals/v1/errors_pb.js";
import { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../gen/annals/v1/stream_service_pb.js";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { file_google_rpc_status } from "../../gen/google/rpc/status_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection as ReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import * as v1Alpha from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { bindService, type BoundServer } from "../transport/bind.ts";
import { checkpointService } from "./checkpoint-service.ts";
import { consumerGroupService } from "./consumer-group-service.ts";
import type { Context } from "./context.ts";
import { allowResets } from "../transport/call-router.ts";
import { eventStore } from "./event-store.ts";
import { health, type HealthState } from "./health.ts";
import { collectSymbols } from "./reflection-symbols.ts";
import { reflectionV1, reflectionV1Alpha } from "./reflection.ts";
import { streamService } from "./stream-service.ts";
import { UnfinishedRequests } from "../transport/unfinished-requests.ts";

export interface ServerOptions {
  readonly reflection: boolean;
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly concurrentCallsMax: number;
}

/** Megabytes one connection may make the server hold beyond its messages' own buffers. */
const sessionMemoryMegabytes = 256;

/** A client may drop ten thousand subscriptions in one go without being taken for an attacker. */
const resetBurst = 20_000;
const resetsPerSecond = 1_000;

export function bindServices(
  context: Context,
  healthState: HealthState,
  options: ServerOptions,
): BoundServer {
  const server = new Server({
    "grpc.max_receive_message_length": context.limits.receiveBytesMax,
    "grpc.max_concurrent_streams": options.concurrentCallsMax,
    "grpc.keepalive_time_ms": options.keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs,
    "grpc-node.max_session_memory": sessionMemoryMegabytes,
    "grpc.enable_channelz": 0,
  });
  allowResets(server, resetBurst, resetsPerSecond);
  const { environment } = context;
  const own = [EventStoreService, StreamService, CheckpointService, ConsumerGroupService];
  const named = own.map(({ typeName }) => typeName);
  const methods = new Map([
    ...bindService(server, EventStoreService, eventStore(context), environment),
    ...bindService(server, StreamService, streamService(context), environment),
    ...bindService(server, CheckpointService, checkpointService(context), environment),
    ...bindService(server, ConsumerGroupService, consumerGroupService(context), environment),
    ...bindService(server, Health, health(healthState, named, environment.stopping), environment),
  ]);
  if (options.reflection) {
    const services = [...own, Health, ReflectionV1, v1Alpha.ServerReflection];
    const details = [file_annals_v1_errors, file_google_rpc_error_details, file_google_rpc_status];
    const symbols = collectSymbols(services, details);
    const reflections = [
      ...bindService(server, ReflectionV1, reflectionV1(symbols), environment),
      ...bindService(server, v1Alpha.ServerReflection, reflectionV1Alpha(symbols), environment),
    ];
    for (const [path, direct] of reflections) methods.set(path, direct);
  }
  const { receiveBytesMax, unfinishedBytesMax } = context.limits;
  const unfinished = new UnfinishedRequests(unfinishedBytesMax);
  return { server, methods, receiveBytesMax, unfinished };
}
