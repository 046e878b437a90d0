// The corruption campaign: bend a small store in every way there is, serve it, and ask it
// everything. It must answer as before, say CORRUPTION, or not be served; and never another thing.
import { fork, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CampaignResult, CampaignOptions } from "../campaign.ts";
import { filesOf } from "../../support/store-folder.ts";
import { seededRandom } from "../../support/seeded.ts";
import { makeSmallStore, type Ending, type SmallStore } from "./small-store.ts";
import { emptyTally, type Assignment, type Opening, type Tally } from "./trial-runner.ts";
import { countTrials, describeTrial, trialAt, type StoreFile } from "./trials.ts";

/** Either store then has more than 64 KiB. */
const commits = 34;
const trialsAtOnce = 2_500;
const runnersAtOnce = 3;
/** Of the store that was closed in order, whose faults are those of tables alone. */
const closedSample = 10_000;
const silenceMsMax = 120_000;
const controlTrialsDefault = 400;
const salvageTrialsDefault = 10_000;

/** `sampleMax`: at most so many trials for each ending, chosen by the seed. */
export interface CorruptionOptions extends CampaignOptions {
  readonly sampleMax?: number;
  /** How many are tried without our checks too. */
  readonly controlTrials?: number;
  /** How many are salvaged too. */
  readonly salvageTrials?: number;
}

export async function corruption(options: CorruptionOptions): Promise<CampaignResult> {
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const scratch = await mkdtemp(join(base, "annals-corruption-"));
  const total = emptyTally();
  let trials = 0;
  let events = 0;
  let died = 0;
  const tried: Record<string, object> = {};
  const salvaged = { trials: 0, complete: 0, withLosses: 0 };
  let silentlyWrong = 0;
  const { seed, report, secondsMax = Infinity, controlTrials = controlTrialsDefault } = options;
  const until = performance.now() + secondsMax * 1_000;
  try {
    for (const ending of ["killed", "closed"] as const) {
      const bench = await prepare(scratch, ending);
      const { store, files } = bench;
      // A killed store has all there is, tables and a write-ahead log: every fault of it is tried.
      const sampleMax = options.sampleMax ?? (ending === "killed" ? Infinity : closedSample);
      const chosen = choose(countTrials(files), { seed, sampleMax });
      const tally = await runAll(bench, chosen, "shipped", until, report);
      died += tally.died;
      tried[ending] = { bytes: bytesOf(files), of: countTrials(files), trials: tally.done };
      add(total, tally);
      trials += tally.done;
      events += store.topics.ids.length - 1;
      const salvageMax = options.salvageTrials ?? salvageTrialsDefault;
      const salvages = choose(countTrials(files), { seed: seed + 1, sampleMax: salvageMax });
      const outcome = await runAll(bench, salvages, "salvaged", until, report);
      died += outcome.died;
      salvaged.trials += outcome.done;
      salvaged.complete += outcome.identical;
      salvaged.withLosses += outcome.reported;
      total.violations.push(...outcome.violations);
      // The same faults without our checks: if nothing went wrong there, nothing was proved here.
      const few = choose(countTrials(files), { seed, sampleMax: controlTrials });
      silentlyWrong += (await runAll(bench, few, "unguarded", Infinity, report)).violations.length;
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  const { refused, identical, reported, violations } = total;
  return {
    cycles: trials,
    events,
    violations,
    control: silentlyWrong > 0,
    detail: {
      tried,
      refused,
      identical,
      reported,
      died,
      salvaged,
      controlTrials: 2 * controlTrials,
      silentlyWrong,
    },
  };
}

interface Bench {
  readonly scratch: string;
  readonly store: SmallStore;
  readonly files: readonly StoreFile[];
}

async function prepare(scratch: string, ending: Ending): Promise<Bench> {
  const store = await makeSmallStore(join(scratch, ending), ending, commits);
  return { scratch, store, files: await filesOf(store.folder) };
}

function bytesOf(files: readonly StoreFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

function choose(count: number, { seed, sampleMax }: CorruptionOptions): number[] {
  const all = Array.from({ length: count }, (_, number) => number);
  if (sampleMax === undefined || sampleMax >= count) return all;
  const random = seededRandom(seed);
  for (let i = 0; i < sampleMax; i++) {
    const other = i + Math.floor(random() * (count - i));
    [all[i], all[other]] = [all[other] as number, all[i] as number];
  }
  return all.slice(0, sampleMax).toSorted((a, b) => a - b);
}

/** In several processes: each waits for files more than it works. */
async function runAll(
  bench: Bench,
  trials: readonly number[],
  opening: Opening,
  until: number,
  report: CorruptionOptions["report"],
): Promise<Tally & { died: number; done: number }> {
  const total = { ...emptyTally(), died: 0, done: 0 };
  const left: (readonly number[])[] = [];
  for (let at = 0; at < trials.length; at += trialsAtOnce) {
    left.push(trials.slice(at, at + trialsAtOnce));
  }
  const runner = async (name: string): Promise<void> => {
    for (let some = left.shift(); some !== undefined; some = left.shift()) {
      if (performance.now() > until) return;
      const { tally, diedAt } = await runSome(bench, some, opening, name);
      add(total, tally);
      if (diedAt === undefined) total.done += some.length;
      else {
        total.died++;
        total.done++;
        // What those before it found died with the process.
        left.push(some.slice(0, diedAt), some.slice(diedAt + 1));
      }
      report?.(
        `${opening}: ${total.done} of ${trials.length}, ${total.violations.length} violations`,
      );
    }
  };
  await Promise.all(Array.from({ length: runnersAtOnce }, (_, i) => runner(`working-${i}`)));
  return total;
}

/** Runs trials in a process. Where that dies, `diedAt` is the index of the trial it died of. */
async function runSome(
  { scratch, store, files }: Bench,
  trials: readonly number[],
  opening: Opening,
  name: string,
): Promise<{ tally: Tally; diedAt?: number }> {
  const progressFile = join(scratch, `${name}.progress`);
  const assignment: Assignment = {
    pristine: store.folder,
    working: join(scratch, name),
    progressFile,
    files,
    topics: store.topics,
    answers: [...store.answers],
    opening,
    trials,
  };
  const runner = fork(new URL("trial-runner.ts", import.meta.url), { stdio: "ignore" });
  const ended = await outcomeOf(runner, assignment, progressFile);
  if (typeof ended !== "string") return { tally: ended };
  const number = Number(readFileSync(progressFile, "utf8"));
  const trial = trialAt(files, number);
  // A disk that cannot be read any more ends a process in this way too: it is expected (F8).
  const expected = ended === "SIGBUS";
  const violations = expected ? [] : [`${describeTrial(trial)}: the process ended with ${ended}`];
  return { tally: { ...emptyTally(), violations }, diedAt: trials.indexOf(number) };
}

/** What the runner found, or how it ended without a word. */
function outcomeOf(
  runner: ChildProcess,
  assignment: Assignment,
  progressFile: string,
): Promise<Tally | string> {
  return new Promise((resolve) => {
    let seen = "";
    const watch = setInterval(() => {
      const now = existsSync(progressFile) ? readFileSync(progressFile, "utf8") : "";
      if (now === seen) runner.kill("SIGKILL");
      seen = now;
    }, silenceMsMax);
    runner.once("message", (tally: Tally) => {
      clearInterval(watch);
      runner.removeAllListeners("exit");
      runner.once("exit", () => resolve(tally));
      runner.disconnect();
    });
    runner.once("exit", (code, signal) => {
      clearInterval(watch);
      resolve(signal ?? `exit code ${code}`);
    });
    runner.send(assignment);
  });
}

function add(total: Tally, { refused, identical, reported, violations }: Tally): void {
  total.refused += refused;
  total.identical += identical;
  total.reported += reported;
  total.violations.push(...violations);
}
