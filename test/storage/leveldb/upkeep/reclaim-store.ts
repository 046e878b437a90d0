// What the tests of reclaiming share: a store over a key-value store in memory, filled with two
// streams, and what its entries, checks and answers say.
import { expect } from "vitest";
import type { Entry, Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openStoreOver, type OverOptions } from "../../../../src/storage/leveldb/open.ts";
import type { Reclaimer } from "../../../../src/storage/leveldb/upkeep/reclaimer.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { Batch, Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, idOf, newEvents } from "../../../support/events.ts";
import { askEverything, type topicsOf } from "../../../support/questions.ts";
import { whenAsked } from "../../../support/reclaiming.ts";

export const secret = "nobody may read this any more";

/** Streams `gone` and `kept` in turn, four events in a commit; every third id is the server's. */
export async function fill(storage: Storage, commits: number, from = 0): Promise<void> {
  for (let i = from; i < from + commits; i++) {
    const events = newEvents(4, (n) => ({
      id: idOf(0xce_0000 + i * 4 + n),
      idFromClient: (i * 4 + n) % 3 !== 2,
      stream: n % 2 === 0 ? "gone" : "kept",
      type: n < 2 ? "Early" : "Late",
      tags: [`n:${n}`],
      metadata: { sideValue: n % 2 === 0 ? secret : "plain" },
      data: n % 2 === 0 ? `${secret} ${i}`.repeat(9) : `data ${i}`.repeat(9),
    }));
    await commitEvents(storage, events, 1_000 + i);
  }
}

export async function countOf(batches: AsyncIterable<Batch>): Promise<number> {
  let count = 0;
  for await (const batch of batches) count += batch.count;
  return count;
}

export interface Opened {
  readonly storage: Storage;
  readonly reclaimer: Reclaimer;
  readonly warnings: string[];
}

export async function open(
  openKv: () => Promise<Kv>,
  more: Partial<OverOptions> = {},
): Promise<Opened> {
  const warnings: string[] = [];
  const warn = (message: string, cause?: unknown) =>
    void warnings.push(`${message}: ${(cause as Error | undefined)?.message}`);
  const identity = { storeId: "0190a000-0000-7000-8000-00000000a11a", createdAt: 1 };
  const options = { openKv, clock: () => 5_000, warn, reclaim: whenAsked, ...identity, ...more };
  const { storage, reclaimer } = await openStoreOver(options);
  if (reclaimer === undefined) return expect.unreachable();
  return { storage, reclaimer, warnings };
}

export async function entriesOf(kv: Kv): Promise<Entry[]> {
  const range = { first: Buffer.from([0]), last: Buffer.from([0xff]) };
  return kv.page({ ...range, limit: 100_000, bytesMax: 1 << 30 });
}

export async function findingsIn(kv: Kv, storage: Storage): Promise<string[]> {
  const findings: string[] = [];
  const found = (finding: string) => void findings.push(finding);
  await verifyStore(kv, { head: storage.head().position, found });
  return findings;
}

/** The answers to every question but those that tell of the head and of events removed. */
export async function answersOf(storage: Storage, topics: Awaited<ReturnType<typeof topicsOf>>) {
  const answers = new Map(await askEverything(storage, topics));
  for (const question of answers.keys()) {
    if (/^head$|the middle|system streams|^removed ones|^matches after/.test(question))
      answers.delete(question);
  }
  return answers;
}

export async function put(kv: Kv, key: Uint8Array, value: Uint8Array): Promise<void> {
  await kv.write([[key, value]]);
}
