// The settings of a persistent subscription, as clients give them and read them back. A consumer
// group of the log has fewer: what it does not know is kept in an event of its own.

import type { GroupSettings } from "../../../domain/group/settings.ts";
import type { Limits } from "../../../domain/limits.ts";
import { anyEvent, type Query } from "../../../domain/query.ts";
import { lifecycleStream } from "../../../domain/lifecycle/lifecycle-event.ts";
import {
  CreateReq_ConsumerStrategy as Strategy,
  type CreateReq_Options,
  type CreateReq_Settings,
  type UpdateReq_Options,
  type UpdateReq_Settings,
} from "../../../gen/event_store/client/persistent_subscriptions/persistent_subscriptions_pb.js";
import { linkType } from "../mapping/content.ts";
import { invalidArgument, settingsRefused } from "../mapping/errors.ts";
import { filterOf } from "../read/filter.ts";
import { nameOf, streamTargetOf } from "../mapping/names.ts";
import { at, type Start } from "../read/read-request.ts";

/** The name by which clients ask for all streams. */
export const allStreams = "$all";

export const strategies = [
  "RoundRobin",
  "DispatchToSingle",
  "Pinned",
  "PinnedByCorrelation",
] as const;
export type StrategyName = (typeof strategies)[number];

/** Stored as JSON: members are only ever added. */
export interface SubscriptionSettings {
  readonly source: string;
  readonly group: string;
  /** A revision or a position, inclusive, or `start` or `end`. */
  readonly start: string;
  /** The start that an update gave. It has no effect: the subscription has a position by then. */
  readonly shownStart?: string | undefined;
  readonly filter?: SettingsFilter | undefined;
  readonly strategy: StrategyName;
  readonly resolveLinks: boolean;
  readonly extraStatistics: boolean;
  readonly maxRetryCount: number;
  /** 0: none. */
  readonly messageTimeoutMs: number;
  readonly checkpointAfterMs: number;
  readonly minCheckpointCount: number;
  readonly maxCheckpointCount: number;
  /** 0: no limit. */
  readonly maxSubscriberCount: number;
  readonly liveBufferSize: number;
  readonly readBatchSize: number;
  readonly historyBufferSize: number;
}

interface SettingsFilter {
  readonly by: "stream" | "type";
  readonly regex: string;
  readonly prefix: string[];
}

const ticksPerMs = 10_000n;

/** Throws INVALID_ARGUMENT. */
export function createdSettings(options: CreateReq_Options, limits: Limits): SubscriptionSettings {
  const { settings, groupName: group } = options;
  if (settings === undefined) throw invalidArgument("the settings are missing");
  const { source, start, filter } = sourceOf(options, settings.revision, limits);
  const strategy = settings.consumerStrategy || strategyOf(settings.namedConsumerStrategy);
  if (!isStrategy(strategy)) {
    throw settingsRefused(`the consumer strategy ${strategy} is none of ${strategies.join(", ")}`);
  }
  return { source, group, start, filter, strategy, ...amountsOf(settings) };
}

/** The settings after an update: source, filter and position stay. A new start is only shown. */
export function updatedSettings(
  before: SubscriptionSettings,
  { settings, streamOption }: UpdateReq_Options,
): SubscriptionSettings {
  if (settings === undefined) throw invalidArgument("the settings are missing");
  // An update cannot name this strategy: it is kept.
  const isKept = before.strategy === "PinnedByCorrelation";
  const strategy = isKept ? before.strategy : strategyOf(settings.namedConsumerStrategy);
  const shownStart = updatedStart(streamOption, settings) ?? before.shownStart ?? before.start;
  return { ...before, shownStart, strategy, ...amountsOf(settings) };
}

/** Undefined: the update does not say. */
function updatedStart(
  option: UpdateReq_Options["streamOption"],
  settings: UpdateReq_Settings,
): string | undefined {
  if (option.case === undefined) {
    const from = at(settings.revision);
    return from.kind === "at" ? `${from.at}` : from.kind;
  }
  const start = option.case === "all" ? option.value.allOption : option.value.revisionOption;
  return start.case === undefined ? undefined : startText(start);
}

function isStrategy(name: string): name is StrategyName {
  return (strategies as readonly string[]).includes(name);
}

function strategyOf(strategy: number): StrategyName {
  switch (strategy as Strategy) {
    case Strategy.RoundRobin:
      return "RoundRobin";
    case Strategy.Pinned:
      return "Pinned";
    case Strategy.DispatchToSingle:
      return "DispatchToSingle";
  }
  throw invalidArgument(`there is no consumer strategy ${strategy}`);
}

function amountsOf(settings: CreateReq_Settings | UpdateReq_Settings) {
  const { messageTimeout, checkpointAfter, resolveLinks, extraStatistics } = settings;
  const { maxRetryCount, minCheckpointCount, maxCheckpointCount, maxSubscriberCount } = settings;
  const { liveBufferSize, readBatchSize, historyBufferSize } = settings;
  if (historyBufferSize > 0 && readBatchSize >= historyBufferSize) {
    const sizes = `history buffer size (${historyBufferSize}) is not above the read batch size`;
    throw settingsRefused(`the ${sizes} (${readBatchSize})`);
  }
  return {
    resolveLinks,
    extraStatistics,
    messageTimeoutMs: msOf(messageTimeout, "messageTimeoutMs"),
    checkpointAfterMs: msOf(checkpointAfter, "checkpointAfterMs"),
    maxRetryCount,
    minCheckpointCount,
    maxCheckpointCount,
    maxSubscriberCount,
    liveBufferSize,
    readBatchSize,
    historyBufferSize,
  };
}

function msOf(
  time: { readonly case?: string | undefined; readonly value?: number | bigint | undefined },
  inMs: string,
): number {
  const { value = 0 } = time;
  if (time.case === inMs || typeof value === "number") return Number(value);
  return Number(value / ticksPerMs);
}

interface Source {
  readonly source: string;
  readonly start: string;
  readonly filter?: SettingsFilter | undefined;
}

interface StartOption {
  readonly case?: string | undefined;
  readonly value?: unknown;
}

/** `revision`: where clients give it with the settings. */
function sourceOf(options: CreateReq_Options, revision: bigint, limits: Limits): Source {
  const { streamOption, streamIdentifier } = options;
  switch (streamOption.case) {
    case "stream": {
      const source = nameOf(streamOption.value.streamIdentifier, limits);
      return { source, start: startText(streamOption.value.revisionOption) };
    }
    case "all": {
      const { allOption, filterOption } = streamOption.value;
      const filter =
        filterOption.case === "filter" ? settingsFilter(filterOption.value) : undefined;
      return { source: allStreams, start: startText(allOption), filter };
    }
    case undefined: {
      const from = at(revision);
      const start = from.kind === "at" ? `${from.at}` : from.kind;
      return { source: nameOf(streamIdentifier, limits), start };
    }
  }
}

function startText(option: StartOption): string {
  if (option.case === "start" || option.case === "end") return option.case;
  const { value } = option;
  const position = value as { readonly commitPosition?: bigint } | undefined;
  const number = typeof value === "bigint" ? value : position?.commitPosition;
  if (number === undefined) throw invalidArgument("the start is missing");
  const from: Start = at(number);
  return from.kind === "at" ? `${from.at}` : from.kind;
}

function settingsFilter(wire: Parameters<typeof filterOf>[0]): SettingsFilter {
  // It has no checkpoints for its consumers: some clients send no interval.
  const { filter, window } = wire;
  const { by } = filterOf({ filter, window, checkpointIntervalMultiplier: 1 });
  const { regex = "", prefix = [] } = wire.filter.value ?? {};
  return { by, regex, prefix };
}

/** The source of an update, a deletion or a question. Throws INVALID_ARGUMENT. */
export function namedSource(
  options: Pick<UpdateReq_Options, "streamOption" | "streamIdentifier">,
  limits: Limits,
): string {
  const { streamOption, streamIdentifier } = options;
  if (streamOption.case === "all") return allStreams;
  const own = streamOption.case === "stream" ? streamOption.value.streamIdentifier : undefined;
  return nameOf(own ?? streamIdentifier, limits);
}

const endlessMs = 12 * 3_600_000;

/**
 * KurrentDB looks for events whose time is over once in a second. Clients rely on it: some hold
 * back what they acknowledge for longer than their shortest timeouts.
 */
const leaseMsMin = 1_000;

/** How long a consumer may take for an event. */
export function leaseMsOf({
  messageTimeoutMs,
}: Pick<SubscriptionSettings, "messageTimeoutMs">): number {
  if (messageTimeoutMs <= 0) return endlessMs;
  return Math.min(Math.max(messageTimeoutMs, leaseMsMin), endlessMs);
}

/** What the consumer group of the log is to do. */
export function groupSettings(settings: SubscriptionSettings): GroupSettings {
  const { maxRetryCount } = settings;
  return {
    query: queryOf(settings),
    // Events of one stream are delivered in order, and not held back by each other.
    ordering: { kind: "none" },
    leaseMs: leaseMsOf(settings),
    attemptsMax: Math.max(maxRetryCount, 0) + 1,
    retryDelayMs: 0,
    retryDelayMaxMs: 0,
    inFlightMax: 10_000,
  };
}

function queryOf({ source, filter }: SubscriptionSettings): Query {
  if (source === allStreams) {
    const prefixes = filter?.by === "stream" ? filter.prefix : [];
    const isNarrow = prefixes.length > 0 && !prefixes.some((one) => "$".startsWith(one[0] ?? "$"));
    return { items: isNarrow ? [{ ...anyEvent, streamPrefixes: prefixes }] : [] };
  }
  const target = streamTargetOf(source);
  if (target.kind === "links" && target.selection.kind === "query") return target.selection.query;
  if (target.kind === "metadata") {
    return { items: [{ ...anyEvent, streams: [lifecycleStream(target.name)] }] };
  }
  // Links are system events: they are named by their type.
  const streams = [source];
  return {
    items: [
      { ...anyEvent, streams },
      { ...anyEvent, streams, types: [linkType] },
    ],
  };
}

/** What the settings take in memory, with the query that the group makes of them, about. */
export function settingsBytes(settings: SubscriptionSettings): number {
  return 4 * JSON.stringify(settings).length;
}
