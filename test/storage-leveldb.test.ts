// The LevelDB engine under the port's law: on disk, and over the in-memory database.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMemoryKv } from "../src/storage/leveldb/memory-kv.ts";
import { openLevelStorage, openStorageOver } from "../src/storage/leveldb/open.ts";
import { storageSuite } from "./storage-suite.ts";

storageSuite("leveldb on disk", async (clock) => {
  const timed = clock === undefined ? {} : { clock };
  const folder = await mkdtemp(join(tmpdir(), "annals-suite-"));
  let storage = await openLevelStorage({ folder, ...timed });
  return {
    storage,
    async reopen() {
      await storage.close();
      storage = await openLevelStorage({ folder, ...timed });
      return storage;
    },
    async close() {
      await storage.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});

storageSuite("leveldb in memory", async (clock) => {
  const kv = openMemoryKv();
  const identity = { storeId: crypto.randomUUID(), createdAt: 1 };
  const options = { openKv: async () => kv, ...identity, ...(clock && { clock }) };
  let storage = await openStorageOver(options);
  return {
    storage,
    async reopen() {
      await storage.close();
      storage = await openStorageOver(options);
      return storage;
    },
    close: () => storage.close(),
  };
});
