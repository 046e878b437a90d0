// Binds all services of the server to their handlers: the event store, streams, checkpoints,
// consumer groups, health and reflection.

import { BackupService } from "../../gen/annals/v1/backup_service_pb.js";
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
import { PageTokens } from "../convert/page.ts";
import { handling, type BoundService } from "../transport/methods.ts";
import { appendMethods } from "./append.ts";
import { backupService } from "./backup-service.ts";
import { checkpointService } from "./checkpoint-service.ts";
import { consumerGroupService } from "./consumer-group-service.ts";
import type { ServiceContext } from "./context.ts";
import { healthService, type HealthState } from "./health.ts";
import { infoMethods } from "./info.ts";
import { readMethods } from "./read.ts";
import { collectSymbols, reflectionV1, reflectionV1Alpha } from "./reflection.ts";
import { snapshotMethods } from "./snapshot.ts";
import { streamService } from "./stream-service.ts";

const own = [
  EventStoreService,
  StreamService,
  CheckpointService,
  ConsumerGroupService,
  BackupService,
];

/** `secret` signs page tokens. */
interface ServiceParts extends Omit<ServiceContext, "pageTokens"> {
  readonly secret: Uint8Array;
}

/** `others`: services of other protocols, which share the state of health. */
export function services(
  parts: ServiceParts,
  healthState: HealthState,
  withReflection: boolean,
  others: readonly BoundService[] = [],
): BoundService[] {
  const context: ServiceContext = { ...parts, pageTokens: new PageTokens(parts.secret) };
  const named = [...own, ...others.map(({ service }) => service)];
  const names = named.map(({ typeName }) => typeName);
  const eventStore = {
    ...appendMethods(context),
    ...readMethods(context),
    ...snapshotMethods(context),
    ...infoMethods(context),
  };
  const always = [
    handling(EventStoreService, eventStore),
    handling(StreamService, streamService(context)),
    handling(CheckpointService, checkpointService(context)),
    handling(ConsumerGroupService, consumerGroupService(context)),
    handling(BackupService, backupService(context)),
    handling(Health, healthService(healthState, names, context.environment.stopping)),
  ];
  return withReflection ? [...always, ...reflection()] : always;
}

function reflection(): BoundService[] {
  const described = [...own, Health, ReflectionV1, v1Alpha.ServerReflection];
  const details = [file_annals_v1_errors, file_google_rpc_error_details, file_google_rpc_status];
  const symbols = collectSymbols(described, details);
  return [
    handling(ReflectionV1, reflectionV1(symbols)),
    handling(v1Alpha.ServerReflection, reflectionV1Alpha(symbols)),
  ];
}
