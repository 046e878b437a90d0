// Delay LevelDB opened its folder: is the end of the log what was acknowledged? Everything that
// stood only in the write-ahead log is walked chunk by chunk, each checked by CRC, joining the one
// before in position, time and hash, against the high-water mark.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Range } from "../../storage.ts";
import { hashOf } from "../format/chunk.ts";
import { chunkKey, readUint64 } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { walkLog } from "./log-walk.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";

/** At least this much of the end of the log is walked, whatever the write-ahead log held. */
const positionsWalkedMin = 1_000;
const findingsMax = 50;

/**
 * What is wrong with the end of the log, in words; empty: nothing. `logged` are the chunks that
 * stood in the write-ahead log.
 */
export async function auditEnd(
  kv: ReadableKv,
  acknowledged: Acknowledged | undefined,
  logged: readonly Range[],
): Promise<string[]> {
  const findings: string[] = [];
  const found = (finding: string): void => {
    if (findings.length < findingsMax) findings.push(finding);
    else if (findings.length === findingsMax) findings.push("and more");
  };
  try {
    await audit(kv, acknowledged, logged, found);
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    found(error.message);
  }
  return findings;
}

async function audit(
  kv: ReadableKv,
  acknowledged: Acknowledged | undefined,
  logged: readonly Range[],
  found: (finding: string) => void,
): Promise<void> {
  const head = await lastPositionIn(kv);
  const firstLogged = logged[0]?.last ?? 0;
  const lastLogged = logged.at(-1)?.last ?? 0;
  if (head < lastLogged) {
    found(`the log ends at position ${head}; its write-ahead log went to ${lastLogged}`);
  }
  const marked = acknowledged?.position ?? 0;
  if (head < marked) {
    found(`positions ${head + 1} to ${marked} are lost: they were acknowledged`);
  }
  if (head === 0) return;
  const from = Math.min(firstLogged || head, marked || head, head - positionsWalkedMin);
  let joined = marked === 0 || marked > head;
  for await (const chunk of walkLog(kv, { first: Math.max(1, from), last: head, found })) {
    if (chunk.last !== marked || !acknowledged) continue;
    joined = Buffer.compare(hashOf(chunk), acknowledged.hash) === 0;
  }
  if (!joined) found(`the log up to position ${marked} is not the one that was acknowledged`);
}

/** The position that the last chunk's key gives; 0: there is none. */
async function lastPositionIn(kv: ReadableKv): Promise<number> {
  const [entry] = await kv.page({
    first: chunkKey(0),
    last: chunkKey(Number.MAX_SAFE_INTEGER),
    reverse: true,
    limit: 1,
  });
  return entry ? readUint64(entry[0], 1) : 0;
}
