// Groups what a source has into batches of one append each. Items of one position stay together,
// and a change of a stream is a batch of its own.

import type { SourceItem } from "./source.ts";

/** As for an import of a file: little is repeated, and many events share a disk sync. */
const batchEventsMax = 1_000;
const batchBytesMax = 512 * 1024;
const batchTermsMax = 5_000;

/** `idleMs`: so long an incomplete batch waits for more. Absent: until it is full. */
export async function* itemBatches(
  items: AsyncIterable<SourceItem>,
  idleMs?: number,
): AsyncGenerator<readonly SourceItem[]> {
  const source = items[Symbol.asyncIterator]();
  let batch: SourceItem[] = [];
  let size = 0;
  try {
    let next = source.next();
    next.catch(() => {});
    for (;;) {
      const result =
        batch.length > 0 && idleMs !== undefined ? await within(next, idleMs) : await next;
      if (result?.done === true) break;
      if (result === undefined || isOver(batch, size, result.value)) {
        yield batch;
        [batch, size] = [[], 0];
      }
      if (result === undefined) continue;
      batch.push(result.value);
      size += sizeOf(result.value);
      next = source.next();
      next.catch(() => {});
    }
    if (batch.length > 0) yield batch;
  } finally {
    source.return?.().catch(() => {});
  }
}

/** Undefined: nothing came. */
async function within<T>(next: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const idle = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([next, idle]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the batch ends before the item. */
function isOver(batch: readonly SourceItem[], size: number, item: SourceItem): boolean {
  const last = batch.at(-1);
  if (last === undefined) return false;
  if (last.kind === "change" || item.kind === "change") return true;
  return size + sizeOf(item) > 1 && item.position !== last.position;
}

/** As a share of a full batch. */
function sizeOf(item: SourceItem): number {
  if (item.kind !== "event") return 1 / (batchEventsMax * 100);
  const { payload, metadata, tags } = item.event;
  const entries = Object.entries(metadata);
  const texts = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 200);
  const bytes = (payload.case === "data" ? payload.value.length : 0) + texts;
  return Math.max(
    1 / batchEventsMax,
    bytes / batchBytesMax,
    (tags.length + entries.length + 4) / batchTermsMax,
  );
}
