// The LevelDB engine under the port's contract: on disk, over the in-memory database, and with less
// memory for lifecycles, and for records of streams, than there are.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { openMemoryKv } from "../../../src/storage/leveldb/kv/memory-kv.ts";
import {
  openLevelStore,
  openStoreOver,
  type OverOptions,
} from "../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../src/storage/leveldb/verify/verify-store.ts";
import { cold, reclaimed, warm, type OpenedEngine, type OpenEngine } from "../contract/checks.ts";
import { storageSuite } from "../contract/contract.ts";
import { readContract } from "../contract/read.ts";
import { generatedContract } from "../contract/generated.ts";
import { lifecycleContract } from "../contract/lifecycle.ts";
import { keptTime } from "../../support/kept-time.ts";
import { reclaimAll, whenAsked } from "../../support/reclaiming.ts";

storageSuite("leveldb on disk", async (clock) => {
  const timed = clock === undefined ? {} : { clock };
  const folder = await mkdtemp(join(tmpdir(), "annals-suite-"));
  const options = { folder, reclaim: whenAsked, ...timed };
  let store = await openLevelStore(options);
  return {
    storage: store.storage,
    async reopen() {
      await store.storage.close();
      store = await openLevelStore(options);
      return store.storage;
    },
    reclaim: () => reclaimAll(store.reclaimer),
    async close() {
      await store.storage.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});

const openInMemory = async (
  clock: (() => number) | undefined,
  more: Partial<OverOptions> = {},
): Promise<OpenedEngine> => {
  const kv = openMemoryKv();
  const identity = { storeId: crypto.randomUUID(), createdAt: 1 };
  const reclaim = whenAsked;
  const timed = { timeKeeper: keptTime(), ...(clock && { clock }) };
  const options = { openKv: async () => kv, reclaim, ...identity, ...timed, ...more };
  let store = await openStoreOver(options);
  return {
    storage: store.storage,
    async reopen() {
      await store.storage.close();
      store = await openStoreOver(options);
      return store.storage;
    },
    reclaim: () => reclaimAll(store.reclaimer),
    async findings() {
      const findings: string[] = [];
      const found = (finding: string) => void findings.push(finding);
      await verifyStore(kv, { head: store.storage.head().position, found });
      return findings;
    },
    close: () => store.storage.close(),
  };
};

storageSuite("leveldb in memory", (clock) => openInMemory(clock));

describe("leveldb with memory for the lifecycle of one stream", () => {
  const open: OpenEngine = (clock) =>
    openInMemory(clock, {
      lifecyclesBytesMax: 1,
      reclaim: { ...whenAsked, watchedMax: 1 },
    });
  describe.each([
    ["", warm(open)],
    [", after a restart", cold(open)],
    [", after its space was reclaimed", reclaimed(open)],
  ] as const)("what was stored%s", (_, settled) => {
    lifecycleContract(settled);
  });
  generatedContract(open, 40);
});

describe.each([
  ["no memory", 0],
  ["little memory", 16 * 1024],
])("leveldb with %s for the records of streams", (_, hotBytesMax) => {
  const open: OpenEngine = (clock) => openInMemory(clock, { hotBytesMax });
  readContract(warm(open));
  lifecycleContract(warm(open));
  generatedContract(open, 10);
});
