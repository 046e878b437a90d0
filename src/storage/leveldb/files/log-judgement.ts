// What LevelDB will replay from its write-ahead logs, and which faults a crash does not explain: a
// corrupted record that valid ones follow, a gap between batches, an end before what was
// acknowledged. Works on bytes that were read, without I/O.

import type { Range } from "../../storage.ts";
import { readLog } from "./log-file.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";
import { readBatch, type LoggedBatch } from "./write-batch.ts";

export interface LogFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface LogJudgement {
  /** Faults that a crash does not explain, in words for an operator. */
  readonly findings: readonly string[];
  /** The chunks that LevelDB will replay, in order. */
  readonly logged: readonly Range[];
  /** The sequence number of the last write that LevelDB will know. */
  readonly lastSequence: number;
}

/**
 * `logs` are the live ones, oldest first. `tableSequence` is the last write in tables.
 * `acknowledged` is what the store must at least contain, if known.
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

/**
 * The batches that LevelDB will replay. Each log must be complete and continue the previous one.
 */
function replayed(logs: readonly LogFile[], findings: string[]): LoggedBatch[] {
  const batches: LoggedBatch[] = [];
  let torn: string | undefined;
  for (const { name, bytes } of logs) {
    const log = readLog(bytes);
    if (torn && log.records.length > 0) findings.push(torn);
    const where = `write-ahead log ${name} is corrupted at byte ${log.faultOffset}`;
    if (log.recordBehindFault) findings.push(`${where}: durable records follow`);
    else if (log.faultOffset !== undefined) torn = `${where}: a newer log follows`;
    for (const record of [...log.records, ...log.recordsBehind]) {
      try {
        batches.push(readBatch(record));
      } catch (error) {
        const fault = (error as Error).message;
        findings.push(`write-ahead log ${name} has a corrupted batch: ${fault}`);
      }
    }
  }
  return batches;
}

/** Sequence numbers are dense, so that a gap is a lost batch. */
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

/** The positions that are missing among the chunks to be replayed, as far as the chunks show. */
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
