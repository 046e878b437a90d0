// The store's metrics, of the figures that the log and the storage keep of themselves. They know
// nothing of metrics, and are asked when somebody looks.

import type { EventLog } from "../log/verbs.ts";
import type { GroupInfo } from "../log/group-verbs.ts";
import type { CommitFigures, LogFigures } from "../log/log-figures.ts";
import type { FollowStatus } from "../storage/copy.ts";
import type { StandbyStatus } from "../storage/standby-status.ts";
import type {
  ReclaimStatus,
  ScrubStatus,
  SpaceFacts,
  Storage,
  WriteState,
} from "../storage/storage.ts";
import { counter, gauge, histogram, type Family } from "./family.ts";

const microsPerSecond = 1_000_000;
const writeStates: readonly WriteState[] = [
  "accepting",
  "disk-full",
  "recovering",
  "failed",
  "following",
  "unreachable",
];
/** Groups that are told of one by one, in the order of their names. */
export const groupsToldMax = 100;

const followPhases: readonly FollowStatus["phase"][] = [
  "copying",
  "following",
  "disconnected",
  "refused",
];

type WatchedStorage = Pick<
  Storage,
  "head" | "writeState" | "reclaiming" | "scrubbing" | "space" | "following" | "standbys"
>;

export async function storeFamilies(
  log: Pick<EventLog, "figures">,
  storage: WatchedStorage,
): Promise<Family[]> {
  const space = await storage.space?.().catch(() => undefined);
  return [
    ...headFamilies(storage),
    ...logFamilies(log.figures()),
    ...followFamilies(storage.following?.()),
    ...reclaimFamilies(storage.reclaiming?.(), storage.head().position, space),
    ...scrubFamilies(storage.scrubbing?.()),
    ...spaceFamilies(space),
    ...standbyFamilies(storage.standbys?.()),
  ];
}

function headFamilies(storage: WatchedStorage): Family[] {
  const { position, recordedAt } = storage.head();
  const state = storage.writeState();
  const states = writeStates.map((each) => [{ state: each }, each === state ? 1 : 0] as const);
  return [
    gauge("annals_head_position", "The position of the last durable event.", position),
    gauge(
      "annals_head_timestamp_seconds",
      "When the last durable event was recorded.",
      recordedAt / microsPerSecond,
    ),
    gauge("annals_write_state", "1 for the state that the store is in.", states),
  ];
}

function logFamilies({
  commits,
  queue,
  subscriptions,
  runningGroups,
  handed,
  backups,
}: LogFigures): Family[] {
  const { liveCount, behindCount, lagMax } = subscriptions;
  return [
    ...commitFamilies(commits),
    gauge(
      "annals_append_queue_entries",
      "Appends and changes that wait for the disk.",
      queue.count,
    ),
    gauge("annals_append_queue_bytes", "What they hold in memory.", queue.bytes),
    gauge("annals_subscriptions", "Open subscriptions.", [
      [{ state: "live" }, liveCount],
      [{ state: "behind" }, behindCount],
    ]),
    gauge(
      "annals_subscription_lag_events",
      "Events between the head and the subscription that is the furthest behind it.",
      lagMax,
    ),
    gauge("annals_groups_running", "Consumer groups that run.", runningGroups),
    counter("annals_events_handed_total", "Events that were handed to callers.", [
      [{ to: "read" }, handed.read],
      [{ to: "subscription" }, handed.subscription],
      [{ to: "group" }, handed.group],
    ]),
    gauge(
      "annals_backup_finished_timestamp_seconds",
      "When the last backup over the network had everything; 0: none since the start.",
      backups.finishedAt / microsPerSecond,
    ),
    gauge("annals_backup_position", "The last position in that backup.", backups.position),
  ];
}

function commitFamilies(commits: CommitFigures): Family[] {
  const { seconds, events, bytes, outcomes, failedCount } = commits;
  const byOutcome = [...outcomes].map(([outcome, count]) => [{ outcome }, count] as const);
  return [
    histogram(
      "annals_commit_duration_seconds",
      "From the decision on a commit until it is durable.",
      [[{}, seconds]],
    ),
    histogram("annals_commit_events", "Events in a commit.", [[{}, events]]),
    histogram("annals_commit_size_bytes", "Bytes of the records in a commit.", [[{}, bytes]]),
    counter("annals_commits_failed_total", "Commits that failed or are uncertain.", failedCount),
    counter(
      "annals_appends_total",
      "Appends and changes that were answered, by how they ended.",
      byOutcome,
    ),
    counter("annals_events_appended_total", "Events that became durable.", events.sum),
  ];
}

/** Of a follower alone. */
function followFamilies(status: FollowStatus | undefined): Family[] {
  if (status === undefined) return [];
  const { phase, lagEvents, lagMs } = status;
  const phases = followPhases.map((each) => [{ state: each }, each === phase ? 1 : 0] as const);
  return [
    gauge(
      "annals_follower_lag_events",
      "Events of the leader, as far as they are known, that are not in the copy.",
      lagEvents,
    ),
    gauge(
      "annals_follower_lag_seconds",
      "The time since the copy last had everything; 0: it has everything.",
      lagMs / 1_000,
    ),
    gauge("annals_follower_state", "1 for the state that the follower is in.", phases),
  ];
}

/** An estimate: removed events are taken to be as large as those that were reclaimed, or as all. */
function reclaimableBytes(
  { events, bytesFreed, waitingEvents, waitingBytes }: ReclaimStatus,
  head: number,
  space: SpaceFacts | undefined,
): number {
  const [bytes, count] = events > 0 ? [bytesFreed, events] : [space?.used ?? 0, head];
  return Math.max(0, Math.round((waitingEvents * bytes) / Math.max(1, count) + waitingBytes));
}

function reclaimFamilies(
  status: ReclaimStatus | undefined,
  head: number,
  space: SpaceFacts | undefined,
): Family[] {
  if (status === undefined) return [];
  const { rounds, events, bytesFreed, lastFinishedAt } = status;
  return [
    gauge(
      "annals_disk_reclaimable_bytes",
      "About how much of the disk removed events still take.",
      reclaimableBytes(status, head, space),
    ),
    counter("annals_reclaim_rounds_total", "Completed rounds of the reclaimer.", rounds),
    counter("annals_reclaim_events_total", "Events whose space was reclaimed.", events),
    counter("annals_reclaim_freed_bytes_total", "Bytes freed.", Math.max(0, bytesFreed)),
    gauge(
      "annals_reclaim_finished_timestamp_seconds",
      "When the last round was completed; 0: none was.",
      lastFinishedAt / microsPerSecond,
    ),
  ];
}

function scrubFamilies(status: ScrubStatus | undefined): Family[] {
  if (status === undefined) return [];
  const { rounds, position, bytes, findingCount, lastFinishedAt } = status;
  return [
    counter("annals_scrub_rounds_total", "Completed rounds of the scrubber.", rounds),
    counter("annals_scrub_read_bytes_total", "Bytes that were checked.", bytes),
    counter("annals_scrub_findings_total", "Damage that was found.", findingCount),
    gauge("annals_scrub_position", "The last position that this round has checked.", position),
    gauge(
      "annals_scrub_finished_timestamp_seconds",
      "When the last round was completed; 0: none was.",
      lastFinishedAt / microsPerSecond,
    ),
  ];
}

function spaceFamilies(space: SpaceFacts | undefined): Family[] {
  if (space === undefined) return [];
  return [
    gauge("annals_disk_used_bytes", "Bytes of the store's files.", space.used),
    gauge("annals_disk_free_bytes", "Bytes that the file system has left.", space.free),
    gauge("annals_disk_reserve_bytes", "Below this, appends are refused.", space.reserve),
  ];
}

/** Of a store in a database whose standbys are read from. */
export function standbyFamilies(standbys: readonly StandbyStatus[] | undefined): Family[] {
  if (standbys === undefined) return [];
  const each = (value: (standby: StandbyStatus) => number) =>
    standbys.map((standby) => [{ host: standby.host }, value(standby)] as const);
  return [
    gauge(
      "annals_standby_used",
      "1: events are read from this standby; 0: the primary is read instead.",
      each(({ isUsed }) => (isUsed ? 1 : 0)),
    ),
    gauge(
      "annals_standby_position",
      "Up to where the standby was seen to have the log.",
      each(({ position }) => position),
    ),
    counter(
      "annals_standby_pages_total",
      "Pages of events that the standby answered.",
      each(({ pages }) => pages),
    ),
    counter(
      "annals_standby_failures_total",
      "How often the primary had to answer instead.",
      each(({ failures }) => failures),
    ),
  ];
}

/** Groups are few and named by operators: each is told of by its name. */
export function groupFamilies(groups: readonly GroupInfo[]): Family[] {
  const each = (name: string, help: string, value: (group: GroupInfo) => number): Family =>
    gauge(
      name,
      help,
      groups.map((group) => [{ group: group.name }, value(group)] as const),
    );
  return [
    each("annals_group_lag_events", "Unsettled events, counted up to 10,000.", (g) => g.lagEvents),
    each(
      "annals_group_lag_seconds",
      "The age of the oldest unsettled event.",
      (g) => (g.lagMicros ?? 0) / microsPerSecond,
    ),
    each("annals_group_in_flight_events", "Delivered and not settled.", (g) => g.inFlightCount),
    each("annals_group_parked_events", "Set aside after too many attempts.", (g) => g.parkedCount),
    each("annals_group_members", "Connected members.", (g) => g.memberCount),
  ];
}
