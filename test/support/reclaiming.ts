// A reclaimer that does nothing by itself: tests say when.
import type { Reclaimer, ReclaimOptions } from "../../src/storage/leveldb/upkeep/reclaimer.ts";

export const whenAsked: ReclaimOptions = {
  bytesPerSecond: Number.POSITIVE_INFINITY,
  delayMs: 2 ** 30,
  compactBytesMin: 0,
};

/** Gives back the space of all that is removed by now: what is seen twice to be gone. */
export async function reclaimAll(reclaimer: Reclaimer | undefined): Promise<void> {
  if (reclaimer === undefined) throw new Error("the store was opened without a reclaimer");
  await reclaimer.round();
  await reclaimer.round();
}
