// The Read call of a persistent subscription: one consumer, which gets events and says what became
// of them.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  ReadReq_Nack_Action as Action,
  ReadRespSchema,
  type ReadReq,
  type ReadReq_Options,
  type ReadResp,
} from "../../../gen/event_store/client/persistent_subscriptions/persistent_subscriptions_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import type { PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import type { LogContext } from "../mapping/context.ts";
import { invalidArgument, subscriptionDropped } from "../mapping/errors.ts";
import { EventWriter } from "../read/event-writer.ts";
import { idOf } from "../mapping/ids.ts";
import { nameOf } from "../mapping/names.ts";
import { consumesGroup, permit, readNeeds } from "../mapping/permissions.ts";
import type { PersistentSubscriptions } from "./groups.ts";
import { Consumer } from "./consumer.ts";
import { HandlingTimes, handlingTimesBytes } from "./handling-times.ts";
import type { NackAction, SubscriptionHub } from "./hub.ts";
import { groupNameOf } from "./group-name.ts";
import { identityOf } from "./identity.ts";
import { allStreams, settingsBytes, type SubscriptionSettings } from "./settings.ts";

const bufferSizeMax = 10_000;

const actions: Readonly<Record<Action, NackAction>> = {
  [Action.Unknown]: "retry",
  [Action.Park]: "park",
  [Action.Retry]: "retry",
  [Action.Skip]: "skip",
  [Action.Stop]: "stop",
};

export async function* consumeCall(
  context: LogContext,
  subscriptions: PersistentSubscriptions,
  requests: AsyncIterable<ReadReq>,
  call: Call,
): AsyncGenerator<ReadResp | PrefixedMessages> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.content.case !== "options") {
    throw invalidArgument("the options come first");
  }
  const options = first.value.content.value;
  const source = sourceIn(options, context);
  const { groupName, bufferSize } = options;
  if (bufferSize < 1) throw invalidArgument("the buffer size is not at least 1");
  const stream = source === allStreams ? undefined : source;
  const consumes = consumesGroup(groupNameOf(source, groupName));
  permit(call, [...consumes, ...readNeeds(stream)]);
  const { settings: found } = await subscriptions.find(source, groupName, call);
  // All of it at once: the call ends when the last needs it was judged by are no longer met.
  permit(call, [...consumes, ...readNeeds(stream, found.resolveLinks)]);
  call.hold(settingsBytes(found));
  if (found.extraStatistics) call.hold(handlingTimesBytes);
  const times = found.extraStatistics ? new HandlingTimes() : undefined;
  const consumer = new Consumer(identityOf(call), Math.min(bufferSize, bufferSizeMax), call, times);
  const { hub, settings } = await subscriptions.connect(source, groupName, consumer, call);
  const left = { handleEvent: () => hub.leave(consumer) };
  call.addEventListener("abort", left);
  void takeRequests(iterator, hub, consumer, settings);
  try {
    const structuredIds = options.uuidOption?.content.case === "structured";
    const writer = new EventWriter({ structuredIds });
    writer.message(confirmation(`${source}::${groupName}`));
    yield writer.take() as PrefixedMessages;
    for (let more; (more = await consumer.next()) !== undefined;) {
      for (const { record, link, retries } of more) writer.add(record, link, retries);
      const piece = writer.take();
      if (piece !== undefined) yield piece;
    }
  } finally {
    call.removeEventListener("abort", left);
    hub.leave(consumer);
  }
}

function sourceIn({ streamOption }: ReadReq_Options, { limits }: LogContext): string {
  if (streamOption.case === "all") return allStreams;
  return nameOf(streamOption.value, limits);
}

function confirmation(subscriptionId: string): Uint8Array {
  const content = { case: "subscriptionConfirmation", value: { subscriptionId } } as const;
  return toBinary(ReadRespSchema, create(ReadRespSchema, { content }));
}

/** Reads the client's messages until the last one. Never rejects. */
async function takeRequests(
  requests: AsyncIterator<ReadReq>,
  hub: SubscriptionHub,
  consumer: Consumer,
  settings: SubscriptionSettings,
): Promise<void> {
  try {
    for (let next; (next = await requests.next()).done !== true;) {
      await takeRequest(next.value, hub, consumer, settings);
    }
  } catch (error) {
    consumer.finish(error);
  }
  hub.leave(consumer);
}

async function takeRequest(
  { content }: ReadReq,
  hub: SubscriptionHub,
  consumer: Consumer,
  { source, group }: SubscriptionSettings,
): Promise<void> {
  switch (content.case) {
    case "ack":
      await hub.ack(consumer, idsOf(content.value));
      return;
    case "nack": {
      const { action, reason } = content.value;
      await hub.nack(consumer, idsOf(content.value), actions[action], reason);
      if (action === Action.Stop) throw subscriptionDropped(source, group);
      return;
    }
    default:
      throw invalidArgument("the options come once");
  }
}

function idsOf({ ids }: { readonly ids: readonly Parameters<typeof idOf>[0][] }): string[] {
  return ids.flatMap((id) => idOf(id) ?? []);
}
