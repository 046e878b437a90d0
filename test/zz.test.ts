// Temporary.
import { generatedLaw } from "./storage-suite/generated-law.ts";
import { openMemoryKv } from "../src/storage/leveldb/memory-kv.ts";
import { openStorageOver } from "../src/storage/leveldb/open.ts";
generatedLaw(async (clock) => {
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
}, 400);
