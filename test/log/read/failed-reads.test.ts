// A read or a load that fails at a batch closes the read of storage that it came from.
import { expect, test } from "vitest";
import type { Batch, Storage } from "../../../src/storage/storage.ts";
import { appendAll, openLog } from "../harness.ts";

const cutOff = Buffer.from([0x55, 3, 1, 2, 3]);

/** Two events of a stream and a snapshot; then `damage` lets each batch be cut off. */
async function openDamaged() {
  const open = new Set<object>();
  let isDamaged = false;
  let count = 0;
  async function* damaged(): AsyncGenerator<Batch> {
    const read = {};
    open.add(read);
    count++;
    try {
      await Promise.resolve();
      yield { count: 1, bytes: cutOff.length, through: 1, frames: [cutOff] };
      yield { count: 1, bytes: cutOff.length, through: 2, frames: [cutOff] };
    } finally {
      open.delete(read);
    }
  }
  const wrap = (storage: Storage): Storage => ({
    ...storage,
    read: (request) => (isDamaged ? damaged() : storage.read(request)),
  });
  const { log } = openLog({ wrap });
  await appendAll(log, { stream: "a" }, { stream: "a" }, { stream: "a" });
  const data = Uint8Array.of(7);
  const snapshot = { stream: "a", kind: "", version: 1, contentType: "", data, metadata: {} };
  await log.saveSnapshot(snapshot);
  isDamaged = true;
  return { log, left: () => ({ open: open.size, wereRead: count > 0 }) };
}

async function taken(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const message of messages) expect(message).toBeDefined();
}

test("a read", async () => {
  const { log, left } = await openDamaged();
  const read = log.read({ selection: { kind: "all" }, direction: "forwards" });
  await expect(taken(read)).rejects.toThrow("record: not a frame");
  expect(left()).toEqual({ open: 0, wereRead: true });
});

test("a load that proves its snapshot", async () => {
  const { log, left } = await openDamaged();
  const load = log.load({ stream: "a", snapshotKind: "", withoutSnapshot: false });
  await expect(taken(load)).rejects.toThrow("record: not a frame");
  expect(left()).toEqual({ open: 0, wereRead: true });
});
