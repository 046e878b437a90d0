// The reclaimer itself: when it gives space back, at which rate, and what it leaves alone.
import { describe, expect, test } from "vitest";
import { chunkKey } from "../../../../src/storage/leveldb/format/keys.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { selectStream } from "../../contract/checks.ts";
import { commitEvents, newEvent, newEvents, recordsOf } from "../../../support/events.ts";
import { handTimers } from "../../../support/hand-timers.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll } from "../../../support/reclaiming.ts";
import { fill, open, put, secret } from "./reclaim-store.ts";

describe("what slides", () => {
  test("gives up whole parts of the log, and a last part once it stands still", async () => {
    const { storage, reclaimer } = await open(async () => openMemoryKv());
    const append = (count: number) =>
      commitEvents(
        storage,
        newEvents(count, (i) => ({ stream: "s", data: `${secret} ${i}` })),
      );
    await append(4);
    await append(4);
    await setPolicy(storage, "s", { maxCount: 5 });
    const events = async (): Promise<number> => {
      await reclaimer.round();
      return reclaimer.status().events;
    };
    // Three are gone: a part of the first chunk, seen for the first time.
    expect(await events()).toBe(0);
    await append(2);
    // Five are gone now: three were at the look before, and more are to follow.
    expect(await events()).toBe(0);
    await append(1);
    // Six are gone; of the five before, the first four are a whole chunk.
    expect(await events()).toBe(4);
    expect(await events()).toBe(6);
    expect(await events()).toBe(6);
  });

  test("is judged by a time that never turns back behind what was given up", async () => {
    const hands = { now: 0 };
    const kv = openMemoryKv();
    const clock = () => hands.now;
    let { storage, reclaimer } = await open(async () => kv, { clock });
    await setPolicy(storage, "s", { maxAge: 50 });
    await commitEvents(storage, [newEvent({ stream: "s" })], 10);
    await commitEvents(storage, [newEvent({ stream: "s" })], 40);
    hands.now = 70;
    await reclaimAll(reclaimer);
    hands.now = 20;
    for (let restart = 0; restart < 2; restart++) {
      expect(await storage.stream("s")).toMatchObject({ eventCount: 1, firstVersion: 2 });
      expect(await recordsOf(storage, { selection: selectStream("s") })).toHaveLength(1);
      await storage.close();
      ({ storage, reclaimer } = await open(async () => kv, { clock }));
    }
    expect(storage.head()).toEqual({ position: 4, recordedAt: 70 });
  });
});

describe("the reclaimer", () => {
  test("tells how many removed events still have their space, from the second look on", async () => {
    const { storage, reclaimer } = await open(async () => openMemoryKv());
    await fill(storage, 10);
    const waiting = async (): Promise<number> => {
      await reclaimer.round();
      return reclaimer.status().waitingEvents;
    };
    await setPolicy(storage, "gone", { truncateBefore: 11 });
    expect(await waiting()).toBe(0);
    await deleteStream(storage, "kept");
    expect(await waiting()).toBe(20);
    expect(await waiting()).toBe(0);
  });

  test("leaves a damaged part of the log alone, says so once, and does the others", async () => {
    const kv = openMemoryKv();
    const { storage, reclaimer, warnings } = await open(async () => kv);
    await fill(storage, 10);
    await setPolicy(storage, "gone", { truncateBefore: 21 });
    const key = chunkKey(8);
    const [value = Buffer.alloc(0)] = await kv.getMany([key]);
    const corrupted = Buffer.from(value);
    corrupted[90] = (corrupted[90] as number) ^ 1;
    await put(kv, key, corrupted);
    await reclaimAll(reclaimer);
    expect(reclaimer.status().events).toBe(18);
    await reclaimer.round();
    expect(warnings).toEqual([
      "the space up to position 8 cannot be reclaimed: the chunk that ends at position 8 fails its CRC",
    ]);
    expect((await kv.getMany([key]))[0]).toEqual(corrupted);
  });

  test("never fills the disk that appends need", async () => {
    const spare = { bytes: Number.MAX_SAFE_INTEGER };
    const { storage, reclaimer } = await open(async () => openMemoryKv(), {
      spareBytes: () => spare.bytes,
    });
    await fill(storage, 4);
    await deleteStream(storage, "gone");
    await reclaimer.round();
    spare.bytes = 1024 * 1024;
    await expect(reclaimer.round()).rejects.toThrow("the disk is nearly full");
    expect(storage.writeState()).toBe("accepting");
    spare.bytes = Number.MAX_SAFE_INTEGER;
    await reclaimer.round();
    expect(reclaimer.status().events).toBe(8);
  });

  test("goes round by itself, keeps to its rate, and stops wherever it is", async () => {
    const timers = handTimers();
    const finished: number[] = [];
    const { storage, reclaimer } = await open(async () => openMemoryKv(), {
      delay: timers.delay,
      reclaim: {
        bytesPerSecond: 100_000,
        delayMs: 7_000,
        pauseMs: 60_000,
        isBusy: () => false,
        finished: ({ events }) => void finished.push(events),
      },
    });
    await fill(storage, 400);
    await deleteStream(storage, "gone");
    const until = async (isThere: () => boolean): Promise<void> => {
      while (!isThere()) {
        await new Promise((resolve) => setImmediate(resolve));
        if (!isThere()) timers.next();
      }
    };
    expect(timers.waiting()).toEqual([7_000]);
    await until(() => reclaimer.status().rounds === 1);
    const beganMs = timers.nowMs();
    await until(() => finished.length > 0);
    expect(finished).toEqual([800]);
    const { bytesFreed } = reclaimer.status();
    expect(timers.nowMs() - beganMs).toBeGreaterThan((bytesFreed / 100_000) * 1_000);
    await reclaimer.stop();
    expect(reclaimer.status().phase).toBe("stopped");
    expect(timers.waiting()).toEqual([]);
    await storage.close();
  });
});
