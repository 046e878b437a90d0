// Checks LevelDB's files before LevelDB opens them. LevelDB silently drops a corrupted record of
// its log, creates an empty database if CURRENT is missing, and deletes files that it does not
// know. A fault that a crash cannot explain is a finding and refuses the start. Nothing is changed
// here, so that a refused store stays as it was found.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { readLog } from "./log-file.ts";
import { judgeLogs, type LogFile, type LogJudgement } from "./log-judgement.ts";
import { foldManifest, type Manifest } from "./manifest.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";

/** Findings about the log and about all other files. */
export interface DatabaseCheck extends LogJudgement {
  readonly folder: string;
  /** The findings with which LevelDB cannot, or must not, open its folder. */
  readonly unservable: readonly string[];
  /** Paths of the live table files, oldest first. */
  readonly tables: readonly string[];
  readonly ranges: Manifest["ranges"];
  /** The live write-ahead logs, oldest first. */
  readonly logs: readonly LogFile[];
}

/** `acknowledged` is what the store must at least contain, if known. */
export async function checkDatabase(
  folder: string,
  acknowledged?: Acknowledged,
): Promise<DatabaseCheck> {
  const nothing = { folder, logged: [], lastSequence: 0, tables: [], ranges: new Map(), logs: [] };
  const unservable = (findings: string[]): DatabaseCheck => {
    return { ...nothing, findings, unservable: findings };
  };
  const names = await readdir(folder);
  const manifestName = await currentManifest(folder);
  if (manifestName === undefined) return unservable(["CURRENT is missing"]);
  if (!/^MANIFEST-\d+$/.test(manifestName) || !names.includes(manifestName)) {
    const named = JSON.stringify(manifestName);
    return unservable([`CURRENT names ${named}: no such file`]);
  }
  const findings: string[] = [];
  const manifest = await checkManifest(join(folder, manifestName), findings);
  if (!manifest) return unservable(findings);
  const tables = await checkTables(folder, names, manifest, findings);
  const faults = [...findings];
  const logs = await readLogs(folder, names, manifest, findings);
  const judgement = judgeLogs(logs, manifest.lastSequence, acknowledged, findings);
  const { ranges } = manifest;
  return { ...judgement, folder, unservable: faults, tables, ranges, logs };
}

/** The MANIFEST of now, also while LevelDB has the folder open. */
export async function liveManifest(folder: string): Promise<Manifest> {
  const manifest = await readFile(join(folder, (await currentManifest(folder)) ?? "CURRENT"));
  return foldManifest(readLog(manifest).records);
}

/** Paths of the live table files, oldest first, also while LevelDB has the folder open. */
export async function liveTables(folder: string): Promise<string[]> {
  const { tables } = await liveManifest(folder);
  const byNumber = tableNames(await readdir(folder));
  return [...tables.keys()]
    .toSorted((a, b) => a - b)
    .map((number) => join(folder, byNumber.get(number) ?? `${number}.ldb`));
}

function tableNames(names: readonly string[]): Map<number, string> {
  const tables = names.filter((name) => /^\d+\.(ldb|sst)$/.test(name));
  return new Map(tables.map((name) => [Number.parseInt(name, 10), name]));
}

/** The content of CURRENT without its newline. Undefined if the file is missing. */
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
    findings.push(`the MANIFEST is corrupted at byte ${log.faultOffset}`);
    return undefined;
  }
  try {
    return foldManifest(log.records);
  } catch (error) {
    findings.push(`the MANIFEST makes no sense: ${(error as Error).message}`);
    return undefined;
  }
}

/** Every live table must exist with its full length. */
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

/** The logs that LevelDB will replay, oldest first. */
async function readLogs(
  folder: string,
  names: readonly string[],
  manifest: Manifest,
  findings: string[],
): Promise<LogFile[]> {
  const numbered = names
    .filter((name) => /^\d+\.log$/.test(name))
    .map((name) => ({ name, number: Number.parseInt(name, 10) }))
    .filter(({ number }) => number >= manifest.logNumber)
    .toSorted((a, b) => a.number - b.number);
  if (!numbered.some(({ number }) => number === manifest.logNumber)) {
    findings.push(`write-ahead log ${manifest.logNumber} is missing`);
  }
  const logs: LogFile[] = [];
  for (const { name } of numbered) logs.push({ name, bytes: await readFile(join(folder, name)) });
  return logs;
}
