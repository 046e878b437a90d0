// After LevelDB has opened its folder: compares the end of the log with what was acknowledged.
// Every chunk that was only in the write-ahead log is checked: its CRC, and that it continues the
// previous chunk in position, time and hash. The last one is compared with the high-water mark.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Range } from "../../storage.ts";
import { hashOf } from "../format/chunk.ts";
import { chunkKey, readUint64 } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { walkLog } from "./log-walk.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";

/**
 * At least this many positions at the end of the log are walked, however little the write-ahead log
 * contained.
 */
const positionsWalkedMin = 1_000;
const findingsMax = 50;

/**
 * The faults at the end of the log, in words. Empty: none. `logged` are the chunks that were in the
 * write-ahead log.
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

/** The last position, by the key of the last chunk. 0: there is no chunk. */
async function lastPositionIn(kv: ReadableKv): Promise<number> {
  const [entry] = await kv.page({
    first: chunkKey(0),
    last: chunkKey(Number.MAX_SAFE_INTEGER),
    reverse: true,
    limit: 1,
  });
  return entry ? readUint64(entry[0], 1) : 0;
}
