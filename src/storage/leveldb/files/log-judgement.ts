// What LevelDB is going to make of its write-ahead logs, and what is wrong with that: a bent record
// that others follow, a gap between batches, an end that lies before what was acknowledged. Reads
// bytes, touches no disk.

import type { Range } from "../../storage.ts";
import { readLog } from "./log-file.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";
import { readBatch, type LoggedBatch } from "./write-batch.ts";

export interface LogFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface LogJudgement {
  /** What a crash does not explain, in words for an operator. */
  readonly findings: readonly string[];
  /** The chunks that LevelDB is going to replay, in order. */
  readonly logged: readonly Range[];
  /** The number of the last write that LevelDB is going to know of. */
  readonly lastSequence: number;
}

/**
 * `logs` are those that count, oldest first; `tableSequence` is the last write in tables;
 * `acknowledged` is what must be there at least, where that is known.
 */
export function judgeLogs(
  logs: readonly LogFile[],
  tableSequence: number,
  acknowledged: Acknowledged | undefined,
  found: readonly string[] = [],
): LogJudgement {
  const findings = [...found];
  const batches = replayed(logs, findings);
  if (findings.length === found.length) checkSequence(batches, tableSequence, findings);
  const logged = batches.flatMap((batch) => batch.chunks);
  const last = batches.at(-1);
  const lastLogged = last ? last.sequence + last.count - 1 : 0;
  const lastSequence = Math.max(tableSequence, lastLogged);
  if (acknowledged && lastSequence < acknowledged.sequence) {
    const lost = acknowledged.sequence - lastSequence;
    findings.push(`its last write is number ${lastSequence}; ${lost} more were acknowledged`);
  }
  findings.push(...lostPositions(logged, findings.length > 0 ? acknowledged : undefined));
  return { findings, logged, lastSequence };
}

/** Every batch that LevelDB will find; each log must be whole and join the one before. */
function replayed(logs: readonly LogFile[], findings: string[]): LoggedBatch[] {
  const batches: LoggedBatch[] = [];
  let torn: string | undefined;
  for (const { name, bytes } of logs) {
    const log = readLog(bytes);
    if (torn && log.records.length > 0) findings.push(torn);
    const where = `write-ahead log ${name} is bent at byte ${log.faultOffset}`;
    if (log.recordBehindFault) findings.push(`${where}: durable records follow`);
    else if (log.faultOffset !== undefined) torn = `${where}: a newer log follows`;
    for (const record of [...log.records, ...log.recordsBehind]) {
      try {
        batches.push(readBatch(record));
      } catch (error) {
        const fault = (error as Error).message;
        findings.push(`write-ahead log ${name} holds a bent batch: ${fault}`);
      }
    }
  }
  return batches;
}

/** Sequence numbers are dense: a gap is a batch that was lost. */
function checkSequence(
  batches: readonly LoggedBatch[],
  tableSequence: number,
  findings: string[],
): void {
  let next: number | undefined;
  for (const { sequence, count } of batches) {
    const joins = next === undefined ? sequence <= tableSequence + 1 : sequence === next;
    if (!joins) {
      findings.push(`the write-ahead log jumps to sequence ${sequence}: writes before it are lost`);
      return;
    }
    next = sequence + count;
  }
}

/** The positions that are not among the chunks to be replayed, as far as these tell. */
function lostPositions(logged: readonly Range[], acknowledged?: Acknowledged): string[] {
  const lost: string[] = [];
  let next = logged[0]?.first;
  for (const { first, last } of logged) {
    if (next !== undefined && first > next) lost.push(`positions ${next} to ${first - 1} are lost`);
    next = last + 1;
  }
  const end = acknowledged?.position ?? 0;
  if (next !== undefined && end >= next) lost.push(`positions ${next} to ${end} are lost`);
  return lost;
}
