// The service PersistentSubscriptions.

import { create } from "@bufbuild/protobuf";
import {
  CreateRespSchema,
  DeleteRespSchema,
  GetInfoRespSchema,
  ListRespSchema,
  PersistentSubscriptions as Service,
  ReplayParkedRespSchema,
  UpdateRespSchema,
  type ListReq,
  type ReplayParkedReq_Options,
  type SubscriptionInfo,
} from "../../../gen/event_store/client/persistent_subscriptions/persistent_subscriptions_pb.js";
import type { Empty, StreamIdentifier } from "../../../gen/event_store/client/shared_pb.js";
import { handling, type BoundService, type Handlers } from "../../../grpc/transport/methods.ts";
import { onBehalfOf, type KurrentContext } from "../mapping/context.ts";
import { invalidArgument, noSubscription } from "../mapping/errors.ts";
import { nameOf } from "../mapping/names.ts";
import {
  consumesGroup,
  judged,
  judgedAndAudited,
  managesGroup,
  permit,
  readNeeds,
  seesGroups,
} from "../mapping/permissions.ts";
import { consumeCall } from "./consume.ts";
import { PersistentSubscriptions } from "./groups.ts";
import { groupNameOf } from "./group-name.ts";
import { subscriptionInfo } from "./info.ts";
import {
  allStreams,
  createdSettings,
  namedSource,
  updatedSettings,
  type SubscriptionSettings,
} from "./settings.ts";

/** What an entry of the list takes in memory, about. */
const infoBytes = 4_096;

export function persistentSubscriptions(context: KurrentContext): BoundService {
  const { limits } = context;
  const subscriptions = new PersistentSubscriptions(context);
  const sourceOf = (option: SourceOption): string =>
    option.case === "all" ? allStreams : nameOf(option.value as StreamIdentifier, limits);

  const handlers: Handlers<typeof Service> = {
    read: (requests, call) => consumeCall(context, subscriptions, requests, call),
    create: async ({ options }, call) => {
      const settings = createdSettings(given(options), limits);
      permit(call, [
        ...manages(settings),
        ...readNeeds(streamOf(settings.source), settings.resolveLinks),
      ]);
      await subscriptions.create(settings, call);
      return create(CreateRespSchema);
    },
    update: async ({ options }, call) => {
      const wanted = given(options);
      const { groupName } = wanted;
      const source = namedSource(wanted, limits);
      permit(call, manages({ source, group: groupName }));
      const updated = (before: SubscriptionSettings) => updatedSettings(before, wanted);
      await subscriptions.update(source, groupName, updated, call);
      return create(UpdateRespSchema);
    },
    delete: async ({ options }, call) => {
      const { streamOption, groupName } = given(options);
      const source = sourceOf(streamOption);
      permit(call, manages({ source, group: groupName }));
      await subscriptions.remove(source, groupName);
      return create(DeleteRespSchema);
    },
    getInfo: async ({ options }, call) => {
      const { streamOption, groupName } = given(options);
      const source = sourceOf(streamOption);
      permit(call, seesGroups(groupNameOf(source, groupName)));
      const found = await subscriptions.find(source, groupName, call);
      const info = await subscriptionInfo(onBehalfOf(call, context), found);
      return create(GetInfoRespSchema, { subscriptionInfo: info });
    },
    replayParked: async ({ options }, call) => {
      const { streamOption, groupName } = given(options);
      const source = sourceOf(streamOption);
      permit(call, consumesGroup(groupNameOf(source, groupName)));
      await subscriptions.replayParked(source, groupName, stopAtOf(given(options)), call);
      return create(ReplayParkedRespSchema);
    },
    list: async (request, call) => {
      permit(call, seesGroups(undefined));
      const source = listedSource(request, sourceOf);
      const infos: SubscriptionInfo[] = [];
      for await (const one of subscriptions.list(source, call)) {
        call.hold(infoBytes);
        infos.push(await subscriptionInfo(onBehalfOf(call, context), one));
      }
      if (infos.length === 0 && source !== undefined) throw noSubscription(source, "");
      return create(ListRespSchema, { subscriptions: infos });
    },
    // There is nothing to restart: groups are loaded when they are needed.
    restartSubsystem: (): Empty => ({ $typeName: "event_store.client.Empty" }),
  };
  return handling(Service, handlers, {
    read: judged,
    create: judgedAndAudited,
    update: judgedAndAudited,
    delete: judgedAndAudited,
    getInfo: judged,
    replayParked: judgedAndAudited,
    list: judged,
    restartSubsystem: judged,
  });
}

function manages({ source, group }: { readonly source: string; readonly group: string }) {
  return managesGroup(groupNameOf(source, group));
}

/** Undefined: all streams. */
function streamOf(source: string): string | undefined {
  return source === allStreams ? undefined : source;
}

interface SourceOption {
  readonly case?: string | undefined;
  readonly value?: unknown;
}

function given<T>(options: T | undefined): T {
  if (options === undefined) throw invalidArgument("the options are missing");
  return options;
}

/** Undefined: all. */
function stopAtOf({ stopAtOption }: ReplayParkedReq_Options): number | undefined {
  return stopAtOption.case === "stopAt" ? Number(stopAtOption.value) : undefined;
}

/** Undefined: all. */
function listedSource(
  { options }: ListReq,
  sourceOf: (option: SourceOption) => string,
): string | undefined {
  const { listOption } = given(options);
  return listOption.case === "listForStream" ? sourceOf(listOption.value.streamOption) : undefined;
}
