// The LevelDB engine under the port's law: on disk, and over the in-memory database.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMemoryKv } from "../../../src/storage/leveldb/kv/memory-kv.ts";
import { openLevelStore, openStoreOver } from "../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../src/storage/leveldb/verify/verify-store.ts";
import { storageSuite } from "../contract/contract.ts";
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

storageSuite("leveldb in memory", async (clock) => {
  const kv = openMemoryKv();
  const identity = { storeId: crypto.randomUUID(), createdAt: 1 };
  const reclaim = whenAsked;
  const options = { openKv: async () => kv, reclaim, ...identity, ...(clock && { clock }) };
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
});
