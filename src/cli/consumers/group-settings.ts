// The settings and the start of a consumer group, as command-line options and as text.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  GroupOrdering,
  GroupSettings,
  GroupSettingsSchema,
  GroupStartSchema,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { Query } from "../../gen/annals/v1/query_pb.js";
import { UsageError, wholeNumber } from "../arguments/options.ts";
import { queryOf, selectionOptions, type SelectionValues } from "../arguments/selection.ts";
import { ageText, spanOf, timestampOf } from "../arguments/time.ts";

/** The settings that can be changed while a group runs. */
export const changesOptions = {
  lease: { type: "string" },
  attempts: { type: "string" },
  "retry-delay": { type: "string" },
  "retry-delay-max": { type: "string" },
  "in-flight": { type: "string" },
} as const;

export const settingsOptions = {
  ...changesOptions,
  ...selectionOptions,
  stream: { type: "string", multiple: true },
  "every-event": { type: "boolean" },
  ordering: { type: "string" },
} as const;

export const startOptions = {
  after: { type: "string" },
  epoch: { type: "string" },
  "after-group": { type: "string" },
  "from-time": { type: "string" },
  "from-end": { type: "boolean" },
  "from-start": { type: "boolean" },
} as const;

interface ChangesValues {
  readonly lease?: string | undefined;
  readonly attempts?: string | undefined;
  readonly "retry-delay"?: string | undefined;
  readonly "retry-delay-max"?: string | undefined;
  readonly "in-flight"?: string | undefined;
}

interface SettingsValues extends SelectionValues, ChangesValues {
  readonly stream?: string[] | undefined;
  readonly "every-event"?: boolean | undefined;
  readonly ordering?: string | undefined;
}

interface StartValues {
  readonly after?: string | undefined;
  readonly epoch?: string | undefined;
  readonly "after-group"?: string | undefined;
  readonly "from-time"?: string | undefined;
  readonly "from-end"?: boolean | undefined;
  readonly "from-start"?: boolean | undefined;
}

type Init<Shape> = Exclude<Shape, { $typeName: string }>;
type SettingsInit = Init<MessageInitShape<typeof GroupSettingsSchema>>;
type ChangesInit = Omit<SettingsInit, "query" | "ordering">;
type StartInit = Init<MessageInitShape<typeof GroupStartSchema>>;

/** The settings from the options. Missing options have their defaults. */
export function settingsFromFlags(values: SettingsValues): SettingsInit {
  const { ordering } = values;
  const query = queryIn(values);
  return {
    ...changesOf(values),
    ...(query !== undefined && { query }),
    ...(ordering !== undefined && { ordering: { key: orderingOf(ordering) } }),
  };
}

/** The settings that the options contain, and no others. */
export function changesOf(values: ChangesValues): ChangesInit {
  const { lease, attempts, "in-flight": inFlight } = values;
  const { "retry-delay": delay, "retry-delay-max": delayMax } = values;
  return {
    ...(lease !== undefined && { lease: spanOf(lease, "--lease") }),
    ...(attempts !== undefined && { attemptsMax: countIn(attempts, "--attempts") }),
    ...(delay !== undefined && { retryDelay: spanOf(delay, "--retry-delay") }),
    ...(delayMax !== undefined && { retryDelayMax: spanOf(delayMax, "--retry-delay-max") }),
    ...(inFlight !== undefined && { inFlightMax: countIn(inFlight, "--in-flight") }),
  };
}

/** Undefined selects every event. */
function queryIn(values: SettingsValues) {
  const { stream: streams = [], type: types = [], tag: tags = [] } = values;
  const { prefix: streamPrefixes = [], "query-json": json } = values;
  const parts = streams.length + types.length + tags.length + streamPrefixes.length;
  const every = values["every-event"] === true;
  if (Number(parts > 0) + Number(json !== undefined) + Number(every) > 1) {
    const rest = "--stream, --type, --tag, --prefix";
    throw new UsageError(`--every-event, --query-json and ${rest} exclude each other`);
  }
  if (json !== undefined) return queryOf(json);
  return parts > 0 ? { items: [{ streams, streamPrefixes, types, tags }] } : undefined;
}

function countIn(text: string, option: string): number {
  return wholeNumber(text, option, { min: 1 });
}

function orderingOf(text: string) {
  if (text === "stream" || text === "category" || text === "none") {
    return { case: text, value: {} } as const;
  }
  const value = /^tag:(.+)$/s.exec(text)?.[1];
  if (value !== undefined) return { case: "tagPrefix", value } as const;
  throw new UsageError(`--ordering: "${text}" is not one of stream, category, none, tag:PREFIX`);
}

/** Undefined starts at the first event. */
export function startOf(values: StartValues): StartInit | undefined {
  const { after, "after-group": group, "from-time": time } = values;
  const { "from-end": end, "from-start": start, epoch = "" } = values;
  const given = [after, group, time, end, start].filter((value) => value !== undefined);
  if (given.length > 1) {
    const rest = "--after, --after-group, --from-time, --from-end";
    throw new UsageError(`${rest} and --from-start exclude each other`);
  }
  if (epoch !== "" && after === undefined) throw new UsageError("--epoch goes with --after");
  if (given.length === 0) return undefined;
  if (after !== undefined) {
    const value = BigInt(wholeNumber(after, "--after"));
    return { start: { case: "afterPosition", value }, epoch };
  }
  if (group !== undefined) return { start: { case: "afterGroup", value: group } };
  if (time !== undefined) {
    return { start: { case: "fromTime", value: timestampOf(time, "--from-time") } };
  }
  if (end === true) return { start: { case: "fromEnd", value: {} } };
  return { start: { case: "afterPosition", value: 0n } };
}

/** Names and values, for people. */
export function settingsText(settings: GroupSettings | undefined): [string, string][] {
  if (settings === undefined) return [];
  const { lease, retryDelay, retryDelayMax, attemptsMax, inFlightMax } = settings;
  return [
    ["events", queryText(settings.query)],
    ["in order by", orderingText(settings.ordering)],
    ["lease", lease === undefined ? "" : ageText(lease)],
    ["attempts", `${attemptsMax}, then parked`],
    ["tried again", `${delayText(retryDelay)}, at most ${delayText(retryDelayMax)}`],
    ["in flight", `at most ${inFlightMax}`],
  ];
}

export function settingsJson(settings: GroupSettings | undefined): object {
  if (settings === undefined) return {};
  const { lease, retryDelay, retryDelayMax, attemptsMax, inFlightMax } = settings;
  const items = (settings.query?.items ?? []).map(
    ({ streams, streamPrefixes, types, tags, tagsAny }) => {
      return { streams, streamPrefixes, types, tags, tagsAny };
    },
  );
  return {
    query: { items },
    ordering: orderingText(settings.ordering),
    lease: delayText(lease),
    attemptsMax,
    retryDelay: delayText(retryDelay),
    retryDelayMax: delayText(retryDelayMax),
    inFlightMax,
  };
}

function delayText(duration: GroupSettings["lease"]): string {
  if (duration === undefined) return "0s";
  return duration.seconds === 0n && duration.nanos === 0 ? "0s" : ageText(duration);
}

function orderingText(ordering: GroupOrdering | undefined): string {
  if (ordering?.key.case === "tagPrefix") return `tag:${ordering.key.value}`;
  return ordering?.key.case ?? "stream";
}

function queryText(query: Query | undefined): string {
  const items = (query?.items ?? []).map((item) => {
    const { streams, streamPrefixes, types, tags, tagsAny } = item;
    const parts = [
      ...streams.map((stream) => `stream ${stream}`),
      ...streamPrefixes.map((prefix) => `streams ${prefix}*`),
      ...types.map((type) => `type ${type}`),
      ...tags.map((tag) => `tag ${tag}`),
      ...(tagsAny.length > 0 ? [`any of the tags ${tagsAny.join(", ")}`] : []),
    ];
    return parts.length === 0 ? "every event" : parts.join(", ");
  });
  return items.length === 0 ? "every event" : items.join("; or ");
}
