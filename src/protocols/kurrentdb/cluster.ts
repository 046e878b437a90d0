// What clients ask when they connect: which methods there are, in which version, and where the
// members of the cluster are. There is one, and it leads.

import { create } from "@bufbuild/protobuf";
import {
  ClusterInfoSchema,
  MemberInfo_VNodeState,
  type ClusterInfo,
} from "../../gen/event_store/client/gossip/gossip_pb.js";
import {
  SupportedMethodsSchema,
  type SupportedMethods,
} from "../../gen/event_store/client/server_features/server_features_pb.js";
import type { KurrentContext } from "./mapping/context.ts";

/** The version of the protocol: clients compare it with those in which methods were added. */
const protocolVersion = "26.1.0";

const streams = "event_store.client.streams.streams";
const subscriptions = "event_store.client.persistent_subscriptions.persistentsubscriptions";
const streamsV2 = "kurrentdb.protocol.v2.streams.streamsservice";
const both = ["stream", "all"];

const supported: readonly [service: string, method: string, features: string[]][] = [
  [streams, "read", ["position", "events"]],
  [streams, "append", []],
  [streams, "batchappend", ["deadline_duration"]],
  [streams, "delete", []],
  [streams, "tombstone", []],
  [subscriptions, "create", both],
  [subscriptions, "update", both],
  [subscriptions, "delete", both],
  [subscriptions, "read", both],
  [subscriptions, "getinfo", both],
  [subscriptions, "list", both],
  [subscriptions, "replayparked", both],
  [subscriptions, "restartsubsystem", both],
  [streamsV2, "appendsession", []],
  [streamsV2, "appendrecords", []],
];

export function supportedMethods(): SupportedMethods {
  return create(SupportedMethodsSchema, {
    eventStoreServerVersion: protocolVersion,
    methods: supported.map(([serviceName, methodName, features]) => ({
      serviceName,
      methodName,
      features,
    })),
  });
}

export function clusterInfo({ log, advertised }: KurrentContext): ClusterInfo {
  const { host: address, port } = advertised();
  const { identity } = log.info();
  const member = {
    instanceId: { value: { case: "string", value: identity.storeId } },
    timeStamp: BigInt(Date.now()) * 10_000n,
    state: MemberInfo_VNodeState.Leader,
    isAlive: true,
    httpEndPoint: { address, port },
  } as const;
  return create(ClusterInfoSchema, { members: [member] });
}
