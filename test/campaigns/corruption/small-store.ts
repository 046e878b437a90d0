// The store that the campaign bends: small, with everything a store can hold, in tables and in the
// write-ahead log, closed in good order or killed.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { openLevelStore } from "../../../src/storage/leveldb/open.ts";
import type { Reclaimer } from "../../../src/storage/leveldb/upkeep/reclaimer.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent, type EventSketch } from "../../support/events.ts";
import { setPolicy } from "../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../support/reclaiming.ts";
import { saveSnapshot } from "../../support/snapshots.ts";
import { copyStore } from "../../support/store-folder.ts";
import { askEverything, topicsOf, type Answers, type Topics } from "../../support/questions.ts";

/** `closed`: everything in tables. `killed`: some of it only in the write-ahead log. */
export type Ending = "closed" | "killed";

export interface SmallStore {
  readonly folder: string;
  readonly topics: Topics;
  readonly answers: Answers;
}

/** Makes the store in `folder`, and beside it what it answers. */
export async function makeSmallStore(
  folder: string,
  ending: Ending,
  commits: number,
): Promise<SmallStore> {
  const working = `${folder}.making`;
  await rm(folder, { recursive: true, force: true });
  const inTables = ending === "closed" ? commits : Math.floor(commits / 3);
  let { storage, reclaimer } = await openLevelStore({ folder: working, reclaim: whenAsked });
  await fill(storage, 0, inTables);
  await removeSome(storage, reclaimer);
  await storage.close();
  ({ storage, reclaimer } = await openLevelStore({ folder: working, reclaim: whenAsked }));
  await fill(storage, inTables, commits);
  await removeSome(storage, reclaimer);
  const topics = await topicsOf(storage);
  const answers = await askEverything(storage, topics);
  if (ending === "closed") await storage.close();
  await copyStore(working, folder);
  if (ending === "killed") await storage.close();
  await rm(working, { recursive: true });
  // LevelDB's text logs are for people only.
  for (const name of ["LOG", "LOG.old"]) await rm(join(folder, "log", name), { force: true });
  return { folder, topics, answers };
}

/** The first half of a stream, once more each time; its space is given back. */
async function removeSome(storage: Storage, reclaimer: Reclaimer | undefined): Promise<void> {
  const { version = 0 } = (await storage.stream("order-3")) ?? {};
  await setPolicy(storage, "order-3", { truncateBefore: Math.ceil(version / 2) });
  await reclaimAll(reclaimer);
}

async function fill(storage: Storage, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    const count = 1 + (i % 4);
    const events = Array.from({ length: count }, (_, at) => newEvent(sketchOf(i, at)));
    await commitEvents(storage, events, 1_700_000_000_000_000 + i * 1_000_003);
    if (i % 5 === 4) await snapshotNow(storage, "order-1", i);
  }
}

async function snapshotNow(storage: Storage, stream: string, i: number): Promise<void> {
  const facts = await storage.stream(stream);
  if (!facts) return;
  const payload = Buffer.from(`state ${i} of ${stream} `.repeat(10));
  const { version } = facts;
  await saveSnapshot(storage, { stream, kind: i % 2 ? "" : "totals", version, payload });
}

function sketchOf(commit: number, at: number): EventSketch {
  const number = commit * 7 + at * 3;
  const streams = ["order-1", "order-2", "customer-1", "order-3", "", "ledger"];
  const types = ["OrderPlaced", "OrderPaid", "Noted"];
  return {
    stream: streams[number % streams.length] as string,
    type: commit === 11 ? "$noted" : (types[(number >> 1) % types.length] as string),
    tags: number % 3 === 0 ? [`k:${number % 5}`, "all:1"] : [],
    metadata: number % 4 === 0 ? { user: `u${number % 3}` } : {},
    idFromClient: number % 5 !== 0,
    contentType: "application/json",
    data: JSON.stringify({ number, text: noise(commit * 31 + at, 40 + ((number * 37) % 500)) }),
  };
}

/** Text that hardly compresses, so that small stores have enough bytes to bend. */
function noise(seed: number, length: number): string {
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  let text = "";
  while (text.length < length) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    text += (state >>> 0).toString(36);
  }
  return text.slice(0, length);
}
