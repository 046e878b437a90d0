// A process of its own that serves a store whose table is damaged while it is open: LevelDB may end
// it. Prints one line of JSON with what it answered.
import { randomBytes } from "node:crypto";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { openLevelStore } from "../../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";

const [, , folder = "", scrubbed = "", from = "0", bytes = "0"] = process.argv;
const count = 400;

async function main(): Promise<void> {
  let store = await openLevelStore({ folder, reserveBytes: 0 });
  for (let i = 0; i < count; i += 20) {
    const data = randomBytes(300);
    await commitEvents(
      store.storage,
      newEvents(20, (n) => ({ stream: `s-${n % 4}`, data })),
    );
  }
  await store.storage.close();
  let finding = (_: string): void => {};
  const found = new Promise<string>((resolve) => (finding = resolve));
  const fast = { delayMs: 500, bytesPerSecond: 1e9, isBusy: () => false, found: finding };
  const scrub = scrubbed === "scrubbed" ? fast : undefined;
  store = await openLevelStore({ folder, reserveBytes: 0, scrub });
  await zero();
  if (scrub) await found;
  const { storage } = store;
  let [read, refused] = [0, 0];
  for (let position = 1; position <= count; position++) {
    const range = { first: position, last: position };
    const isRead = await recordsOf(storage, { positions: range }).then(
      (records) => records.length === 1,
      (error: { failure?: { reason?: string } }) => isCorruption(error),
    );
    if (isRead) read++;
    else refused++;
  }
  const all = await recordsOf(storage).then(
    (records) => records.length,
    (error: { failure?: { reason?: string } }) => (isCorruption(error), "CORRUPTION"),
  );
  const append = await reasonOf(storage);
  await storage.close();
  console.log(JSON.stringify({ read, refused, all, append, finding: scrub && (await found) }));
}

function isCorruption(error: { failure?: { reason?: string } }): false {
  if (error.failure?.reason !== "CORRUPTION") throw new Error("another failure", { cause: error });
  return false;
}

function reasonOf(storage: Storage): Promise<unknown> {
  return commitEvents(
    storage,
    newEvents(1, () => ({})),
  ).then(
    () => "stored",
    (error: { failure?: { reason?: string } }) => error.failure?.reason,
  );
}

async function zero(): Promise<void> {
  const names = await readdir(join(folder, "log"));
  const name = names.find((each) => each.endsWith(".ldb")) ?? "no table";
  const file = await open(join(folder, "log", name), "r+");
  await file.write(Buffer.alloc(Number(bytes)), 0, Number(bytes), Number(from));
  await file.close();
}

// The store's timers keep no process alive.
const alive = setInterval(() => {}, 1_000);
await main();
clearInterval(alive);
