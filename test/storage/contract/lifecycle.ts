// Lifecycles: what a stream's lifecycle has removed is in no answer, at once, in every way of
// asking; its versions, positions and ids stay taken.
import { expect } from "vitest";
import type { CommitEvent } from "../../../src/domain/event.ts";
import { noPolicy } from "../../../src/domain/lifecycle/lifecycle.ts";
import { lifecycleStream } from "../../../src/domain/lifecycle/lifecycle-event.ts";
import { recordsIn, scanPlacement } from "../../../src/domain/record.ts";
import type { Storage, StorageRead } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent, newEvents, readRequest } from "../../support/events.ts";
import { deleteStream, setPolicy } from "../../support/lifecycles.ts";
import {
  expectRead,
  contractTest,
  selectQuery,
  selectStream,
  type ContractEngine,
  type OpenContract,
} from "./checks.ts";
import { expectLeft, fill, isInA } from "./lifecycle-checks.ts";

/** A clock whose hands the test turns, in microseconds. */
interface Hands {
  now: number;
}

export function lifecycleContract(open: OpenContract): void {
  contractTest(
    open,
    "a deleted stream has no events, and its versions go on",
    async (fresh, engine) => {
      const before = await fill(fresh, 10);
      await deleteStream(fresh, "a");
      let storage = await engine.settle();
      const onlyB = before.filter(({ stream }) => stream === "b");
      await expectLeft(storage, before, onlyB);
      const { commit } = await commitEvents(storage, [
        newEvent({ stream: "a", type: "Late", tags: ["again"] }),
      ]);
      expect(commit.events[0]?.version).toBe(11);
      storage = await engine.settle();
      await expectLeft(storage, [...before, ...commit.events], [...onlyB, ...commit.events]);
    },
  );

  contractTest(open, "only the newest so many events are left", async (fresh, engine) => {
    const all = await fill(fresh, 8);
    await setPolicy(fresh, "a", { maxCount: 3 });
    const inB = (event: CommitEvent) => event.stream === "b";
    for (let round = 0; round < 3; round++) {
      const storage = await engine.settle();
      const inA = all.filter(({ stream }) => stream === "a").slice(-3);
      await expectLeft(
        storage,
        all,
        all.filter((event) => inB(event) || inA.includes(event)),
      );
      const { commit } = await commitEvents(
        storage,
        newEvents(2, (i) => ({ stream: "a", type: "Early", tags: [`more:${round}:${i}`] })),
      );
      all.push(...commit.events);
    }
  });

  contractTest(
    open,
    "events before a version are gone, also the last one",
    async (fresh, engine) => {
      const all = await fill(fresh, 6, 1);
      for (const truncateBefore of [1, 4, 7]) {
        const storage = await engine.settle();
        await setPolicy(storage, "a", { truncateBefore });
        await expectLeft(
          await engine.settle(),
          all,
          all.filter(({ stream, version }) => stream === "b" || version >= truncateBefore),
        );
      }
    },
  );

  contractTest(open, "what another policy removed does not come back", async (fresh, engine) => {
    const all = await fill(fresh, 6);
    await setPolicy(fresh, "a", { maxCount: 2 });
    await setPolicy(fresh, "a", {});
    const left = all.filter(({ stream, version }) => stream === "b" || version > 4);
    await expectLeft(await engine.settle(), all, left);
  });

  contractTest(
    async () => timed(open),
    "events are gone when they are old enough, by the clock",
    async (fresh, engine) => {
      const { hands } = engine;
      const all: CommitEvent[] = [];
      for (let time = 10; time <= 60; time += 10) {
        const { commit } = await commitEvents(
          fresh,
          newEvents(2, (i) => ({
            stream: i === 0 ? "a" : "b",
            type: "Late",
            tags: [`${time}:${i}`],
          })),
          time,
        );
        all.push(...commit.events);
      }
      hands.now = 60;
      await setPolicy(fresh, "a", { maxAge: 25 });
      const timeOf = (event: CommitEvent) => Math.ceil(event.position / 2) * 10;
      let time = 0;
      for (const now of [60, 64, 65, 75, 74, 60, 84, 85, 1_000, 60]) {
        hands.now = now;
        const storage = await engine.settle();
        // Whatever becomes of the clock, the store's time never goes back.
        time = Math.max(time, now, storage.head().recordedAt);
        expect(storage.now()).toBe(time);
        await expectLeft(
          storage,
          all,
          all.filter((event) => event.stream === "b" || timeOf(event) > time - 25),
        );
      }
    },
  );

  contractTest(
    async () => timed(open),
    "events that their age removed stay removed where the clock is set back",
    async (fresh, engine) => {
      const { hands } = engine;
      const sketch = (n: number) => {
        return { stream: n === 0 ? "b" : "a", type: "Early", tags: [`${n}:0`] };
      };
      const { commit } = await commitEvents(fresh, newEvents(4, sketch), 10);
      const all = [...commit.events];
      const left = all.slice(0, 1);
      hands.now = 20;
      await setPolicy(fresh, "a", { maxAge: 25 });
      await expectLeft(fresh, all, all);
      hands.now = 100;
      await expectLeft(fresh, all, left);
      hands.now = 20;
      // Nothing was written meanwhile.
      await expectLeft(fresh, all, left);
      let storage = await engine.settle();
      await expectLeft(storage, all, left);
      // What is appended now is as young as it is, and what was removed outlives the policy.
      const late = await commitEvents(storage, [newEvent(sketch(9))], storage.now());
      all.push(...late.commit.events);
      left.push(...late.commit.events);
      await expectLeft(storage, all, left);
      await setPolicy(storage, "a", {}, storage.now());
      storage = await engine.settle();
      await expectLeft(storage, all, left);
    },
  );

  for (const direction of ["forwards", "backwards"] as const) {
    contractTest(
      open,
      `a read ${direction} as of a head stays what it began as`,
      async (fresh, engine) => {
        const all = await fill(fresh, 10, 2);
        await setPolicy(fresh, "a", { maxCount: 6 });
        const storage = await engine.settle();
        const left = all.filter((event) => !isInA(event) || event.version > 4);
        const asOf = storage.head().position;
        const reads = selections.map((selection) => ({
          selection,
          direction,
          asOf,
          batchEvents: 1,
        }));
        const begun = await Promise.all(reads.map((read) => beginRead(storage, read)));
        await removeMore(storage);
        // Some begin later, and still as of that head.
        const late = reads.map((read) => ({ ...read, positions: { first: 1, last: asOf } }));
        begun.push(...(await Promise.all(late.map((read) => beginRead(storage, read)))));
        for (const [i, finish] of begun.entries()) {
          const own = i % selections.length === 0 ? left.filter(isInA) : left;
          const positions = own.map(({ position }) => position);
          expect(await finish()).toEqual(
            direction === "forwards" ? positions : positions.toReversed(),
          );
        }
      },
    );

    contractTest(
      open,
      `a read ${direction} that follows no head sees a removal at once`,
      async (fresh, engine) => {
        const all = await fill(fresh, 10, 2);
        const storage = await engine.settle();
        const reads = selections.map((selection) => ({ selection, direction, batchEvents: 1 }));
        const begun = await Promise.all(reads.map((read) => beginRead(storage, read)));
        await removeMore(storage);
        for (const [i, finish] of begun.entries()) {
          // The first one was delivered before; of the others only the last one of b is left.
          const last = i > 0 && direction === "forwards" ? [all.length] : [];
          expect((await finish()).slice(1)).toEqual(last);
        }
      },
    );
  }

  contractTest(
    open,
    "a lifecycle is read by naming it, and by nothing else",
    async (fresh, engine) => {
      const all = await fill(fresh, 2);
      const set = await setPolicy(fresh, "a", { maxCount: 9, labels: { owner: "ann" } });
      const storage = await engine.settle();
      await expectRead(storage, {}, all);
      await expectRead(storage, { selection: selectStream(lifecycleStream("a")) }, [set]);
      await expectRead(storage, { selection: selectQuery({ types: ["$StreamUpdated"] }) }, [set]);
      await expectRead(storage, { selection: selectStream("a") }, all.slice(0, 4).filter(isInA));
      const { lifecycles } = await storage.facts({
        streams: ["a", "b", "nobody"],
        ids: [],
        conditions: [],
      });
      expect([...lifecycles.keys()]).toEqual(["a"]);
      expect(lifecycles.get("a")?.policy).toEqual({
        ...noPolicy,
        maxCount: 9,
        labels: { owner: "ann" },
      });
      expect((await storage.stream("a"))?.lifecycle).toEqual(lifecycles.get("a"));
    },
  );

  contractTest(
    open,
    "a stream that only has a lifecycle is told, not listed",
    async (fresh, engine) => {
      await setPolicy(fresh, "later", { maxCount: 1 });
      const storage = await engine.settle();
      expect(await storage.stream("later")).toMatchObject({
        version: 0,
        eventCount: 0,
        lifecycle: { policy: { maxCount: 1 } },
      });
      expect(await storage.listStreams({ prefix: "", after: "", limit: 9 })).toEqual([]);
      const { commit } = await commitEvents(
        storage,
        newEvents(2, () => ({ stream: "later" })),
      );
      await expectRead(await engine.settle(), {}, commit.events.slice(1));
    },
  );
}

const selections = [
  selectStream("a"),
  { kind: "all" } as const,
  selectQuery({ types: ["Early", "Late"] }),
];

/** Removes all of `a`, and of `b` all but the last event. */
async function removeMore(storage: Storage): Promise<void> {
  await commitEvents(
    storage,
    newEvents(2, () => ({ stream: "a", type: "$later" })),
  );
  await deleteStream(storage, "a");
  await setPolicy(storage, "b", { maxCount: 1 });
}

/** Takes the first batch. Returns a function that finishes the read and returns all its positions. */
async function beginRead(
  storage: Storage,
  parts: Partial<StorageRead>,
): Promise<() => Promise<number[]>> {
  const batches = storage.read(readRequest(storage, parts))[Symbol.asyncIterator]();
  const positions: number[] = [];
  const take = async (): Promise<boolean> => {
    const next = await batches.next();
    if (next.done === true) return false;
    for (const frames of next.value.frames) {
      for (const record of recordsIn(frames)) positions.push(scanPlacement(record).position);
    }
    return true;
  };
  await take();
  return async () => {
    while (await take());
    return positions;
  };
}

async function timed(open: OpenContract): Promise<ContractEngine & { hands: Hands }> {
  const hands: Hands = { now: 0 };
  return Object.assign(await open(() => hands.now), { hands });
}
