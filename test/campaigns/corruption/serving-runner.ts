// Trials in a process of their own, because LevelDB may end it: each serves a store, damages a table
// of it meanwhile, and asks everything, before the damage is found or only after that. Prints one
// line of JSON for each trial; the one that LevelDB ends the process in has none.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import {
  openLevelStore,
  type LevelStorageOptions,
  type LevelStore,
} from "../../../src/storage/leveldb/open.ts";
import { openLevelKv } from "../../../src/storage/leveldb/kv/level-kv.ts";
import { handTimers } from "../../support/hand-timers.ts";
import { commitEvents, newEvent } from "../../support/events.ts";
import { askEverything, differences, type Topics } from "../../support/questions.ts";
import { bend, type Trial } from "./trials.ts";

export interface ServingTrial {
  readonly folder: string;
  readonly trial: Trial;
  /** What a store is asked, and what this one answered when it was intact. */
  readonly known: string;
  /** Whether it is asked before the damage is found, too. */
  readonly asksBefore: boolean;
  /** `merged`: by a scrub, after LevelDB has merged its tables, the damaged one included. */
  readonly found: "by a scrub" | "by the watch" | "merged";
}

export interface ServingOutcome {
  /** Questions with another answer than CORRUPTION or the right one. */
  readonly wrongBefore: readonly string[];
  readonly wrongAfter: readonly string[];
  readonly reportedAfter: number;
  readonly findings: readonly string[];
  /** The reason why an append was refused. */
  readonly append: string;
}

export interface Known {
  readonly topics: Topics;
  readonly answers: readonly (readonly [string, string])[];
}

const lookEveryMs = 20;
const hour = 3_600_000;

async function run(given: ServingTrial): Promise<ServingOutcome | "refused"> {
  const { folder, trial, known, asksBefore, found } = given;
  const { topics, answers } = JSON.parse(readFileSync(known, "utf8")) as Known;
  const expected = new Map(answers);
  const timers = handTimers();
  const isWatched = found === "by the watch";
  const damage = (): void => {
    if (!bend(folder, trial)) throw new Error("the fault changes nothing");
  };
  if (found === "merged") {
    stage("merge");
    damage();
    if (!(await mergeTables(folder))) return "refused";
  }
  stage("start");
  const started = await start({
    folder,
    reserveBytes: 0,
    delay: timers.delay,
    lookEveryMs: isWatched ? lookEveryMs : hour,
    scrub: { delayMs: hour, pauseMs: hour, bytesPerSecond: 1e12, isBusy: () => false },
  });
  if (started instanceof StoreRefused) return "refused";
  const store = started;
  const { storage } = store;
  if (found !== "merged") damage();
  stage("ask before the damage is found");
  const before = asksBefore ? await askEverything(storage, topics) : expected;
  stage("find the damage");
  if (isWatched) await untilFailed(store);
  else await scrub(store, timers);
  stage("ask after the damage is found");
  const after = await askEverything(storage, topics);
  const outcome: ServingOutcome = {
    wrongBefore: differences(expected, before),
    wrongAfter: differences(expected, after),
    reportedAfter: [...after.values()].filter((each) => each === "CORRUPTION").length,
    findings: store.scrubber?.status().findings ?? [],
    append: await reasonOf(commitEvents(storage, [newEvent()])),
  };
  stage("close");
  await storage.close();
  return outcome;
}

/** Told if the process has to be ended: where. */
function stage(name: string): void {
  console.error(name);
}

function start(options: LevelStorageOptions): Promise<LevelStore | StoreRefused> {
  return openLevelStore(options).catch((error: unknown) => {
    if (error instanceof StoreRefused) return error;
    throw error;
  });
}

async function scrub({ scrubber }: LevelStore, timers: ReturnType<typeof handTimers>) {
  while (scrubber?.status().rounds === 0) {
    timers.next();
    await pause(0);
  }
}

/** Longer than ever needed: a watch that sees nothing is judged by the answers. */
async function untilFailed({ storage }: LevelStore): Promise<void> {
  for (let i = 0; i < 200 && storage.writeState() !== "failed"; i++) await pause(lookEveryMs);
  // Until the files are read without LevelDB, reads are told to come again.
  while (
    (await reasonOf(storage.listStreams({ prefix: "", after: "", limit: 1 }))) === "RECOVERING"
  )
    await pause(lookEveryMs);
}

/** LevelDB gives what it has read of the damaged blocks a new CRC. False: it does not open them. */
async function mergeTables(folder: string): Promise<boolean> {
  const kv = await openLevelKv(join(folder, "log"), false).catch(() => undefined);
  await kv?.compact(Buffer.of(0), Buffer.of(0xff));
  await kv?.close();
  return kv !== undefined;
}

function reasonOf(answer: Promise<unknown>): Promise<string> {
  return answer.then(
    () => "none",
    (error: { failure?: { reason?: string } }) => error.failure?.reason ?? "another failure",
  );
}

// The store's timers keep no process alive.
const alive = setInterval(() => {}, 1_000);
for (const trial of JSON.parse(process.argv[2] ?? "") as ServingTrial[]) {
  console.log(JSON.stringify(await run(trial)));
}
clearInterval(alive);
