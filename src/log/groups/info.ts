// Information about a group: what its state machine knows, and what is looked up.

import { currentEpoch } from "../../domain/epoch.ts";
import { scanRecordedAt } from "../../domain/record.ts";
import { firstRecord } from "../read/records.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { passGate } from "../scheduling/scheduler.ts";
import { selectionOf } from "./reading.ts";
import { decodeGroupRecord, type GroupRecord } from "./record.ts";
import type { GroupRunner, RunnerParts } from "./runner.ts";
import { listedLagEventsMax, type GroupInfo, type GroupPage } from "../group-verbs.ts";

const { groupInfoBytes } = schedulingPolicy;

/** With the gate of the caller who asks. */
type Parts = Pick<RunnerParts, "storage" | "gate" | "clock" | "nowMs">;

export interface InfoBounds {
  /** The lag in events is counted up to this number. */
  readonly lagMax: number;
  /** Whether the members are listed individually. */
  readonly members: boolean;
}

export async function infoOf(
  runner: GroupRunner,
  parts: Parts,
  { lagMax, members }: InfoBounds,
  signal?: AbortSignal,
): Promise<GroupInfo> {
  const { machine, record } = runner;
  const lagEvents = await runner.lagEvents(parts, lagMax, signal);
  const parkedCount = await runner.parkedCount();
  const { position } = runner;
  return {
    name: record.name,
    settings: record.settings,
    position,
    epoch: currentEpoch(parts.storage.identity.history),
    lagEvents,
    lagMicros: lagEvents > 0 ? await lagOf(parts, record, position) : undefined,
    inFlightCount: machine.inFlightCount,
    memberCount: machine.memberCount,
    members: members ? runner.memberInfos : [],
    parkedCount,
    oldestInFlight: machine.oldestInFlight,
    createdAt: record.createdAt,
  };
}

/** A group's record has its query, of up to a megabyte or two. */
const listedAtOnce = 8;

/** A few groups, none only if there are no more. Ends early when the signal is aborted. */
export async function listInfos(
  parts: Parts,
  page: GroupPage,
  runnerOf: (name: string) => Promise<GroupRunner | undefined>,
  signal?: AbortSignal,
): Promise<GroupInfo[]> {
  const { storage, gate } = parts;
  const infos: GroupInfo[] = [];
  for (let { after } = page; infos.length === 0;) {
    const limit = Math.min(page.limit, listedAtOnce);
    const list = { space: "group", ...page, after, limit } as const;
    const sideValues = await storage.sideValues.list(list);
    for (const { name, value } of sideValues) {
      await passGate(gate, groupInfoBytes, signal);
      if (signal?.aborted === true) return infos;
      decodeGroupRecord(name, value);
      const runner = await runnerOf(name);
      if (runner === undefined) continue;
      const bounds = { lagMax: listedLagEventsMax, members: false };
      infos.push(await infoOf(runner, parts, bounds, signal));
    }
    const last = sideValues.at(-1);
    if (last === undefined) break;
    after = last.name;
  }
  return infos;
}

/** How long ago the first match after a position was recorded. */
async function lagOf(
  parts: Parts,
  { settings }: GroupRecord,
  position: number,
): Promise<number | undefined> {
  const { storage, clock } = parts;
  const oldest = await firstRecord(parts, {
    selection: selectionOf(settings.query),
    direction: "forwards",
    positions: { first: position + 1, last: storage.head().position },
  });
  return oldest && Math.max(0, clock() - scanRecordedAt(oldest));
}
