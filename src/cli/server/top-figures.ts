// What `annals top` shows: figures of two looks at the metrics of a server, and of what happened
// between them.

import type { MetricsText } from "./metrics-text.ts";

export interface TopFigures {
  /** The time between the looks. Rates are per second of it. */
  readonly seconds: number;
  readonly version: string;
  readonly engine: string;
  readonly writeState: string;
  readonly upSeconds: number;
  readonly head: number;
  readonly appends: {
    readonly perSecond: number;
    readonly eventsPerSecond: number;
    readonly conflictsPerSecond: number;
    readonly failedCommits: number;
    readonly waiting: number;
    readonly waitingBytes: number;
  };
  readonly commits: { readonly perSecond: number } & Latencies;
  /** Events that clients got, per second. */
  readonly handed: {
    readonly readPerSecond: number;
    readonly subscriptionPerSecond: number;
    readonly groupPerSecond: number;
  };
  readonly readPiecesWaiting: number;
  readonly subscriptions: {
    readonly live: number;
    readonly behind: number;
    readonly lagEvents: number;
  };
  readonly clients: {
    readonly connections: number;
    readonly memoryBytes: number;
    readonly memoryBytesMax: number;
  };
  readonly process: {
    readonly residentBytes: number;
    readonly heapUsedBytes: number;
    readonly cpuShare: number;
    readonly loopDelayP99Ms: number | undefined;
  };
  /** Undefined: the engine has no disk of its own. */
  readonly disk: DiskFigures | undefined;
  /** Undefined: it follows nobody. */
  readonly follower: FollowerFigures | undefined;
  /** Those with calls that ended in between, the most frequent first. */
  readonly methods: readonly MethodFigures[];
  /** The one that is the furthest behind first. */
  readonly groups: readonly GroupFigures[];
}

/** Milliseconds. Undefined: there were none; Infinity: above what is counted. */
interface Latencies {
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

interface DiskFigures {
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly reserveBytes: number;
  readonly reclaimableBytes: number;
}

interface FollowerFigures {
  readonly state: string;
  readonly lagEvents: number;
  readonly lagSeconds: number;
}

interface MethodFigures extends Latencies {
  readonly method: string;
  readonly perSecond: number;
  /** Calls that took more than `slowCallMs`, and those that failed. */
  readonly slow: number;
  readonly failed: number;
}

interface GroupFigures {
  readonly group: string;
  readonly lagEvents: number;
  readonly lagSeconds: number;
  readonly inFlight: number;
  readonly parked: number;
  readonly members: number;
}

/** A bound of the server's histogram. */
export const slowCallMs = 250;
/** They last as long as their clients want: none of them is slow. */
const openEnded = /\/(Subscribe|Consume|AppendPipe|Watch|Copy)$/;

const duration = "rpc_server_call_duration_seconds";

/** `before` and `after` are looks at one server; undefined where it began in between. */
export function figuresBetween(before: MetricsText, after: MetricsText): TopFigures | undefined {
  const value = (name: string, labels?: Record<string, string>): number =>
    after.value(name, labels) ?? 0;
  const told = "annals_told_timestamp_seconds";
  const started = "process_start_time_seconds";
  const seconds = value(told) - (before.value(told) ?? 0);
  if (before.value(started) !== after.value(started) || seconds <= 0) return undefined;
  const grown = (name: string, labels?: Record<string, string>): number =>
    Math.max(0, value(name, labels) - (before.value(name, labels) ?? 0));
  const rate = (name: string, labels?: Record<string, string>): number =>
    grown(name, labels) / seconds;
  const handed = (to: string): number => rate("annals_events_handed_total", { to });
  const commit = "annals_commit_duration_seconds";
  const build = after.of("annals_build_info")[0]?.labels;
  const p99 = after.value("nodejs_eventloop_delay_p99_seconds");
  return {
    seconds,
    version: build?.["version"] ?? "",
    engine: build?.["engine"] ?? "",
    writeState: stateIn(after, "annals_write_state"),
    upSeconds: value(told) - value(started),
    head: value("annals_head_position"),
    appends: {
      perSecond: rate("annals_appends_total"),
      eventsPerSecond: rate("annals_events_appended_total"),
      conflictsPerSecond: rate("annals_appends_total", { outcome: "conflict" }),
      failedCommits: grown("annals_commits_failed_total"),
      waiting: value("annals_append_queue_entries"),
      waitingBytes: value("annals_append_queue_bytes"),
    },
    commits: {
      perSecond: rate(`${commit}_count`),
      ...latencies(bucketsBetween(before, after, commit)),
    },
    handed: {
      readPerSecond: handed("read"),
      subscriptionPerSecond: handed("subscription"),
      groupPerSecond: handed("group"),
    },
    readPiecesWaiting: value("annals_read_queue_pieces"),
    subscriptions: {
      live: value("annals_subscriptions", { state: "live" }),
      behind: value("annals_subscriptions", { state: "behind" }),
      lagEvents: value("annals_subscription_lag_events"),
    },
    clients: {
      connections: value("annals_connections"),
      memoryBytes: value("annals_client_memory_bytes"),
      memoryBytesMax: value("annals_client_memory_limit_bytes"),
    },
    process: {
      residentBytes: value("process_resident_memory_bytes"),
      heapUsedBytes: value("nodejs_memory_bytes", { kind: "heap_used" }),
      cpuShare: rate("process_cpu_seconds_total"),
      loopDelayP99Ms: p99 === undefined ? undefined : p99 * 1_000,
    },
    disk: diskIn(after),
    follower: followerIn(after),
    methods: methodsBetween(before, after, seconds),
    groups: groupsIn(after),
  };
}

function stateIn(look: MetricsText, name: string): string {
  return look.of(name).find(({ value }) => value === 1)?.labels["state"] ?? "";
}

function diskIn(look: MetricsText): DiskFigures | undefined {
  const usedBytes = look.value("annals_disk_used_bytes");
  if (usedBytes === undefined) return undefined;
  return {
    usedBytes,
    freeBytes: look.value("annals_disk_free_bytes") ?? 0,
    reserveBytes: look.value("annals_disk_reserve_bytes") ?? 0,
    reclaimableBytes: look.value("annals_disk_reclaimable_bytes") ?? 0,
  };
}

function followerIn(look: MetricsText): FollowerFigures | undefined {
  const lagEvents = look.value("annals_follower_lag_events");
  if (lagEvents === undefined) return undefined;
  const lagSeconds = look.value("annals_follower_lag_seconds") ?? 0;
  return { state: stateIn(look, "annals_follower_state"), lagEvents, lagSeconds };
}

function methodsBetween(before: MetricsText, after: MetricsText, seconds: number): MethodFigures[] {
  const names = after.of(`${duration}_count`).map(({ labels }) => labels["rpc_method"] ?? "");
  const methods = [...new Set(names)].map((method): MethodFigures => {
    const buckets = bucketsBetween(before, after, duration, method);
    const all = buckets.at(-1)?.count ?? 0;
    const within = buckets.findLast(({ bound }) => bound * 1_000 <= slowCallMs)?.count ?? 0;
    const labels = { rpc_method: method };
    const well = { ...labels, rpc_status_code: "OK" };
    const grown = (which: Record<string, string>): number =>
      (after.value(`${duration}_count`, which) ?? 0) -
      (before.value(`${duration}_count`, which) ?? 0);
    const isOpenEnded = openEnded.test(method);
    return {
      method,
      perSecond: all / seconds,
      ...(isOpenEnded ? { p50Ms: undefined, p99Ms: undefined } : latencies(buckets)),
      slow: isOpenEnded ? 0 : all - within,
      failed: grown(labels) - grown(well),
    };
  });
  return methods
    .filter(({ perSecond }) => perSecond > 0)
    .toSorted((a, b) => b.perSecond - a.perSecond);
}

function groupsIn(look: MetricsText): GroupFigures[] {
  const groups = look.of("annals_group_lag_events").map(({ labels, value }): GroupFigures => {
    const { group = "" } = labels;
    const figure = (name: string): number => look.value(`annals_group_${name}`, { group }) ?? 0;
    return {
      group,
      lagEvents: value,
      lagSeconds: figure("lag_seconds"),
      inFlight: figure("in_flight_events"),
      parked: figure("parked_events"),
      members: figure("members"),
    };
  });
  return groups.toSorted((a, b) => b.lagSeconds - a.lagSeconds || b.lagEvents - a.lagEvents);
}

/** How many values up to the bound came in between. */
interface Bucket {
  readonly bound: number;
  readonly count: number;
}

/** Ascending by their bounds; over all statuses of the method. */
function bucketsBetween(
  before: MetricsText,
  after: MetricsText,
  name: string,
  method?: string,
): Bucket[] {
  const counts = new Map<number, number>();
  const add = (look: MetricsText, sign: 1 | -1): void => {
    for (const { labels, value } of look.of(`${name}_bucket`)) {
      if (method !== undefined && labels["rpc_method"] !== method) continue;
      const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * value);
    }
  };
  add(after, 1);
  add(before, -1);
  const buckets = [...counts].map(([bound, count]) => ({ bound, count }));
  return buckets.toSorted((a, b) => a.bound - b.bound);
}

function latencies(buckets: readonly Bucket[]): Latencies {
  return { p50Ms: quantileMs(buckets, 0.5), p99Ms: quantileMs(buckets, 0.99) };
}

/** As if the values were spread evenly within their bucket. */
function quantileMs(buckets: readonly Bucket[], share: number): number | undefined {
  const all = buckets.at(-1)?.count ?? 0;
  if (all <= 0) return undefined;
  let below: Bucket = { bound: 0, count: 0 };
  for (const bucket of buckets) {
    if (bucket.count >= share * all) {
      if (bucket.bound === Infinity) return Infinity;
      const part = (share * all - below.count) / Math.max(1, bucket.count - below.count);
      return (below.bound + (bucket.bound - below.bound) * part) * 1_000;
    }
    below = bucket;
  }
  return undefined;
}
