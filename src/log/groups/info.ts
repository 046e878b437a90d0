// Information about a group: what its state machine knows, and what is looked up.

import { scanRecordedAt } from "../../domain/record.ts";
import { firstRecord } from "../read/records.ts";
import { selectionOf } from "./reading.ts";
import type { GroupRecord } from "./record.ts";
import type { GroupRunner, RunnerParts } from "./runner.ts";
import type { GroupInfo } from "../group-verbs.ts";

type Parts = Pick<RunnerParts, "storage" | "gate" | "clock">;

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
  const lagEvents = await runner.lagEvents(lagMax, signal);
  const parkedCount = await runner.parkedCount();
  const { position } = runner;
  return {
    name: record.name,
    settings: record.settings,
    position,
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
