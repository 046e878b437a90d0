// Where a time is in the log.

import { chunkHolding } from "./chunks.ts";
import type { OpenStore } from "../state/open-store.ts";

/**
 * The first position recorded at or after a time (microseconds), as of now; the one after the head
 * where there is none. A binary search over the chunks: their times never decrease.
 */
export async function positionAt(store: OpenStore, time: number): Promise<number> {
  const { head } = store;
  let low = 1;
  let high = head.position + 1;
  if (time > head.recordedAt) return high;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const chunk = await chunkHolding(store, middle, head.position);
    if (chunk.recordedAt >= time) high = Math.max(low, chunk.first);
    else low = chunk.last + 1;
  }
  return low;
}
