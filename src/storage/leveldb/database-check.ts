// Before LevelDB opens its folder: is what it is about to believe sound? LevelDB drops a bent
// record of its log in silence, starts anew where CURRENT is missing, and deletes what it no longer
// knows. So its files are read first, and a fault that a crash cannot explain is a finding, not a
// start. Nothing is changed here: what is refused stays as it was found.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Range } from "../storage.ts";
import { readLog } from "./log-file.ts";
import { foldManifest, type Manifest } from "./manifest.ts";
import type { Acknowledged } from "./mark.ts";
import { readBatch, type LoggedBatch } from "./write-batch.ts";

export interface DatabaseCheck {
  /** What a crash does not explain, in words for an operator. Empty: sound. */
  readonly findings: readonly string[];
  /** The chunks in the write-ahead logs that LevelDB is going to replay, in order. */
  readonly logged: readonly Range[];
  /** The number of the last write that LevelDB is going to know of. */
  readonly lastSequence: number;
  /** Paths of the live table files, oldest first. */
  readonly tables: readonly string[];
}

/** `acknowledged`: what must be there at least, where that is known. */
export async function checkDatabase(
  folder: string,
  acknowledged?: Acknowledged,
): Promise<DatabaseCheck> {
  const nothing = { logged: [], lastSequence: 0, tables: [] };
  const names = await readdir(folder);
  const manifestName = await currentManifest(folder);
  if (manifestName === undefined) return { ...nothing, findings: ["CURRENT is missing"] };
  if (!/^MANIFEST-\d+$/.test(manifestName) || !names.includes(manifestName)) {
    const named = JSON.stringify(manifestName);
    return { ...nothing, findings: [`CURRENT names ${named}: no such file`] };
  }
  const findings: string[] = [];
  const manifest = await checkManifest(join(folder, manifestName), findings);
  if (!manifest) return { ...nothing, findings };
  const tables = await checkTables(folder, names, manifest, findings);
  const batches = await checkLogs(folder, names, manifest, findings);
  const logged = batches.flatMap((batch) => batch.chunks);
  const last = batches.at(-1);
  const lastLogged = last ? last.sequence + last.count - 1 : 0;
  const lastSequence = Math.max(manifest.lastSequence, lastLogged);
  if (acknowledged && lastSequence < acknowledged.sequence) {
    const lost = acknowledged.sequence - lastSequence;
    findings.push(`its last write is number ${lastSequence}; ${lost} more were acknowledged`);
  }
  findings.push(...lostPositions(logged, findings.length > 0 ? acknowledged : undefined));
  return { findings, logged, lastSequence, tables };
}

/** Paths of the live table files, oldest first, also while LevelDB has the folder open. */
export async function liveTables(folder: string): Promise<string[]> {
  const manifest = await readFile(join(folder, (await currentManifest(folder)) ?? "CURRENT"));
  const { tables } = foldManifest(readLog(manifest).records);
  const byNumber = tableNames(await readdir(folder));
  return [...tables.keys()]
    .toSorted((a, b) => a - b)
    .map((number) => join(folder, byNumber.get(number) ?? `${number}.ldb`));
}

function tableNames(names: readonly string[]): Map<number, string> {
  const tables = names.filter((name) => /^\d+\.(ldb|sst)$/.test(name));
  return new Map(tables.map((name) => [Number.parseInt(name, 10), name]));
}

/** What CURRENT says, but for the newline it must end with; undefined where it is missing. */
async function currentManifest(folder: string): Promise<string | undefined> {
  const contents = await readFile(join(folder, "CURRENT"), "latin1").catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    },
  );
  return contents?.endsWith("\n") ? contents.slice(0, -1) : contents && `${contents} (cut off)`;
}

async function checkManifest(path: string, findings: string[]): Promise<Manifest | undefined> {
  const log = readLog(await readFile(path));
  if (log.recordBehindFault) {
    findings.push(`the MANIFEST is bent at byte ${log.faultOffset}`);
    return undefined;
  }
  try {
    return foldManifest(log.records);
  } catch (error) {
    findings.push(`the MANIFEST makes no sense: ${(error as Error).message}`);
    return undefined;
  }
}

/** Every live table must be there at its full length. */
async function checkTables(
  folder: string,
  names: readonly string[],
  manifest: Manifest,
  findings: string[],
): Promise<string[]> {
  const byNumber = tableNames(names);
  const tables: string[] = [];
  for (const [number, bytes] of [...manifest.tables].toSorted(([a], [b]) => a - b)) {
    const name = byNumber.get(number);
    if (!name) {
      findings.push(`table ${number} is missing`);
      continue;
    }
    const path = join(folder, name);
    const { size } = await stat(path);
    if (size !== bytes) findings.push(`table ${name} has ${size} bytes, not ${bytes}`);
    tables.push(path);
  }
  return tables;
}

/** What LevelDB is going to replay from its logs; each log must be whole and join the one before. */
async function checkLogs(
  folder: string,
  names: readonly string[],
  manifest: Manifest,
  findings: string[],
): Promise<LoggedBatch[]> {
  const logs = names
    .filter((name) => /^\d+\.log$/.test(name))
    .map((name) => ({ name, number: Number.parseInt(name, 10) }))
    .filter(({ number }) => number >= manifest.logNumber)
    .toSorted((a, b) => a.number - b.number);
  if (!logs.some(({ number }) => number === manifest.logNumber)) {
    findings.push(`write-ahead log ${manifest.logNumber} is missing`);
  }
  const batches: LoggedBatch[] = [];
  const before = findings.length;
  let torn: string | undefined;
  for (const { name } of logs) {
    const log = readLog(await readFile(join(folder, name)));
    if (torn && log.records.length > 0) findings.push(torn);
    const where = `write-ahead log ${name} is bent at byte ${log.faultOffset}`;
    if (log.recordBehindFault) findings.push(`${where}: durable records follow`);
    else if (log.faultOffset !== undefined) torn = `${where}: a newer log follows`;
    for (const record of [...log.records, ...log.recordsBehind]) {
      addBatch(batches, record, name, findings);
    }
  }
  if (findings.length === before) checkSequence(batches, manifest, findings);
  return batches;
}

function addBatch(
  batches: LoggedBatch[],
  record: Uint8Array,
  name: string,
  findings: string[],
): void {
  try {
    batches.push(readBatch(record));
  } catch (error) {
    findings.push(`write-ahead log ${name} holds a bent batch: ${(error as Error).message}`);
  }
}

/** Sequence numbers are dense: a gap is a batch that was lost. */
function checkSequence(
  batches: readonly LoggedBatch[],
  manifest: Manifest,
  findings: string[],
): void {
  let next: number | undefined;
  for (const { sequence, count } of batches) {
    const joins = next === undefined ? sequence <= manifest.lastSequence + 1 : sequence === next;
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
