// Readers beside large commits, which give others the thread at many places: before their write and
// after it, while their streams are put into memory, and before their terms become visible. In each
// of these turns reads and look-ups of facts begin, over a database that answers late. All must
// answer as of the head that they began with, as the plain model does.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { anyEvent, matches, type QueryItem, type Selection } from "../../../../src/domain/query.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { NewEvent } from "../../../../src/domain/event.ts";
import type { Storage, StorageRead } from "../../../../src/storage/storage.ts";
import { composeCommit, newEvents, type EventSketch } from "../../../support/events.ts";
import { createModelStorage, type ModelStorage } from "../../../support/model-storage.ts";
import { seededRandom } from "../../../support/seeded.ts";
import { expectBytes, readBytes } from "../../contract/checks.ts";
import { eventsOf } from "../../contract/lifecycle-steps.ts";

const streams = ["a-1", "a-2", "b-1", "b-2", "c"];
const types = ["T", "U", "V", "$sys"];
const tags = ["k:1", "k:2", "k:3"];
const readsPerCommitMax = 60;

class Choices {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  below(max: number): number {
    return Math.floor(this.random() * max);
  }

  of<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

/** Answers now, or after a few turns, and tells short reads to come later now and then. */
function late(kv: Kv, choices: Choices): Kv {
  const wait = async (): Promise<void> => {
    for (let turns = choices.below(4); turns > 0; turns--) await setImmediate();
  };
  const { getNow } = kv;
  return {
    ...kv,
    async getMany(keys) {
      const values = await kv.getMany(keys);
      await wait();
      return values;
    },
    async page(range) {
      const entries = await kv.page(range);
      await wait();
      return entries;
    },
    ...(getNow && { getNow: (key) => (choices.below(4) === 0 ? "later" : getNow(key)) }),
    async write(operations) {
      await wait();
      await kv.write(operations);
      await wait();
    },
  };
}

/** Of many streams, of many tags, or small. The streams and tags of the pool are in each of them. */
function sketches(choices: Choices, round: number): EventSketch[] {
  const kind = choices.below(4);
  const count = kind === 0 ? 1_100 : kind === 1 ? 110 : 1 + choices.below(8);
  return Array.from({ length: count }, (_, i) => {
    const own = Array.from({ length: kind === 1 ? 50 : 0 }, (__, j) => `${round}-${i}-${j}`);
    const isOwn = kind === 0 && choices.below(20) > 0;
    return {
      stream: isOwn ? `own-${choices.below(2_000)}` : choices.of(streams),
      type: choices.of(choices.below(9) === 0 ? types : ["T", "U"]),
      tags: [...own, ...(choices.below(3) === 0 ? [choices.of(tags)] : [])],
      data: "x".repeat(choices.below(60) === 0 ? 30_000 : choices.below(100)),
      idFromClient: choices.below(2) === 0,
    };
  });
}

function item(choices: Choices, round: number): QueryItem {
  const tag = choices.below(2) === 0 ? choices.of(tags) : `${round}-${choices.below(110)}-7`;
  return choices.of<QueryItem>([
    { ...anyEvent, tags: [tag] },
    { ...anyEvent, tagsAny: [tag, choices.of(tags)] },
    { ...anyEvent, types: [choices.of(types)] },
    { ...anyEvent, types: [choices.of(types)], tags: [tag] },
    { ...anyEvent, streamPrefixes: [choices.of(["a", "b-", "own", "own-1"])] },
    { ...anyEvent, streams: [choices.of(streams), `own-${choices.below(2_000)}`] },
  ]);
}

function selection(choices: Choices, round: number): Selection {
  const kind = choices.below(8);
  if (kind === 0) return { kind: "all" };
  if (kind < 4) return { kind: "stream", stream: choices.of(streams) };
  if (kind === 4) return { kind: "stream", stream: `own-${choices.below(2_000)}` };
  const items = Array.from({ length: 1 + choices.below(2) }, () => item(choices, round));
  return { kind: "query", query: { items } };
}

function someRead(choices: Choices, round: number, head: number): StorageRead {
  const selected = selection(choices, round);
  const isWhole = choices.below(2) === 0;
  const first = isWhole ? 1 : 1 + choices.below(head);
  const last = isWhole || choices.below(2) === 0 ? head : first + choices.below(head - first + 1);
  const isOfVersions = selected.kind === "stream" && choices.below(3) === 0;
  return {
    selection: selected,
    direction: choices.of(["forwards", "backwards"]),
    positions: { first, last },
    asOf: head,
    batchBytes: choices.of([1, 300, 20_000, 1_000_000]),
    ...(choices.below(3) === 0 && { batchEvents: 1 + choices.below(30) }),
    ...(isOfVersions && { versions: { first: 1 + choices.below(9), last: 2 ** 40 } }),
  };
}

/** Resolves to what has to be compared with the model once it has the events, too. */
type Check = Promise<() => Promise<void>>;

async function beginRead(engine: Storage, model: ModelStorage, read: StorageRead): Check {
  const found = await readBytes(engine, read);
  return async () => expectBytes(found, await readBytes(model, read), JSON.stringify(read));
}

async function beginFacts(
  engine: Storage,
  model: ModelStorage,
  choices: Choices,
  round: number,
): Check {
  const { position: head } = engine.head();
  const names = [...streams, `own-${choices.below(2_000)}`];
  const conditions = Array.from({ length: 3 }, () => ({
    query: { items: [item(choices, round)] },
    after: choices.below(head + 1),
  }));
  const facts = await engine.facts({ streams: names, ids: [], conditions });
  return async () => {
    expect(facts.head.position).toBe(head);
    const events = model.data.events.slice(0, head);
    for (const name of names) {
      const version = events.filter(({ stream }) => stream === name).length;
      expect(facts.versions.get(name) ?? 0, name).toBe(version);
    }
    const gone = await model.areRemoved(events);
    for (const [i, { query, after }] of conditions.entries()) {
      const match = facts.matches[i] as number;
      const what = `${match} after ${after} of ${head}: ${JSON.stringify(query)}`;
      const found = events.filter((each) => each.position > after && matches(query, each));
      if (match > 0)
        expect(
          found.some(({ position }) => position === match),
          what,
        ).toBe(true);
      else
        expect(
          found.filter(({ position }) => gone[position - 1] === false),
          what,
        ).toEqual([]);
    }
  };
}

/** Begins reads in each turn while the commit runs. */
async function beside(
  committed: Promise<unknown>,
  begin: () => readonly Check[],
): Promise<readonly Check[]> {
  const ending = { isOver: false };
  const ended = committed.finally(() => (ending.isOver = true));
  const checks: Check[] = [];
  while (!ending.isOver) {
    if (checks.length < readsPerCommitMax) checks.push(...begin());
    await setImmediate();
  }
  await ended;
  return [...checks, ...begin()];
}

/** What the round commits: events, or in half of the histories now and then a lifecycle. */
async function eventsOfRound(
  choices: Choices,
  model: ModelStorage,
  round: number,
  recordedAt: number,
): Promise<NewEvent[]> {
  const some = sketches(choices, round);
  const isChange = round > 3 && choices.below(4) === 0;
  if (!isChange) return newEvents(some.length, (i) => some[i] as EventSketch);
  const change = choices.of([
    { kind: "policy", maxAge: undefined, maxCount: 1 + choices.below(5), kept: undefined },
    { kind: "policy", maxAge: undefined, maxCount: undefined, kept: choices.below(4) },
    { kind: "delete", permanent: false },
  ] as const);
  const stream = choices.of(streams);
  const step = { kind: "lifecycle", stream, change, micros: 1, sketches: [] } as const;
  return eventsOf(model, step, recordedAt);
}

/** Fails where an answer is not the model's. Returns what is wrong with the store at the end. */
async function playHistory(seed: number, rounds: number): Promise<string[]> {
  const choices = new Choices(seed);
  const memory = openMemoryKv();
  const options = {
    openKv: async () => late(memory, choices),
    storeId: crypto.randomUUID(),
    createdAt: 1,
    clock: () => 1,
    hotBytesMax: choices.of([undefined, 0, 16 * 1024, 200 * 1024]),
  };
  let engine = await openStorageOver(options);
  const model = createModelStorage({ clock: () => 1 });
  for (let round = 0; round < rounds; round++) {
    const recordedAt = model.head().recordedAt + 1;
    const events = await eventsOfRound(choices, model, round, recordedAt);
    const commit = await composeCommit(engine, events, recordedAt);
    const checks = await beside(engine.commit(commit), () => {
      const { position: head } = engine.head();
      if (head === 0) return [];
      const read = beginRead(engine, model, someRead(choices, round, head));
      return choices.below(4) > 0 ? [read] : [read, beginFacts(engine, model, choices, round)];
    });
    expect(await model.commit(commit)).toBe("committed");
    for (const check of await Promise.all(checks)) await check();
    expect(engine.head()).toEqual(model.head());
    if (choices.below(6) > 0) continue;
    await engine.close();
    engine = await openStorageOver(options);
  }
  const { position: head } = engine.head();
  const findings: string[] = [];
  await verifyStore(memory, { head, found: (finding) => findings.push(finding) });
  await engine.close();
  return findings;
}

test.for([1, 2, 5])("readers of large commits, seed %i", { timeout: 300_000 }, async (seed) => {
  expect(await playHistory(seed, 8)).toEqual([]);
});
