// The scrubber: it finds every kind of rot in a store that is being served, keeps to its rate,
// gives way, and leaves everything as it is.
import { mkdtemp, open as openFile, readFile, readdir, rm } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ownId } from "../../../../src/domain/event.ts";
import {
  chunkKey,
  idKey,
  postingKey,
  termKey,
  termNumber,
  seal,
} from "../../../../src/storage/leveldb/format/keys.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openLevelStore, openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import {
  verifyStore,
  type StoreTotals,
} from "../../../../src/storage/leveldb/verify/verify-store.ts";
import { lookEveryMs } from "../../../../src/storage/leveldb/upkeep/idle-memory.ts";
import type { ScrubberStatus } from "../../../../src/storage/leveldb/upkeep/scrubber.ts";
import { resealWithoutKind } from "../files/resealed-table.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, idOf, newEvents, recordsOf } from "../../../support/events.ts";
import { handTimers } from "../../../support/hand-timers.ts";
import { saveSnapshot } from "../../../support/snapshots.ts";
import { contentsOf } from "../../../support/store-folder.ts";

const events = 60;

/**
 * Commits of six events: streams a-0 to a-2 in turn, ids 1 to 60, every third made by the
 * server.
 */
async function fill(storage: Storage): Promise<void> {
  for (let i = 0; i < events / 6; i++) {
    const sketches = newEvents(6, (n) => ({
      ...(n % 3 === 2 ? { idFromClient: false } : { id: idOf(0xbb_0000 + i * 6 + n + 1) }),
      stream: `a-${n % 3}`,
      tags: n === 0 ? ["k:1"] : [],
      data: Buffer.alloc(100, i),
    }));
    await commitEvents(storage, sketches);
  }
  const payload = Buffer.from("state");
  await saveSnapshot(storage, { stream: "a-1", kind: "", version: 2, payload });
}

describe("the whole of a store, checked", () => {
  async function verify(bend: (kv: Kv) => Promise<void>): Promise<[string[], StoreTotals]> {
    const kv = openMemoryKv();
    const storage = await openStorageOver({ openKv: async () => kv });
    await fill(storage);
    await bend(kv);
    const findings: string[] = [];
    const found = (finding: string) => void findings.push(finding);
    return [findings, await verifyStore(kv, { head: events, found })];
  }

  async function put(kv: Kv, key: Uint8Array, value: Uint8Array): Promise<void> {
    await kv.write([[key, value]]);
  }

  async function remove(kv: Kv, key: Uint8Array): Promise<void> {
    await kv.write([[key, undefined]]);
  }

  async function flip(kv: Kv, key: Uint8Array, byte: number): Promise<void> {
    const [value] = await kv.getMany([key]);
    if (!value) return expect.unreachable();
    const corrupted = Buffer.from(value);
    const at = byte < 0 ? corrupted.length + byte : byte;
    corrupted[at] = (corrupted[at] as number) ^ 1;
    await put(kv, key, corrupted);
  }

  test("is found sound, and counted", async () => {
    const [findings, totals] = await verify(async () => {});
    expect(findings).toEqual([]);
    expect(totals).toEqual({
      chunks: 10,
      events,
      terms: 6,
      postings: 60,
      ids: 40,
      snapshots: 1,
      sideValues: 0,
    });
  });

  const streamA0 = termNumber(1, 0);
  const cases: readonly (readonly [string, (kv: Kv) => Promise<void>, readonly string[]])[] = [
    [
      "a corrupted chunk",
      (kv) => flip(kv, chunkKey(12), 90),
      ["positions 7 to 12 cannot be read: the chunk that ends at position 12 fails its CRC"],
    ],
    ["a missing chunk", (kv) => remove(kv, chunkKey(12)), ["positions 7 to 12 are missing"]],
    ["a missing last chunk", (kv) => remove(kv, chunkKey(60)), ["positions 55 to 60 are missing"]],
    [
      "a corrupted posting",
      (kv) => flip(kv, postingKey(streamA0, 12), 2),
      ["an index entry fails its CRC (positions up to 12)"],
    ],
    [
      "a missing posting",
      (kv) => remove(kv, postingKey(streamA0, 12)),
      ['stream "a-0" has no posting for positions up to 12'],
    ],
    [
      "a missing term",
      (kv) => remove(kv, termKey(1, "a-0")),
      ['stream "a-0", first seen up to position 6, is not in the dictionary'],
    ],
    [
      "a corrupted term",
      (kv) => flip(kv, termKey(4, "k:1"), 3),
      ['tag "k:1": an entry of the term dictionary fails its CRC'],
    ],
    [
      "a missing id",
      (kv) => remove(kv, idKey(idOf(0xbb_0007), 0)),
      [`the index does not lead from id ${idOf(0xbb_0007)} to position 7`],
    ],
    [
      "a corrupted snapshot",
      async (kv) => {
        const range = { first: Buffer.from("n"), last: Buffer.from("o"), limit: 1 };
        const [entry] = await kv.page(range);
        if (entry) await flip(kv, entry[0], 2);
      },
      [expect.stringMatching(/^the entry under key 6e06[0-9a-f]+ is corrupted$/)],
    ],
    [
      "a term that no event has",
      (kv) => {
        const key = termKey(1, "ghost");
        return put(kv, key, seal(key, Buffer.from([0, 0, 0, 0, 0, 0, 1, 0x80])));
      },
      ["the index holds 7 terms; the log accounts for 6"],
    ],
    [
      "an id that no event has",
      (kv) => {
        const key = idKey(idOf(1), 0);
        return put(kv, key, seal(key, Buffer.from([0, 0, 0, 0, 0, 0, 0, 3])));
      },
      ["the index holds 41 ids; the log accounts for 40"],
    ],
    [
      "an id of an event whose id the store made",
      (kv) => {
        const key = idKey(ownId(0, 3, 1), 0);
        return put(kv, key, seal(key, Buffer.from([0, 0, 0, 0, 0, 0, 0, 3])));
      },
      ["the index holds 41 ids; the log accounts for 40"],
    ],
  ];
  test.each(cases)("finds %s", async (_, bend, expected) => {
    const [findings] = await verify(bend);
    expect(findings.slice(0, expected.length)).toEqual(expected);
  });
});

describe("the scrubber of a store that is served", () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "annals-scrub-"));
  });
  afterAll(() => rm(scratch, { recursive: true }));

  async function open(name: string, isBusy = false) {
    const timers = handTimers();
    const warnings: string[] = [];
    const folder = join(scratch, name);
    const first = await openLevelStore({ folder });
    await fill(first.storage);
    await first.storage.close();
    const before = await contentsOf(join(folder, "log"));
    const { storage, scrubber } = await openLevelStore({
      folder,
      // Time passes for the scrubber alone.
      delay: (ms, act) => (ms === lookEveryMs ? () => {} : timers.delay(ms, act)),
      clock: () => 5_000_000,
      warn: (message) => void warnings.push(message),
      scrub: { bytesPerSecond: 1_000, delayMs: 0, pauseMs: 60_000, isBusy: () => isBusy },
    });
    if (!scrubber) return expect.unreachable();
    return { storage, scrubber, timers, warnings, folder, before };
  }

  type Opened = Awaited<ReturnType<typeof open>>;

  /** Lets time pass until the round is over: as many turns as the disk takes, on a busy machine. */
  async function finishRound({ scrubber, timers }: Opened): Promise<void> {
    const { rounds } = scrubber.status();
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const status = scrubber.status();
      if (status.phase === "waiting" && status.rounds > rounds) return;
      timers.next();
    }
  }

  test("reads everything, round after round, at its rate, and changes nothing", async () => {
    const opened = await open("sound");
    const { scrubber, timers, storage, folder, before } = opened;
    await finishRound(opened);
    const status = scrubber.status();
    expect(status).toMatchObject({ rounds: 1, position: events, findingCount: 0 });
    expect(status.lastFinishedAt).toBe(5_000_000);
    expect(timers.nowMs()).toBeGreaterThanOrEqual(status.bytes - 100);
    expect(timers.nowMs()).toBeLessThan(status.bytes + 100);
    await finishRound(opened);
    expect(scrubber.status().rounds).toBe(2);
    await storage.close();
    expect(scrubber.status().phase).toBe("stopped");
    expect(timers.waiting()).toEqual([]);
    const tables = (contents: Map<string, string>) =>
      [...contents].filter(([path]) => path.endsWith(".ldb"));
    expect(tables(await contentsOf(join(folder, "log")))).toEqual(tables(before));
  });

  test("slows down, but goes on, while others need the machine", async () => {
    const opened = await open("busy", true);
    await finishRound(opened);
    const { scrubber, timers, storage } = opened;
    expect(timers.nowMs()).toBeGreaterThanOrEqual(scrubber.status().bytes * 8 - 100);
    await storage.close();
  });

  test("says what it finds once, counts it, ends appends, and goes on reading", async () => {
    const opened = await open("rotten");
    const { scrubber, storage, warnings, folder } = opened;
    await finishRound(opened);
    const log = join(folder, "log");
    const name = (await readdir(log)).find((each) => each.endsWith(".ldb")) ?? "";
    const [byte = 0] = (await readFile(join(log, name))).subarray(100);
    // In place: a table that is cut, be it for a moment, ends the process that has it mapped.
    const table = await openFile(join(log, name), "r+");
    await table.write(Buffer.from([byte ^ 8]), 0, 1, 100);
    await table.close();
    await finishRound(opened);
    await finishRound(opened);
    const { findings, findingCount, rounds } = scrubber.status();
    expect(rounds).toBe(3);
    expect(findings[0]).toBe(`table ${name}: the block at byte 0 fails its CRC`);
    expect(findingCount).toBe(findings.length);
    expect(warnings.filter((each) => each.includes("the block at byte 0"))).toHaveLength(1);
    expect(storage.writeState()).toBe("failed");
    expect(await recordsOf(storage, { positions: { first: events, last: events } })).toHaveLength(
      1,
    );
    await storage.close();
  });

  test("names the table of what LevelDB cannot read, although each block has its CRC", async () => {
    const path = join(scratch, "merged");
    const filled = await openLevelStore({ folder: path });
    // Random bytes do not shrink, so that keys are on disk as they are.
    const noise = newEvents(6, () => ({ stream: "a", data: randomBytes(2_000) }));
    await commitEvents(filled.storage, noise);
    await filled.storage.close();
    await (await openLevelStore({ folder: path })).storage.close();
    const names = (await readdir(join(path, "log"))).filter((name) => name.endsWith(".ldb"));
    const table = names[0] ?? "";
    const key = postingKey(termNumber(1, 0), 6);
    const offset = resealWithoutKind(join(path, "log", table), key);
    let finished = (_: readonly string[]): void => {};
    const ended = ({ findings }: ScrubberStatus): void => finished(findings);
    const round = new Promise<readonly string[]>((resolve) => (finished = resolve));
    const scrub = { delayMs: 0, found: () => {}, finished: ended };
    const store = await openLevelStore({ folder: path, scrub });
    const finding = `table ${table}: the entries of the block at byte ${offset} make no sense`;
    expect(await round).toEqual([finding]);
    expect(store.storage.writeState()).toBe("failed");
    await store.storage.close();
    // The next start looks into it as well.
    await expect(openLevelStore({ folder: path })).rejects.toThrow(finding);
  });

  test("goes on through a database that is being appended to", async () => {
    const opened = await open("growing");
    const { scrubber, storage } = opened;
    await fillMore(storage);
    await finishRound(opened);
    await fillMore(storage);
    await finishRound(opened);
    expect(scrubber.status()).toMatchObject({ findingCount: 0, position: events + 200 });
    await storage.close();
  });

  async function fillMore(storage: Storage): Promise<void> {
    for (let i = 0; i < 10; i++) {
      await commitEvents(
        storage,
        newEvents(10, (n) => ({ stream: `b-${n}` })),
      );
    }
  }
});
