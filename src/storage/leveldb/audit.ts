// After LevelDB opened its folder: is the end of the log what was acknowledged? Everything that
// stood only in the write-ahead log is walked chunk by chunk, each checked by CRC, joining the one
// before in position and in hash, against the high-water mark.

import { AnnalsError, corruption } from "../../domain/errors.ts";
import { firstHash, hashOf, openChunk, previousHashOf, type Chunk } from "./chunk.ts";
import { chunkKey } from "./keys.ts";
import type { Kv } from "./kv.ts";
import type { MarkState } from "./mark.ts";

/** At least this much of the end of the log is walked, whatever the write-ahead log held. */
const positionsWalkedMin = 1_000;
const pageBytes = 1024 * 1024;

export interface AuditRequest {
  readonly mark: MarkState | undefined;
  /** First and last position in the write-ahead log; 0: none. */
  readonly firstLogged: number;
  readonly lastLogged: number;
}

/** What is wrong with the end of the log, in words; empty: nothing. */
export async function auditEnd(kv: Kv, request: AuditRequest): Promise<string[]> {
  try {
    return await walk(kv, request);
  } catch (error) {
    if (error instanceof AnnalsError && error.reason === "CORRUPTION") return [error.message];
    throw error;
  }
}

async function walk(kv: Kv, { mark, firstLogged, lastLogged }: AuditRequest): Promise<string[]> {
  const end = await chunkFrom(kv, Number.MAX_SAFE_INTEGER, true);
  const head = end?.last ?? 0;
  const findings: string[] = [];
  if (head < lastLogged) {
    findings.push(`the log ends at position ${head}; its write-ahead log went to ${lastLogged}`);
  }
  if (mark && head < mark.position) {
    findings.push(`the log ends at position ${head}; position ${mark.position} was acknowledged`);
  }
  if (head === 0) return findings;
  const marked = mark && mark.position > 0 ? mark.position : head;
  const from = Math.min(firstLogged || head, marked, head);
  let next = Math.max(1, Math.min(from, head - positionsWalkedMin));
  let previous: Chunk | undefined;
  while (next <= head) {
    const entries = await kv.page({
      first: chunkKey(next),
      last: chunkKey(head),
      limit: 1_000,
      bytesMax: pageBytes,
      fillCache: false,
    });
    if (entries.length === 0) throw corruption(`positions ${next} to ${head} are missing`);
    for (const [key, value] of entries) {
      const chunk = openChunk(key, value);
      if (previous ? chunk.first !== next : chunk.first > next) {
        throw corruption(`positions ${next} to ${chunk.first - 1} are missing`);
      }
      checkJoint(chunk, previous);
      if (mark?.position === chunk.last && Buffer.compare(hashOf(chunk), mark.hash) !== 0) {
        findings.push(`the log up to position ${chunk.last} is not the one acknowledged`);
      }
      previous = chunk;
      next = chunk.last + 1;
    }
  }
  return findings;
}

function checkJoint(chunk: Chunk, previous: Chunk | undefined): void {
  if (previous) {
    if (Buffer.compare(previousHashOf(chunk), hashOf(previous)) !== 0) {
      throw corruption(`the hash chain breaks at position ${chunk.first}`);
    }
    if (chunk.recordedAt < previous.recordedAt) {
      throw corruption(`time runs backwards at position ${chunk.first}`);
    }
  } else if (chunk.first === 1 && Buffer.compare(previousHashOf(chunk), firstHash) !== 0) {
    throw corruption("the hash chain does not begin at position 1");
  }
}

async function chunkFrom(kv: Kv, last: number, reverse: boolean): Promise<Chunk | undefined> {
  const [entry] = await kv.page({ first: chunkKey(0), last: chunkKey(last), reverse, limit: 1 });
  return entry && openChunk(entry[0], entry[1]);
}
