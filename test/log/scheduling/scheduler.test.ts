// The scheduler: what passes in one turn of the event loop, and in what order.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { schedulingPolicy } from "../../../src/log/scheduling/policy.ts";
import { inTurn, Scheduler } from "../../../src/log/scheduling/scheduler.ts";
import { scheduledRead } from "../../../src/log/scheduling/scheduled-read.ts";
import type { Storage, StorageRead } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents } from "../../support/events.ts";
import { appendAll, openLog, readAll, settled } from "../harness.ts";

const { turnBytes, openReadsWaitingMax } = schedulingPolicy;
const everything = { selection: { kind: "all" }, direction: "forwards" } as const;

/** Connections with so many pieces each. Answers whose pieces came in which order. */
async function orderOf(pieces: readonly { readonly of: string; readonly bytes: number }[]) {
  const scheduler = new Scheduler();
  const owners = new Map(pieces.map(({ of }) => [of, {}]));
  const order: string[] = [];
  const done = pieces.map(async ({ of, bytes }) => {
    const gate = scheduler.gateOf(owners.get(of) ?? {});
    await gate.enter(bytes);
    order.push(of);
    gate.leave(bytes, bytes);
  });
  await Promise.all(done);
  return order;
}

const times = (count: number, of: string, bytes: number) =>
  Array.from({ length: count }, () => ({ of, bytes }));

describe("the scheduler is fair by connection", () => {
  test("one piece of a connection waits for a piece of another, not for a thousand", async () => {
    const order = await orderOf([...times(1_000, "many", turnBytes), ...times(1, "one", 1_024)]);
    expect(order.indexOf("one")).toBeLessThanOrEqual(2);
    expect(order).toHaveLength(1_001);
  });

  test("small pieces of one connection and large ones of another get the same bytes", async () => {
    const small = turnBytes / 64;
    const order = await orderOf([
      ...times(50, "large", turnBytes),
      ...times(50 * 64, "small", small),
    ]);
    let lead = 0;
    for (const of of order.slice(0, order.length - 200)) {
      lead += of === "large" ? turnBytes : -small;
      expect(Math.abs(lead)).toBeLessThanOrEqual(3 * turnBytes);
    }
  });

  test("ten connections take turns, however many pieces each of them has", async () => {
    const pieces = Array.from({ length: 10 }, (_, i) => times(20 * (i + 1), `c${i}`, 32 * 1_024));
    const order = await orderOf(pieces.flat());
    const firsts = order.slice(10, 110);
    for (let i = 0; i < 10; i++) {
      const count = firsts.filter((of) => of === `c${i}`).length;
      expect([9, 10, 11]).toContain(count);
    }
  });

  test("what was used while nobody waited is not held against a connection", async () => {
    const scheduler = new Scheduler();
    const [a, b] = [scheduler.gateOf({}), scheduler.gateOf({})];
    for (let i = 0; i < 50; i++) {
      await a.enter(turnBytes);
      a.leave(turnBytes, turnBytes);
    }
    const order: string[] = [];
    const piece = async (gate: typeof a, name: string) => {
      await gate.enter(turnBytes);
      order.push(name);
      gate.leave(turnBytes, turnBytes);
    };
    await Promise.all(Array.from({ length: 10 }, () => [piece(a, "a"), piece(b, "b")]).flat());
    expect(order.slice(0, 10).filter((name) => name === "a").length).toBeGreaterThanOrEqual(4);
  });

  test("pieces that nobody wants any more pass many at a time, and are not charged", async () => {
    const scheduler = new Scheduler();
    const [gone, other] = [scheduler.gateOf({}), scheduler.gateOf({})];
    const abort = new AbortController();
    await gone.enter(turnBytes);
    let dropped = 0;
    const pieces = Array.from({ length: 10_000 }, async () => {
      await gone.enter(turnBytes, abort.signal);
      dropped++;
      gone.leave(turnBytes);
    });
    abort.abort();
    let turns = 0;
    gone.leave(turnBytes, turnBytes);
    const piece = other.enter(turnBytes)?.then(() => other.leave(turnBytes, turnBytes));
    while (scheduler.waitingCount > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      turns++;
    }
    await Promise.all([piece, ...pieces]);
    expect(dropped).toBe(10_000);
    expect(turns).toBeLessThan(200);
  });

  test("generated pieces all pass, each connection's in its order", async () => {
    const piece = fc.record({
      of: fc.constantFrom("a", "b", "c"),
      bytes: fc.oneof(fc.nat(2 * turnBytes), fc.nat(100)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
        const numbered = pieces.map(({ of, bytes }, i) => ({ of: `${of}${i % 2}`, bytes }));
        const order = await orderOf(numbered);
        expect(order.toSorted()).toEqual(numbered.map(({ of }) => of).toSorted());
      }),
      { numRuns: 50 },
    );
  });

  test("a caller that is over is told so, and its work is not done", async () => {
    const gate = new Scheduler().gateOf({});
    await gate.enter(turnBytes);
    const abort = new AbortController();
    const caller = {
      gate,
      get aborted() {
        return abort.signal.aborted;
      },
      reason: new Error("over"),
    };
    let done = 0;
    const work = inTurn(caller, turnBytes, async () => ++done);
    abort.abort();
    gate.leave(turnBytes, turnBytes);
    await expect(work).rejects.toThrow("over");
    expect([done, gate.waitingCount]).toEqual([0, 0]);
    await settled();
    expect(gate.enter(turnBytes)).toBeUndefined();
  });
});

describe("work passes the scheduler", () => {
  test("lets small reads pass at once, up to a full batch's cost in a turn", async () => {
    const gate = new Scheduler().gateOf({});
    const small = turnBytes / 8;
    for (let i = 0; i < 8; i++) expect(gate.enter(small)).toBeUndefined();
    expect(gate.enter(small)).toBeInstanceOf(Promise);
    for (let i = 0; i < 8; i++) gate.leave(small, 400);
    await settled();
    expect(gate.waitingCount).toBe(0);
  });

  test("lets one full batch in at a time, and the next one in a later turn", async () => {
    const gate = new Scheduler().gateOf({});
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
    const gate = new Scheduler().gateOf({});
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
      const source = { storage: counted, gate: new Scheduler().gateOf({}) };
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
    const gate = new Scheduler().gateOf({});
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
