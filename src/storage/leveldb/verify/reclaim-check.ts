// Checks rewritten chunks: each must be what the event that records its rewrite says. That event is
// in the hash chain, so that a chunk that something else rewrote is detected.

import { AnnalsError } from "../../../domain/errors.ts";
import { chunksRewrittenBy } from "../../../domain/lifecycle/removal-event.ts";
import { frameOffsets, openChunk, presentHashOf, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import { isRemovedRecord } from "../../removed-record.ts";
import type { ReadableKv } from "../kv/kv.ts";

export class ReclaimCheck {
  private readonly kv: ReadableKv;
  private readonly found: (finding: string) => void;
  /**
   * The removal event that was looked up last. One event records many chunks, mostly consecutive
   * ones.
   */
  private position = 0;
  private rewritten: ReadonlyMap<number, Uint8Array> = new Map();

  constructor(kv: ReadableKv, found: (finding: string) => void) {
    this.kv = kv;
    this.found = found;
  }

  async check(chunk: Chunk): Promise<void> {
    if (chunk.reclaimed === undefined) return;
    const { recordedIn, isEmptied } = chunk.reclaimed;
    const where = `positions ${chunk.first} to ${chunk.last}`;
    if (isEmptied && !isAllRemoved(chunk))
      this.found(`${where} are not removed, as their chunk says`);
    try {
      if (this.position !== recordedIn) {
        this.rewritten = chunksRewrittenBy(await this.recordAt(recordedIn));
        this.position = recordedIn;
      }
    } catch (error) {
      if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
      this.found(`the removal of events of ${where} cannot be read: ${error.message}`);
      return;
    }
    const expected = this.rewritten.get(chunk.last);
    if (expected && Buffer.compare(expected, presentHashOf(chunk)) === 0) return;
    this.found(`${where} are not what the removal at position ${recordedIn} made of them`);
  }

  private async recordAt(position: number): Promise<Uint8Array> {
    const last = chunkKey(Number.MAX_SAFE_INTEGER);
    const [entry] = await this.kv.page({ first: chunkKey(position), last, limit: 1 });
    if (entry) {
      const chunk = openChunk(entry[0], entry[1]);
      const [from, to] = frameOffsets(chunk).subarray(position - chunk.first);
      if (chunk.first <= position) return recordOf(chunk.records.subarray(from, to));
    }
    throw new RangeError(`position ${position} is missing`);
  }
}

function isAllRemoved(chunk: Chunk): boolean {
  const offsets = frameOffsets(chunk);
  for (let i = 0; i < chunk.count; i++) {
    const frame = chunk.records.subarray(offsets[i], offsets[i + 1]);
    if (!isRemovedRecord(recordOf(frame))) return false;
  }
  return true;
}
