// A database in memory whose writes and openings fail when told to, as LevelDB's do: a failed write
// may be there after reopening or not, and everything written behind it before reopening is lost.
import type { Kv, Operation } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";

export interface FaultyKv {
  /** As `OverOptions.openKv`. */
  openKv(): Promise<Kv>;
  /** What the next writes do instead of working, in order. */
  readonly writes: ("works" | "fails, not there" | "fails, there")[];
  /** What the next openings do instead of working, in order. */
  readonly openings: ("fails" | "lost everything")[];
  /** While set, reads and openings wait for it. */
  gate: Promise<void> | undefined;
  opened: number;
}

export function faultyKv(): FaultyKv {
  let durable: (readonly Operation[])[] = [];
  const faulty: FaultyKv = {
    writes: [],
    openings: [],
    gate: undefined,
    opened: 0,
    async openKv() {
      await faulty.gate;
      faulty.opened++;
      const how = faulty.openings.shift();
      if (how === "fails") throw new Error("the database does not open");
      if (how === "lost everything") durable = [];
      return overMemory(await replayed(durable));
    },
  };

  function overMemory(memory: Kv): Kv {
    let open = true;
    let poisoned = false;
    const assertOpen = (): void => {
      if (open) return;
      throw Object.assign(new Error("Database is not open"), { code: "LEVEL_DATABASE_NOT_OPEN" });
    };
    return {
      async getMany(keys) {
        await faulty.gate;
        assertOpen();
        return memory.getMany(keys);
      },
      async page(range) {
        await faulty.gate;
        assertOpen();
        return memory.page(range);
      },
      async write(operations) {
        assertOpen();
        const how = faulty.writes.shift();
        if (how === "fails, there") durable.push(operations);
        if (how !== undefined && how !== "works") {
          poisoned = true;
          throw new Error("IO error: write failed");
        }
        // LevelDB acknowledges what is behind a failed write, and loses it (F2).
        if (!poisoned) durable.push(operations);
        await memory.write(operations);
      },
      flush: () => memory.flush(),
      compact: (first, last) => memory.compact(first, last),
      async close() {
        open = false;
      },
    };
  }
  return faulty;
}

async function replayed(writes: readonly (readonly Operation[])[]): Promise<Kv> {
  const memory = openMemoryKv();
  for (const operations of writes) await memory.write(operations);
  return memory;
}
