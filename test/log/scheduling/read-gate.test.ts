// The gate that all reads share: what passes in one turn of the event loop, and in what order.
import { describe, expect, test } from "vitest";
import { schedulingPolicy } from "../../../src/log/scheduling/policy.ts";
import { ReadGate } from "../../../src/log/scheduling/read-gate.ts";
import { scheduledRead } from "../../../src/log/scheduling/scheduled-read.ts";
import type { Storage, StorageRead } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents } from "../../support/events.ts";
import { appendAll, openLog, readAll, settled } from "../harness.ts";

const { turnBytes, openReadsWaitingMax } = schedulingPolicy;
const everything = { selection: { kind: "all" }, direction: "forwards" } as const;

describe("the read gate", () => {
  test("lets small reads pass at once, up to a full batch's cost in a turn", async () => {
    const gate = new ReadGate();
    const small = turnBytes / 8;
    for (let i = 0; i < 8; i++) expect(gate.enter(small)).toBeUndefined();
    expect(gate.enter(small)).toBeInstanceOf(Promise);
    for (let i = 0; i < 8; i++) gate.leave(small, 400);
    await settled();
    expect(gate.waitingCount).toBe(0);
  });

  test("lets one full batch in at a time, and the next one in a later turn", async () => {
    const gate = new ReadGate();
    const log: string[] = [];
    const reader = async (name: string) => {
      await gate.enter(turnBytes);
      log.push(name);
      gate.leave(turnBytes, turnBytes);
    };
    const readers = ["a", "b", "c"].map(reader);
    const turns = (async () => {
      for (let i = 1; i <= 3; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`turn ${i}`);
      }
    })();
    await Promise.all([...readers, turns]);
    expect(log).toEqual(["a", "turn 1", "b", "turn 2", "c", "turn 3"]);
  });

  test("a full batch that waits is not overtaken for ever by small reads", async () => {
    const gate = new ReadGate();
    const small = turnBytes / 8;
    let entered = false;
    expect(gate.enter(small)).toBeUndefined();
    const large = gate.enter(turnBytes)?.then(() => (entered = true));
    const after = gate.enter(small);
    gate.leave(small, small);
    await large;
    expect([entered, gate.waitingCount]).toEqual([true, 1]);
    gate.leave(turnBytes, turnBytes);
    await after;
  });

  test.each(["forwards", "backwards"] as const)(
    "a small read %s asks the engine once; four of them pass at a time",
    async (direction) => {
      const { storage } = openLog();
      await commitEvents(
        storage,
        newEvents(3, () => ({ stream: "a" })),
        10,
      );
      let asked = 0;
      const counted: Storage = {
        ...storage,
        read: (read) => {
          const batches = storage.read(read)[Symbol.asyncIterator]();
          const next = () => {
            asked++;
            return batches.next();
          };
          return { [Symbol.asyncIterator]: () => ({ next }) };
        },
      };
      const positions = { first: 1, last: 3 };
      const view: StorageRead = {
        selection: { kind: "stream", stream: "a" },
        direction,
        positions,
        asOf: 3,
        batchBytes: 64 * 1024,
      };
      const source = { storage: counted, gate: new ReadGate() };
      const reads = Array.from({ length: 5 }, () => scheduledRead(source, view));
      const batches = reads.map((read) => read.next());
      expect([asked, source.gate.waitingCount]).toEqual([4, 1]);
      for (const batch of await Promise.all(batches))
        expect(batch.value).toMatchObject({ count: 3 });
      for (const read of reads) expect((await read.next()).done).toBe(true);
      expect(asked).toBe(5);
    },
  );

  test("a read that cannot be closed while many wait fails alone and holds no room", async () => {
    const gate = new ReadGate();
    const { storage } = openLog();
    await commitEvents(
      storage,
      newEvents(2, () => ({})),
      10,
    );
    const failing: Storage = {
      ...storage,
      read: (read) => {
        const batches = storage.read({ ...read, batchEvents: 1 })[Symbol.asyncIterator]();
        const close = () => Promise.reject(new Error("cannot be closed"));
        return { [Symbol.asyncIterator]: () => ({ next: () => batches.next(), return: close }) };
      },
    };
    const positions = { first: 1, last: 2 };
    const live: StorageRead = { ...everything, positions, batchBytes: turnBytes };
    const batches = scheduledRead({ storage: failing, gate }, live);
    expect((await batches.next()).value).toMatchObject({ count: 1 });
    await settled();
    expect(gate.enter(turnBytes)).toBeUndefined();
    const waiting = Array.from({ length: openReadsWaitingMax + 1 }, () => gate.enter(1));
    await expect(batches.next()).rejects.toThrow("cannot be closed");
    gate.leave(turnBytes, turnBytes);
    for (const turn of waiting) await turn?.then(() => gate.leave(1, 1));
    await settled();
    expect(gate.waitingCount).toBe(0);
    expect(gate.enter(turnBytes)).toBeUndefined();
  });

  test("eight readers at full speed let appends through in every turn", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, ...Array.from({ length: 20 }, () => ({})));
    let readCount = 0;
    const controller = new AbortController();
    const readers = Array.from({ length: 8 }, async () => {
      while (!controller.signal.aborted) {
        for await (const message of log.read(everything, controller.signal)) {
          if (message.kind === "batch") readCount++;
        }
      }
    });
    const before = readCount;
    await appendAll(log, {}, {}, {});
    expect(readCount).toBeGreaterThan(before);
    controller.abort();
    await Promise.all(readers);
    expect((await readAll(log.read(everything))).end?.head).toBe(23);
  });
});
