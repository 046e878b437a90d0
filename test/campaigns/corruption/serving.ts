// Damage under a store that is served: each trial is a small store that a process serves, one fault
// in one of its tables, and everything it can be asked. LevelDB may end the process before the
// damage is found; then the next start must name the table. Once it is found, no answer is wrong.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { liveManifest } from "../../../src/storage/leveldb/files/database-check.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { copyStore, filesOf } from "../../support/store-folder.ts";
import { seededRandom } from "../../support/seeded.ts";
import type { Known, ServingOutcome, ServingTrial } from "./serving-runner.ts";
import { makeSmallStore } from "./small-store.ts";
import { bend, describeTrial, mend, type StoreFile, type Trial } from "./trials.ts";

const commits = 34;
const processesAtOnce = 2;
const trialsInProcess = 10;
const sectorBytes = 512;
/** Of one trial, which takes seconds on a busy machine. */
const silenceMsMax = 120_000;
const runner = new URL("serving-runner.ts", import.meta.url).pathname;
/** How LevelDB may end a process that meets damage before it was found. */
const expectedEnds = ["SIGBUS", "SIGABRT", "SIGSEGV"];

export interface ServingOptions extends CampaignOptions {
  /** Absent: as many as the seconds allow. */
  readonly trialsMax?: number;
}

export async function servingCorruption(options: ServingOptions): Promise<CampaignResult> {
  const { seed, report, secondsMax = Infinity, trialsMax = Infinity } = options;
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const scratch = await mkdtemp(join(base, "annals-serving-"));
  const until = performance.now() + secondsMax * 1_000;
  const total = emptyTotal();
  try {
    const { folder, topics, answers } = await makeSmallStore(
      join(scratch, "pristine"),
      "closed",
      commits,
    );
    const known = join(scratch, "known.json");
    await writeFile(known, JSON.stringify({ topics, answers: [...answers] } satisfies Known));
    const files = await filesOf(folder);
    const tables = files.filter(({ path }) => /\.(ldb|sst)$/.test(path));
    const random = seededRandom(seed);
    let begun = 0;
    const work = async (name: string): Promise<void> => {
      while (begun < trialsMax && performance.now() < until) {
        const some: ServingTrial[] = [];
        for (let i = 0; i < trialsInProcess && begun < trialsMax; i++) {
          const working = join(scratch, `${name}-${i}`);
          await rm(working, { recursive: true, force: true });
          await copyStore(folder, working);
          const trial = { ...chosen(tables, random, begun++), folder: working, known };
          if (changes(working, trial.trial)) some.push(trial);
        }
        await runTrials(some, total);
        report?.(`${total.trials} trials, ${total.violations.length} violations`);
      }
    };
    await Promise.all(Array.from({ length: processesAtOnce }, (_, i) => work(`working-${i}`)));
    const { trials, violations, ...detail } = total;
    return {
      cycles: trials,
      events: topics.ids.length - 1,
      violations,
      // Faults that cost no answer would prove nothing.
      control: total.reported > 0,
      detail: { ...detail, tableBytes: tables.reduce((sum, { bytes }) => sum + bytes, 0) },
    };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

interface Total {
  trials: number;
  /** Of those that were asked before the damage was found. */
  askedBefore: number;
  wrongBefore: number;
  /** Processes that LevelDB or the kernel ended. */
  ended: number;
  /** Trials whose damaged table LevelDB merged with others before the damage was found. */
  mergedBefore: number;
  /** Starts after a merge of tables that were refused. */
  refused: number;
  /** Trials whose damage was found and cost some answers, and those where it cost none. */
  reported: number;
  identical: number;
  appendsEnded: number;
  violations: string[];
}

function emptyTotal(): Total {
  return {
    trials: 0,
    askedBefore: 0,
    wrongBefore: 0,
    ended: 0,
    mergedBefore: 0,
    refused: 0,
    reported: 0,
    identical: 0,
    appendsEnded: 0,
    violations: [],
  };
}

type Choice = Pick<ServingTrial, "trial" | "asksBefore" | "found">;

function chosen(tables: readonly StoreFile[], random: () => number, number: number): Choice {
  const file = tables[Math.floor(random() * tables.length)] as StoreFile;
  const asksBefore = number % 2 === 0;
  const found = (["by a scrub", "by the watch", "merged", "by a scrub"] as const)[number % 4];
  return { trial: { file, fault: fault(file, random) }, asksBefore, found: found ?? "merged" };
}

function fault({ bytes }: StoreFile, random: () => number): Trial["fault"] {
  const kind = random();
  const byte = Math.floor(random() * bytes);
  if (kind < 0.6) return { kind: "flip", byte, bit: Math.floor(random() * 8) };
  if (kind < 0.85) return { kind: "zero", from: byte - (byte % sectorBytes) };
  return kind < 0.95 ? { kind: "truncate", bytes: byte } : { kind: "remove" };
}

/** Whether the fault changes anything; it is undone. */
function changes(folder: string, trial: Trial): boolean {
  const path = join(folder, trial.file.path);
  const sound = new Map([[trial.file.path, readFileSync(path)]]);
  const changed = bend(folder, trial);
  mend(sound, folder, trial);
  return changed;
}

/** A process that ends takes no trial with it but its own. */
async function runTrials(trials: readonly ServingTrial[], total: Total): Promise<void> {
  for (let left = trials; left.length > 0;) {
    const outcomes = await outcomesOf(left);
    for (const [i, outcome] of outcomes.entries()) {
      await judge(left[i] as ServingTrial, outcome, total);
    }
    left = left.slice(outcomes.length);
  }
}

async function judge(
  trial: ServingTrial,
  outcome: ServingOutcome | string,
  total: Total,
): Promise<void> {
  total.trials++;
  const name = `${describeTrial(trial.trial)}, found ${trial.found}, ${
    trial.asksBefore ? "asked before" : "asked after"
  }`;
  const violation = (what: string): void => void total.violations.push(`${name}: ${what}`);
  const isMerged = trial.found === "merged" || (await hasMerged(trial));
  if (isMerged && trial.found !== "merged") total.mergedBefore++;
  const asksBefore = trial.asksBefore && trial.found !== "merged";
  if (asksBefore) total.askedBefore++;
  if (typeof outcome === "string") {
    if (expectedEnds.includes(outcome)) total.ended++;
    else if (outcome === "refused" && trial.found === "merged") total.refused++;
    else violation(`the process ended with ${outcome}`);
  } else {
    if (outcome.wrongBefore.length > 0 && asksBefore) total.wrongBefore++;
    const [wrong] = outcome.wrongAfter;
    if (wrong !== undefined) violation(wrong);
    if (outcome.reportedAfter > 0) total.reported++;
    else total.identical++;
    if (outcome.append === "STORE_FAILED") total.appendsEnded++;
    else if (!isMerged) violation(`an append was refused: ${outcome.append}`);
  }
  // What LevelDB has merged has a CRC again; every value in it has its own.
  if (!isMerged) await judgeStart(trial, violation);
}

/** LevelDB merges a table that many reads have passed through in vain. */
async function hasMerged({ folder, trial: { file } }: ServingTrial): Promise<boolean> {
  const number = Number.parseInt(file.path.slice("log/".length), 10);
  return !(await liveManifest(join(folder, "log"))).tables.has(number);
}

/** The next start must say which table it is, and what to do. */
async function judgeStart(
  { folder, trial }: ServingTrial,
  violation: (what: string) => void,
): Promise<void> {
  try {
    const storage = await openLevelStorage({ folder, reserveBytes: 0 });
    await storage.close();
    violation("the next start serves it");
  } catch (error) {
    const table = String(Number.parseInt(trial.file.path.slice("log/".length), 10));
    const { message } = error as Error;
    const isTold = error instanceof StoreRefused && message.includes(table);
    if (!isTold || !message.includes("annals salvage")) violation(`the next start: ${message}`);
  }
}

/** What the process has found in each trial. Where it ended in one, the last is how. */
async function outcomesOf(trials: readonly ServingTrial[]): Promise<(ServingOutcome | string)[]> {
  const stdio = ["ignore", "pipe", "pipe"] as const;
  const child = spawn(process.execPath, [runner, JSON.stringify(trials)], { stdio: [...stdio] });
  let [stdout, stderr] = ["", ""];
  let isSilent = false;
  const silence = setTimeout(() => {
    isSilent = true;
    child.kill("SIGKILL");
  }, silenceMsMax);
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    silence.refresh();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  clearTimeout(silence);
  const told = stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  if (code === 0) return told;
  // It said what it was about to do.
  const stage = stderr.trimEnd().split("\n").at(-1);
  if (isSilent) return [...told, `silence for ${silenceMsMax / 1_000} s: ${stage}`];
  return [...told, signal ?? `an error: ${stderr.slice(-1_000)}`];
}
