// A reclaimer that only runs when a test says so.
import type { Reclaimer, ReclaimOptions } from "../../src/storage/leveldb/upkeep/reclaimer.ts";

export const whenAsked: ReclaimOptions = {
  bytesPerSecond: Number.POSITIVE_INFINITY,
  delayMs: 2 ** 30,
  compactBytesMin: 0,
};

/**
 * Reclaims the space of everything that is removed by now. It takes two rounds to see that events
 * stay removed.
 */
export async function reclaimAll(reclaimer: Reclaimer | undefined): Promise<void> {
  if (reclaimer === undefined) throw new Error("the store was opened without a reclaimer");
  await reclaimer.round();
  await reclaimer.round();
}
