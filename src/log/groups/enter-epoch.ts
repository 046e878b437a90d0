// A group in a store that began a new epoch: what the group has settled beyond the positions that
// both epochs share were other events, so it begins anew there.

import { currentEpoch, sharedThrough, type History } from "../../domain/epoch.ts";
import type { GroupRunner } from "./runner.ts";
import { recordSideValue } from "./side-values.ts";

/** What the record of a group has. Undefined: the store is in its first epoch. */
export function epochInRecord(history: History): string | undefined {
  return history.length > 1 ? currentEpoch(history) : undefined;
}

/** Called before the group does anything. Resolves when it is durable that it is in this epoch. */
export async function enterEpoch(runner: GroupRunner, history: History): Promise<void> {
  const { machine, record } = runner;
  const shared = sharedThrough(history, record.epoch ?? history[0].id) ?? 0;
  if (shared === Infinity) return;
  runner.record = { ...record, epoch: epochInRecord(history) };
  if (machine.position > shared) {
    machine.reset(shared, machine.fromTime);
    runner.restart();
  }
  try {
    await runner.flush([recordSideValue(runner.record)]);
  } catch (error) {
    runner.fail(error);
    throw error;
  }
}
