// Persistent subscriptions over the consumer groups of the log: one group for each, named
// STREAM::GROUP, and an event that keeps the settings a group does not know.

import { create, toBinary } from "@bufbuild/protobuf";
import { AnnalsError } from "../../../domain/errors.ts";
import { scanPlacement } from "../../../domain/record.ts";
import { RecordedEventSchema } from "../../../gen/annals/v1/event_pb.js";
import type { GroupInfo, GroupStart } from "../../../log/group-verbs.ts";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import type { Caller } from "../../../log/served-log.ts";
import { onBehalfOf, type KurrentContext } from "../mapping/context.ts";
import { noSubscription, subscriptionExists, tooManySubscribers } from "../mapping/errors.ts";
import { EventStream } from "../read/event-stream.ts";
import { recordsOfRead } from "../mapping/look-up.ts";
import { selectionOfTarget, settingsStreamPrefix, streamTargetOf } from "../mapping/names.ts";
import { RecordView } from "../mapping/record-view.ts";
import { patternOf, prefixPattern } from "../read/pattern.ts";
import type { Consumer } from "./consumer.ts";
import { SubscriptionHub } from "./hub.ts";
import { groupNameOf, groupPrefixOf } from "./group-name.ts";
import { allStreams, groupSettings, type SubscriptionSettings } from "./settings.ts";

const settingsType = "$PersistentSubscriptionConfig";

/** A subscription, its group, and its consumers if there are any. */
export interface KnownSubscription {
  readonly settings: SubscriptionSettings;
  readonly info: GroupInfo;
  readonly consumers: readonly Consumer[];
}

export class PersistentSubscriptions {
  private readonly context: KurrentContext;
  private readonly hubs = new Map<string, Promise<SubscriptionHub>>();
  private lastChange: Promise<unknown> = Promise.resolve();

  constructor(context: KurrentContext) {
    this.context = context;
  }

  /** Throws ALREADY_EXISTS. */
  create(settings: SubscriptionSettings, call: Caller): Promise<void> {
    const { groups } = this.context.log;
    const { source, group } = settings;
    const name = groupNameOf(source, group);
    return this.change(async () => {
      if ((await this.infoOf(name, call)) !== undefined) throw subscriptionExists(source, group);
      const start = await this.startOf(settings, call);
      await this.keep(name, settings, call);
      await groups.create(name, groupSettings(settings), start);
    });
  }

  /** Throws NOT_FOUND. */
  update(
    source: string,
    group: string,
    updated: (before: SubscriptionSettings) => SubscriptionSettings,
    call: Caller,
  ): Promise<void> {
    return this.change(async () => {
      const { settings } = await this.find(source, group, call);
      const next = updated(settings);
      const { leaseMs, attemptsMax } = groupSettings(next);
      const name = groupNameOf(source, group);
      await this.keep(name, next, call);
      await this.context.log.groups.update(name, { leaseMs, attemptsMax });
      const hub = await this.hubs.get(name)?.catch(() => undefined);
      if (hub !== undefined) hub.settings = next;
    });
  }

  /** Throws NOT_FOUND. */
  remove(source: string, group: string): Promise<void> {
    const name = groupNameOf(source, group);
    return this.change(async () => {
      const existed = await this.context.log.groups.remove(name);
      if (!existed) throw noSubscription(source, group);
    });
  }

  /** Throws NOT_FOUND. */
  async find(source: string, group: string, call: Caller): Promise<KnownSubscription> {
    const name = groupNameOf(source, group);
    const info = await this.infoOf(name, call);
    const known = info && (await this.known(info, call));
    if (known === undefined) throw noSubscription(source, group);
    return known;
  }

  /** The groups of one source, or all. */
  async *list(source: string | undefined, call: Call): AsyncGenerator<KnownSubscription> {
    const { signal, gate } = call;
    const prefix = source === undefined ? "" : groupPrefixOf(source);
    for (let after = ""; ;) {
      const page = await this.context.log.groups.list({ prefix, after, limit: 100 }, signal, gate);
      for (const info of page) {
        const known = await this.known(info, call);
        if (known !== undefined && (source ?? known.settings.source) === known.settings.source) {
          yield known;
        }
      }
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.name;
    }
  }

  /** Parked events are delivered again: all, or at most this many. Throws NOT_FOUND. */
  async replayParked(
    source: string,
    group: string,
    stopAt: number | undefined,
    call: Caller,
  ): Promise<void> {
    const { groups } = this.context.log;
    await this.find(source, group, call);
    const name = groupNameOf(source, group);
    if (stopAt === undefined) {
      await groups.replayParked(name, []);
      return;
    }
    for (let left = stopAt, after = 0; left > 0;) {
      const limit = Math.min(left, 1_000);
      const page = await groups.listParked(
        { group: name, after, limit, bytesMax: 1 << 20 },
        call.gate,
      );
      const positions = page.map(({ position }) => position);
      if (positions.length === 0) return;
      await groups.replayParked(name, positions);
      left -= positions.length;
      after = positions.at(-1) ?? after;
    }
  }

  /** Throws NOT_FOUND and FAILED_PRECONDITION. */
  async connect(
    source: string,
    group: string,
    consumer: Consumer,
    call: Caller,
  ): Promise<{ hub: SubscriptionHub; settings: SubscriptionSettings }> {
    const { settings } = await this.find(source, group, call);
    const name = groupNameOf(source, group);
    let hub = await this.hubOf(name, settings);
    // Its last consumer left meanwhile.
    while (hub.ended) hub = await this.hubOf(name, settings);
    const { maxSubscriberCount } = settings;
    if (maxSubscriberCount > 0 && hub.consumers.length >= maxSubscriberCount) {
      throw tooManySubscribers(source, group);
    }
    hub.join(consumer);
    return { hub, settings };
  }

  private async hubOf(name: string, settings: SubscriptionSettings): Promise<SubscriptionHub> {
    const known = this.hubs.get(name);
    if (known !== undefined) return known;
    const opening = this.open(name, settings);
    this.hubs.set(name, opening);
    opening.catch(() => this.hubs.delete(name));
    return opening;
  }

  private async open(name: string, settings: SubscriptionSettings): Promise<SubscriptionHub> {
    const { log, environment } = this.context;
    // What a client asks to retry comes before later events, so these must not wait for a write in
    // whose course it may ask.
    const wish = { name: "KurrentDB clients", permits: 0, freesAtOnce: true };
    const member = await log.groups.join(name, wish);
    // For all its consumers, which come and go.
    const caller = { gate: environment.scheduler.gateOf({}), aborted: false, reason: undefined };
    const looking = onBehalfOf(caller, this.context);
    const events = new EventStream(looking, formOfSubscription(settings));
    return new SubscriptionHub(settings, member, events, () => this.hubs.delete(name));
  }

  private async infoOf(name: string, { gate }: Caller): Promise<GroupInfo | undefined> {
    try {
      return await this.context.log.groups.get(name, undefined, gate);
    } catch (error) {
      if (error instanceof AnnalsError && error.reason === "GROUP_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Undefined: the group was not made by this protocol. */
  private async known(info: GroupInfo, call: Caller): Promise<KnownSubscription | undefined> {
    const settings = await this.kept(info.name, call);
    if (settings === undefined) return undefined;
    const hub = await this.hubs.get(info.name)?.catch(() => undefined);
    return { settings, info, consumers: hub?.consumers ?? [] };
  }

  private async kept(name: string, call: Caller): Promise<SubscriptionSettings | undefined> {
    const stream = settingsStreamPrefix + name;
    const selection = { kind: "stream", stream, withSystem: true } as const;
    const view = new RecordView();
    const newest = { selection, direction: "backwards", limit: 1 } as const;
    for await (const record of recordsOfRead(onBehalfOf(call, this.context), newest)) {
      const { data } = view.scan(record);
      return JSON.parse(Buffer.from(data).toString()) as SubscriptionSettings;
    }
    return undefined;
  }

  private async keep(name: string, settings: SubscriptionSettings, caller: Caller): Promise<void> {
    const header = { id: "", stream: settingsStreamPrefix + name, type: settingsType, tags: [] };
    const data = Buffer.from(JSON.stringify(settings));
    const fields = { ...header, contentType: "application/json", data };
    const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
    const events = [{ ...header, idFromClient: false, body }];
    const append = { events, expectations: [], conditions: [], bytes: body.length };
    await this.context.log.append(append, undefined, caller);
  }

  /** Where the group begins. What a stream has not got yet is left out by `formOfSubscription`. */
  private async startOf(
    { source, start }: SubscriptionSettings,
    call: Caller,
  ): Promise<GroupStart> {
    if (start === "end") return { kind: "end" };
    if (start === "start") return { kind: "after-position", position: 0 };
    const { head } = this.context.log.info();
    const number = Number(start);
    const selection = source === allStreams ? undefined : selectionOfTarget(streamTargetOf(source));
    if (selection?.kind !== "stream") {
      // In a stream of links, revision 0 is position 1.
      const position = selection === undefined ? number - 1 : number;
      return { kind: "after-position", position: Math.min(Math.max(position, 0), head) };
    }
    // The event of that revision may have been removed: the group begins at the next one there is.
    const from = { kind: "version", version: number + 1 } as const;
    const request = { selection, direction: "forwards", from, limit: 1 } as const;
    for await (const record of recordsOfRead(onBehalfOf(call, this.context), request)) {
      return { kind: "after-position", position: scanPlacement(record).position - 1 };
    }
    return { kind: "after-position", position: head };
  }

  /** Changes are made one after another: settings and group belong together. */
  private change(act: () => Promise<void>): Promise<void> {
    const done = this.lastChange.then(act);
    this.lastChange = done.catch(() => {});
    return done;
  }
}

/** How events of a subscription are found. */
function formOfSubscription(settings: SubscriptionSettings) {
  const { source, start, filter, resolveLinks: resolvesLinks } = settings;
  const common = { structuredIds: false, resolvesLinks };
  if (source === allStreams) {
    if (filter === undefined) return common;
    const { by, regex, prefix } = filter;
    const pattern = prefix.length > 0 ? prefixPattern(prefix) : patternOf(regex);
    return { ...common, filter: { by, pattern, checkpointEvents: Infinity } };
  }
  const target = streamTargetOf(source);
  if (target.kind === "links") return { ...common, linksOf: target.name };
  const firstVersion = /^\d+$/.test(start) ? Number(start) + 1 : 0;
  return { ...common, firstVersion };
}
