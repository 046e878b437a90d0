// What clients are told of a persistent subscription. The texts are those that clients parse.

import { create } from "@bufbuild/protobuf";
import { scanPlacement } from "../../../domain/record.ts";
import {
  SubscriptionInfoSchema,
  type SubscriptionInfo,
} from "../../../gen/event_store/client/persistent_subscriptions/persistent_subscriptions_pb.js";
import type { CallerContext } from "../mapping/context.ts";
import { recordsOfRead } from "../mapping/look-up.ts";
import { selectionOfTarget, streamTargetOf } from "../mapping/names.ts";
import type { KnownSubscription } from "./groups.ts";
import { allStreams } from "./settings.ts";

export async function subscriptionInfo(
  context: CallerContext,
  { settings, info, consumers }: KnownSubscription,
): Promise<SubscriptionInfo> {
  const { source, group } = settings;
  const { head } = context.log.info();
  const heldCount = consumers.reduce((sum, { held }) => sum + held.size, 0);
  return create(SubscriptionInfoSchema, {
    eventSource: source,
    groupName: group,
    status: "Live",
    connections: consumers.map(({ identity, bufferSize, held, itemCount, times }) => ({
      from: identity.peer,
      username: identity.user,
      connectionName: identity.connectionName,
      observedMeasurements: times?.measurements() ?? [],
      totalItems: BigInt(itemCount),
      availableSlots: bufferSize - held.size,
      inFlightMessages: held.size,
    })),
    totalItems: BigInt(consumers.reduce((sum, { itemCount }) => sum + itemCount, 0)),
    lastCheckpointedEventPosition: await placeText(context, source, info.position),
    lastKnownEventPosition: await placeText(context, source, head),
    startFrom: startText(source, settings.shownStart ?? settings.start),
    resolveLinkTos: settings.resolveLinks,
    messageTimeoutMilliseconds: settings.messageTimeoutMs,
    extraStatistics: settings.extraStatistics,
    maxRetryCount: settings.maxRetryCount,
    liveBufferSize: settings.liveBufferSize,
    bufferSize: settings.historyBufferSize,
    readBatchSize: settings.readBatchSize,
    checkPointAfterMilliseconds: settings.checkpointAfterMs,
    minCheckPointCount: settings.minCheckpointCount,
    maxCheckPointCount: settings.maxCheckpointCount,
    namedConsumerStrategy: settings.strategy,
    maxSubscriberCount: settings.maxSubscriberCount,
    totalInFlightMessages: heldCount,
    outstandingMessagesCount: heldCount,
    parkedMessageCount: BigInt(info.parkedCount),
  });
}

function startText(source: string, start: string): string {
  const number = start === "start" ? "0" : start === "end" ? "-1" : start;
  return source === allStreams ? `C:${number}/P:${number}` : number;
}

/** The place of the last event at or before a position. Empty: there is none. */
async function placeText(
  context: CallerContext,
  source: string,
  position: number,
): Promise<string> {
  if (position === 0) return "";
  if (source === allStreams) return `C:${position}/P:${position}`;
  const selection = selectionOfTarget(streamTargetOf(source));
  const from = { kind: "position", position } as const;
  const read = { selection, direction: "backwards", from, limit: 1 } as const;
  for await (const record of recordsOfRead(context, read)) {
    const placed = scanPlacement(record);
    return `${(selection.kind === "stream" ? placed.version : placed.position) - 1}`;
  }
  return "";
}
