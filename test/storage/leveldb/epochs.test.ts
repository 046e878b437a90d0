// Epochs on disk: a restore and an accepted loss begin one, it outlives the process, and backups have
// it. Then histories of appends, backups, restores and losses are generated, with consumers at every
// position: each is refused exactly where it has seen events that this history does not have.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  currentEpoch,
  epochMismatch,
  firstEpoch,
  sharedThrough,
  type History,
} from "../../../src/domain/epoch.ts";
import { decodeRecord } from "../../../src/domain/record.ts";
import {
  historyOf,
  readIdentity,
  withNewEpoch,
  writeIdentity,
  type Identity,
} from "../../../src/storage/leveldb/folder/identity.ts";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import { backUp } from "../../../src/storage/leveldb/offline/backup.ts";
import { checkBackup } from "../../../src/storage/leveldb/offline/backup-read.ts";
import { restore } from "../../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../support/events.ts";
import { copyStore } from "../../support/store-folder.ts";

let scratch: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-epochs-"));
});
afterAll(() => rm(scratch, { recursive: true }));

function fresh(): string {
  return join(scratch, String(made++));
}

async function append(storage: Storage, count: number): Promise<void> {
  await commitEvents(
    storage,
    newEvents(count, (n) => ({ stream: `s-${n % 3}`, data: Buffer.alloc(60, n) })),
  );
}

async function idsIn(storage: Storage): Promise<string[]> {
  return (await recordsOf(storage)).map((record) => decodeRecord(record).id);
}

/** Serves a store for as long as `act` takes. */
async function served<T>(
  folder: string,
  act: (storage: Storage) => T,
  acceptLoss?: string,
): Promise<Awaited<T>> {
  const storage = await openLevelStorage({ folder, acceptLoss });
  try {
    return await act(storage);
  } finally {
    await storage.close();
  }
}

describe("the epochs of a store", () => {
  let folder: string;
  beforeEach(() => {
    folder = fresh();
  });

  test("begin with one that follows from its id, and needs no place in IDENTITY", async () => {
    const { identity } = await served(folder, (storage) => storage);
    expect(identity.history).toEqual([firstEpoch(identity.storeId, identity.createdAt)]);
    expect(await readFile(join(folder, "IDENTITY"), "utf8")).not.toContain("epoch");
    expect(identity.history[0].id).toBe(identity.storeId.replaceAll("-", "").slice(0, 16));
  });

  test("get a new one with a restore, after the last position that was kept", async () => {
    const [backup, target] = [fresh(), fresh()];
    const before = await served(folder, async (storage) => {
      await append(storage, 7);
      await backUp({ store: folder, target: backup });
      await append(storage, 5);
      return storage.identity;
    });
    const report = await restore({ backup, target, clock: () => 77 });
    const { history } = (await served(target, (storage) => storage)).identity;
    const begun = { id: report.epoch, after: 7, beganAt: 77, cause: "restore" };
    expect(history).toEqual([...before.history, begun]);
    expect(sharedThrough(history, before.history[0].id)).toBe(7);
    expect(sharedThrough(history, report.epoch)).toBe(Infinity);
    expect(sharedThrough(history, "0123456789abcdef")).toBeUndefined();
  });

  test("are in backups, which stay incremental, and in what verify says", async () => {
    const [backup, target] = [fresh(), fresh()];
    await served(folder, (storage) => append(storage, 3));
    await backUp({ store: folder, target: backup });
    const { epoch } = await restore({ backup, target });
    await served(target, (storage) => append(storage, 3));
    expect(await backUp({ store: target, target: backup })).toMatchObject({ first: 4, last: 6 });
    expect(await checkBackup(backup)).toMatchObject({ epoch, head: 6 });
    expect(await verifyFolder(target)).toMatchObject({ epoch, findings: [] });
    const again = fresh();
    const second = await restore({ backup, target: again });
    const { history } = (await served(again, (storage) => storage)).identity;
    expect(history.slice(1).map(({ id, after }) => [id, after])).toEqual([
      [epoch, 3],
      [second.epoch, 6],
    ]);
  });

  test("do not fit a log that ends before one of them began, and verify says so", async () => {
    await served(folder, (storage) => append(storage, 3));
    const identity = (await readIdentity(folder)) as Identity;
    const begun = { after: 9, beganAt: 5, cause: "restore" } as const;
    await writeIdentity(folder, withNewEpoch(identity, begun));
    const { findings } = await verifyFolder(folder);
    expect(findings).toEqual([
      expect.stringMatching(/^epoch [0-9a-f]{16} began after position 9, but the log ends at 3$/),
    ]);
  });

  test("are damaged with IDENTITY, which is then refused", async () => {
    await served(folder, (storage) => append(storage, 3));
    const identity = (await readIdentity(folder)) as Identity;
    await writeIdentity(folder, withNewEpoch(identity, { after: 3, beganAt: 5, cause: "restore" }));
    const path = join(folder, "IDENTITY");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"after":3', '"after":4'));
    await expect(openLevelStorage({ folder })).rejects.toThrow("IDENTITY is corrupted");
    await writeFile(path, text);
    expect((await served(folder, (storage) => storage)).identity.history).toHaveLength(2);
  });

  test("are forgotten beyond a thousand, and bind the first one all the same", () => {
    let identity: Identity = { storeId: "a", createdAt: 1, formatVersion: 1, created: true };
    for (let i = 0; i < 1_100; i++) {
      const after = i === 3 ? 5 : 1_000 + i;
      identity = withNewEpoch(identity, { after, beganAt: 1, cause: "restore" });
    }
    const history = historyOf(identity);
    expect(history).toHaveLength(1_001);
    expect(sharedThrough(history, history[0].id)).toBe(5);
  });
});

describe("an accepted loss", () => {
  let folder: string;
  beforeEach(async () => {
    const [working, whole] = [fresh(), fresh()];
    folder = fresh();
    await served(working, (storage) => append(storage, 40));
    await served(working, async (storage) => {
      for (let i = 0; i < 6; i++) await append(storage, 10);
      await copyStore(working, whole);
    });
    await copyStore(whole, folder);
  });

  async function corruptLog(): Promise<string> {
    const log = join(folder, "log");
    const name = (await readdir(log)).find((each) => each.endsWith(".log")) ?? "";
    const bytes = await readFile(join(log, name));
    const at = Math.floor(bytes.length * 0.4);
    bytes[at] = (bytes[at] as number) ^ 4;
    await writeFile(join(log, name), bytes);
    return tokenOf();
  }

  async function tokenOf(): Promise<string> {
    const error = await openLevelStorage({ folder }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StoreRefused);
    return (error as StoreRefused).token ?? "";
  }

  test("begins an epoch that shares what comes before the loss", async () => {
    const token = await corruptLog();
    expect((await readIdentity(folder))?.epochs).toEqual([]);
    const { history } = (await served(folder, (storage) => storage, token)).identity;
    expect(history.slice(1)).toMatchObject([{ after: 60, cause: "accepted-loss" }]);
    const again = await served(folder, (storage) => storage);
    expect(again.identity.history).toEqual(history);
  });

  test("of the high-water mark alone keeps all that is there", async () => {
    await rm(join(folder, "MARK"));
    const token = await tokenOf();
    const { history } = (await served(folder, (storage) => storage, token)).identity;
    expect(history.slice(1)).toMatchObject([{ after: 100, cause: "accepted-loss" }]);
  });
});

/** A consumer that stopped: what it has seen, and the position and epoch it has kept. */
interface Kept {
  readonly epoch: string;
  readonly position: number;
  readonly seen: readonly string[];
}

function shares(seen: readonly string[], log: readonly string[]): boolean {
  return seen.every((id, i) => log[i] === id);
}

describe("a consumer that kept its position and its epoch", () => {
  type Step = { readonly append: number } | "backup" | { readonly restore: number };
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ append: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 2, arbitrary: fc.constant("backup" as const) },
    { weight: 2, arbitrary: fc.record({ restore: fc.nat({ max: 5 }) }) },
  );

  /** Consumers that stopped at each position of the store as it is. */
  function keptAt(history: History, ids: readonly string[]): Kept[] {
    const epoch = currentEpoch(history);
    return Array.from({ length: ids.length + 1 }, (_, position) => {
      return { epoch, position, seen: ids.slice(0, position) };
    });
  }

  function check(consumers: readonly Kept[], history: History, ids: readonly string[]): void {
    for (const { epoch, position, seen } of consumers) {
      const claim = { epoch, position, asked: position, field: "after_position" };
      const mismatch = epochMismatch(history, claim);
      // A store restored from an older backup cannot know an epoch that began after that backup.
      const isKnown = position === 0 || sharedThrough(history, epoch) !== undefined;
      expect(mismatch === undefined, `${position} of ${epoch}`).toBe(isKnown && shares(seen, ids));
      if (mismatch === undefined) {
        expect([...seen, ...ids.slice(position)]).toEqual(ids);
      } else {
        // What the error says is right: up to there, the consumer has seen this history.
        const through = mismatch.shared ?? 0;
        expect(through === 0 || isKnown).toBe(true);
        expect(through).toBeLessThan(position);
        expect(shares(seen.slice(0, through), ids)).toBe(true);
      }
    }
  }

  test("is refused where it has seen other events than the store has, and only there", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
        let folder = fresh();
        await served(folder, () => {});
        const backups: string[] = [];
        const consumers: Kept[] = [];
        for (const one of steps) {
          if (one === "backup") {
            const target = fresh();
            await backUp({ store: folder, target });
            backups.push(target);
          } else if ("append" in one) {
            await served(folder, (storage) => append(storage, one.append));
          } else {
            const backup = backups[one.restore % Math.max(1, backups.length)];
            if (backup === undefined) continue;
            folder = fresh();
            await restore({ backup, target: folder });
          }
          await served(folder, async (storage) => {
            const ids = await idsIn(storage);
            const { history } = storage.identity;
            consumers.push(...keptAt(history, ids));
            check(consumers, history, ids);
          });
        }
      }),
      { numRuns: 8 },
    );
  }, 60_000);
});
