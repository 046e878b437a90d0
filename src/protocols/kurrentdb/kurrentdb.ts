// The protocol of KurrentDB (EventStoreDB) over the log of this server: its services, bound to
// their handlers. They are loaded only if the protocol is turned on.

import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { Gossip } from "../../gen/event_store/client/gossip/gossip_pb.js";
import {
  EnableRespSchema,
  Projections,
  type EnableResp,
} from "../../gen/event_store/client/projections/projections_pb.js";
import { ServerFeatures } from "../../gen/event_store/client/server_features/server_features_pb.js";
import {
  DeleteRespSchema,
  Streams,
  TombstoneRespSchema,
} from "../../gen/event_store/client/streams/streams_pb.js";
import { handling, type BoundService } from "../../grpc/transport/methods.ts";
import { appendCall } from "./append/append.ts";
import { batchAppend } from "./append/batch-append.ts";
import { clusterInfo, supportedMethods } from "./cluster.ts";
import { onBehalfOf, type KurrentContext } from "./mapping/context.ts";
import { endStream } from "./append/delete.ts";
import { kurrentStatus, noProjections } from "./mapping/errors.ts";
import { judged, judgedAndAudited, open } from "./mapping/permissions.ts";
import { monitoring, operations } from "./operations.ts";
import { persistentSubscriptions } from "./persistent/service.ts";
import { readCall } from "./read/read.ts";
import { streamsV2 } from "./v2/service.ts";

export function kurrentdbServices(context: KurrentContext): BoundService[] {
  return servicesOf(context).map((service) => ({ ...service, statusOf: kurrentStatus }));
}

function servicesOf(context: KurrentContext): BoundService[] {
  return [
    handling(
      ServerFeatures,
      { getSupportedMethods: () => supportedMethods() },
      { getSupportedMethods: open },
    ),
    handling(Gossip, { read: () => clusterInfo(context) }, { read: open }),
    handling(
      Streams,
      {
        read: (request, call) => readCall(onBehalfOf(call, context), request, call),
        append: {
          bytes: (requests, call) => appendCall(onBehalfOf(call, context), requests, call),
        },
        batchAppend: {
          bytes: (requests, call) => batchAppend(onBehalfOf(call, context), requests, call),
        },
        delete: async ({ options }, call) => {
          const at = await endStream(onBehalfOf(call, context), options, false, call);
          return create(DeleteRespSchema, { positionOption: placed(at) });
        },
        tombstone: async ({ options }, call) => {
          const at = await endStream(onBehalfOf(call, context), options, true, call);
          return create(TombstoneRespSchema, { positionOption: placed(at) });
        },
      },
      {
        read: judged,
        append: judged,
        batchAppend: judged,
        delete: judgedAndAudited,
        tombstone: judgedAndAudited,
      },
    ),
    streamsV2(context),
    persistentSubscriptions(context),
    operations(context),
    monitoring(context),
    handling(
      Projections,
      {
        async *statistics() {},
        enable: ({ options }): EnableResp => {
          if (systemProjections.has(options?.name ?? "")) return create(EnableRespSchema);
          throw noProjections();
        },
      },
      { statistics: judged, enable: judged },
    ),
  ];
}

/** There are no projections, but what these make is answered from the index. */
const systemProjections = new Set(["$by_category", "$by_event_type"]);

function placed(position: bigint) {
  const value = { commitPosition: position, preparePosition: position };
  return { case: "position", value } as const;
}

const firstStream = "$kurrentdb";
const firstType = "$ProtocolServed";

/**
 * Clients of this protocol expect that no store is empty: the first event of an empty store says
 * that the protocol was turned on.
 */
export async function writeFirstEvent({
  log,
  environment,
}: Pick<KurrentContext, "log" | "environment">): Promise<void> {
  if (log.info().head > 0) return;
  const header = { id: "", stream: firstStream, type: firstType, tags: [] };
  const fields = { ...header, contentType: "application/json", data: Buffer.from("{}") };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  const events = [{ ...header, idFromClient: false, body }];
  const expected = { kind: "absent" } as const;
  const expectations = [{ stream: firstStream, expected }];
  const append = { events, expectations, conditions: [], bytes: body.length };
  await log.append(append, undefined, { gate: environment.scheduler.gateOf({}) });
}
