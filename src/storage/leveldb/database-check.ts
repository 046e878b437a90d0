// Before LevelDB opens its folder: is what it is about to believe sound? LevelDB drops a bent
// record of its log in silence, starts anew where CURRENT is missing, and deletes what it no longer
// knows. So its files are read first, and a fault that a crash cannot explain is a finding, not a
// start.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { readLog } from "./log-file.ts";
import { foldManifest, type Manifest } from "./manifest.ts";
import { readBatch, type LoggedBatch } from "./write-batch.ts";

export interface DatabaseCheck {
  /** What a crash does not explain, in words for an operator. Empty: sound. */
  readonly findings: readonly string[];
  /** The first position that stood only in the write-ahead logs; 0: none did. */
  readonly firstLogged: number;
  /** The last position in the write-ahead logs; 0: none. */
  readonly lastLogged: number;
  /** Live table files, oldest first. */
  readonly tables: readonly string[];
}

const nothing: DatabaseCheck = { findings: [], firstLogged: 0, lastLogged: 0, tables: [] };

export async function checkDatabase(folder: string): Promise<DatabaseCheck> {
  const names = await readdir(folder);
  const current = await readFile(join(folder, "CURRENT"), "utf8").catch(() => undefined);
  if (current === undefined) return { ...nothing, findings: ["CURRENT is missing"] };
  const manifestName = current.trimEnd();
  if (!/^MANIFEST-\d+$/.test(manifestName) || !names.includes(manifestName)) {
    return {
      ...nothing,
      findings: [`CURRENT names ${JSON.stringify(manifestName)}: no such file`],
    };
  }
  const findings: string[] = [];
  const manifest = await checkManifest(join(folder, manifestName), findings);
  if (!manifest) return { ...nothing, findings };
  const tables = await checkTables(folder, names, manifest, findings);
  const batches = await checkLogs(folder, names, manifest, findings);
  const chunks = batches.flatMap((batch) => batch.chunks);
  return {
    findings,
    firstLogged: chunks[0] ?? 0,
    lastLogged: chunks.at(-1) ?? 0,
    tables,
  };
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
  const byNumber = new Map<number, string>();
  for (const name of names) {
    if (/^\d+\.(ldb|sst)$/.test(name)) byNumber.set(Number.parseInt(name, 10), name);
  }
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

/** The logs that LevelDB is going to replay, in order, each joining the one before. */
async function checkLogs(
  folder: string,
  names: readonly string[],
  manifest: Manifest,
  findings: string[],
): Promise<LoggedBatch[]> {
  const numbers = names
    .filter((name) => /^\d+\.log$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .filter((number) => number >= manifest.logNumber)
    .toSorted((a, b) => a - b);
  if (!numbers.includes(manifest.logNumber)) {
    findings.push(`write-ahead log ${manifest.logNumber} is missing`);
  }
  const batches: LoggedBatch[] = [];
  let faulty: string | undefined;
  for (const number of numbers) {
    const name = names.find(
      (each) => Number.parseInt(each, 10) === number && each.endsWith(".log"),
    );
    const log = readLog(await readFile(join(folder, name as string)));
    if (faulty && log.records.length > 0) findings.push(faulty);
    const where = `write-ahead log ${name} is bent at byte ${log.faultOffset}`;
    if (log.recordBehindFault) findings.push(`${where}: durable records follow`);
    else if (log.faultOffset !== undefined) faulty = `${where}: a newer log follows`;
    for (const record of log.records) addBatch(batches, record, name as string, findings);
  }
  checkSequence(batches, manifest, findings);
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
