// The parked events of a group: listing them with their records, delivering them again, and
// dropping them. Many events are processed in pages, and each page is durable before the next.

import { findParked, listParked } from "./side-values.ts";
import { groupEvent, recordAt } from "./reading.ts";
import type { Source } from "../scheduling/scheduled-read.ts";
import type { GroupRunner, RunnerParts } from "./runner.ts";
import type { ParkedEvent, ParkedPage } from "../group-verbs.ts";

const pageCount = 256;
/** Replays that may wait in memory. */
const replaysMax = 100_000;

type Parts = Pick<RunnerParts, "storage" | "nowMs">;

export async function listParkedEvents(
  runner: GroupRunner,
  source: Source,
  { after, limit, bytesMax }: ParkedPage,
): Promise<ParkedEvent[]> {
  const { id } = runner.record;
  const parked = await listParked(source.storage, id, after, limit);
  const events: ParkedEvent[] = [];
  let bytes = 0;
  for (const one of parked) {
    if (events.length > 1 && bytes > bytesMax) break;
    const record = await recordAt(source, one.position);
    bytes += record?.length ?? 0;
    events.push({ ...one, record });
  }
  return events;
}

/** Returns how many. An event that is no longer in the log is dropped. */
export function replayParked(
  runner: GroupRunner,
  parts: Parts,
  positions: readonly number[],
): Promise<number> {
  const { nowMs } = parts;
  return byPage(runner, parts, positions, async (position) => {
    if (runner.machine.replayCount >= replaysMax) return "enough";
    const record = await runner.readRecord(position);
    if (record === undefined) {
      runner.machine.discard(position);
      return "passed over";
    }
    runner.machine.replay(groupEvent(record), nowMs());
    return "done";
  });
}

export function discardParked(
  runner: GroupRunner,
  parts: Parts,
  positions: readonly number[],
): Promise<number> {
  return byPage(runner, parts, positions, async (position) => {
    runner.machine.discard(position);
    return "done";
  });
}

type Act = (position: number) => Promise<"done" | "passed over" | "enough">;

async function byPage(
  runner: GroupRunner,
  { storage }: Parts,
  positions: readonly number[],
  act: Act,
): Promise<number> {
  // Events that were just parked must be on disk before they are looked up there.
  await runner.flush();
  const { id } = runner.record;
  if (positions.length > 0) {
    const found = await findParked(storage, id, [...new Set(positions)]);
    return (await takePage(runner, found, act)).count;
  }
  let total = 0;
  for (let after = 0; ;) {
    const page = await listParked(storage, id, after, pageCount);
    const taken = page.map(({ position }) => position);
    const { count, isEnough } = await takePage(runner, taken, act);
    total += count;
    if (isEnough || page.length < pageCount) return total;
    after = page.at(-1)?.position ?? after;
  }
}

async function takePage(
  runner: GroupRunner,
  positions: readonly number[],
  act: Act,
): Promise<{ count: number; isEnough: boolean }> {
  let count = 0;
  let isEnough = false;
  for (const position of positions) {
    const done = await act(position);
    isEnough = done === "enough";
    if (isEnough) break;
    if (done === "done") count++;
  }
  if (positions.length > 0) await runner.flush();
  return { count, isEnough };
}
