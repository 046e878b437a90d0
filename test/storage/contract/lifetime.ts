// Closing waits for what runs and refuses what comes; reopening finds everything, byte for byte.
import { expect } from "vitest";
import { selects, type Selection } from "../../../src/domain/query.ts";
import type { CommitEvent } from "../../../src/domain/event.ts";
import type { Batch, Storage } from "../../../src/storage/storage.ts";
import {
  commitEvents,
  composeCommit,
  nastyNames,
  newEvent,
  newEvents,
  readRequest,
} from "../../support/events.ts";
import {
  expectBytes,
  expectRead,
  contractTest,
  readBytes,
  selectQuery,
  selectStream,
  type OpenEngine,
} from "./checks.ts";
import { change, commitSideValues, sideValuesIn } from "./side-values.ts";

export function lifetimeContract(open: OpenEngine): void {
  contractTest(open, "after closing, every call fails", async (storage) => {
    await commitEvents(
      storage,
      newEvents(3, () => ({ stream: "a" })),
    );
    const commit = await composeCommit(storage, [newEvent({ stream: "a" })]);
    const page = { prefix: "", after: "", limit: 10 };
    const request = readRequest(storage);
    await storage.close();
    const calls = [
      () => storage.facts({ streams: ["a"], ids: [], conditions: [] }),
      () => storage.commit(commit),
      () => readBytes(storage, request),
      () => readBytes(storage, { ...request, selection: selectStream("a") }),
      () => storage.positionAt(1),
      () => storage.stream("a"),
      () => storage.listStreams(page),
      () => storage.listEventTypes(page),
      () => storage.sideValues.get("group", ["a"]),
      () => storage.sideValues.list({ space: "group", prefix: "", after: "", limit: 1 }),
    ];
    for (const call of calls) {
      await expect(call(), call.toString()).rejects.toThrow(Error);
    }
  });

  contractTest(open, "closing waits for the commit in flight", async (storage, engine) => {
    const before = await commitEvents(
      storage,
      newEvents(3, () => ({ stream: "a" })),
    );
    const commit = await composeCommit(
      storage,
      newEvents(500, () => ({ stream: "a" })),
    );
    let outcome = "waiting";
    const running = storage.commit(commit).then((result) => (outcome = result));
    await storage.close();
    expect(outcome).toBe("committed");
    await running;
    if (engine.reopen === undefined) return;
    const reopened = await engine.reopen();
    await expectRead(reopened, {}, [...before.commit.events, ...commit.events]);
  });

  contractTest(
    open,
    "closing does not wait for readers, and cuts none off silently",
    async (storage) => {
      const sketch = () => ({ stream: "a", data: "x".repeat(2_000) });
      const { commit } = await commitEvents(storage, newEvents(400, sketch));
      const selections = [
        { kind: "all" },
        selectStream("a"),
        selectQuery({ streams: ["a"] }),
      ] as const;
      const reads = selections.map((selection) =>
        storage.read(readRequest(storage, { selection, batchEvents: 10 }))[Symbol.asyncIterator](),
      );
      const begun: number[] = [];
      for (const read of reads) {
        const first = await read.next();
        begun.push(first.done === true ? expect.unreachable() : first.value.count);
      }
      await storage.close();
      for (const [i, read] of reads.entries()) {
        const rest: Batch[] = [];
        const finished = await drain(read, rest);
        const count = rest.reduce((sum, batch) => sum + batch.count, 0);
        if (finished) expect(count).toBe(commit.events.length - (begun[i] ?? 0));
      }
    },
  );

  contractTest(
    open,
    "what was stored is there after reopening, byte for byte",
    async (storage, engine) => {
      const { reopen } = engine;
      if (reopen === undefined) return;
      const { identity } = storage;
      const events: CommitEvent[] = [];
      let now = storage;
      for (let round = 1; round <= 4; round++) {
        events.push(...(await addRound(now, round)));
        const head = now.head();
        const streams = await now.listStreams({ prefix: "", after: "", limit: 1_000 });
        const types = await now.listEventTypes({ prefix: "", after: "", limit: 1_000 });
        const time = await now.positionAt(head.recordedAt);
        now = await reopen();
        expect(now.identity).toEqual(identity);
        expect(now.head()).toEqual(head);
        expect(now.writeState()).toBe("accepting");
        expect(await now.listStreams({ prefix: "", after: "", limit: 1_000 })).toEqual(streams);
        expect(await now.listEventTypes({ prefix: "", after: "", limit: 1_000 })).toEqual(types);
        expect(await now.positionAt(head.recordedAt)).toBe(time);
        await expectEverything(now, events);
        const kept = Array.from({ length: round }, (_, i) => [`a/${i + 1}`, `${i + 1}`]);
        expect(await sideValuesIn(now, "snapshot")).toEqual(kept);
        expect(await sideValuesIn(now, "group")).toEqual([["a", `${round}`]]);
      }
    },
  );

  contractTest(
    open,
    "a store reopened without a change stays as it was",
    async (storage, engine) => {
      const { reopen } = engine;
      if (reopen === undefined) return;
      let now = await reopen();
      expect(now.identity).toEqual(storage.identity);
      expect(now.head()).toEqual({ position: 0, recordedAt: 0 });
      const events = await addRound(now, 1);
      for (let round = 0; round < 3; round++) now = await reopen();
      await expectEverything(now, events);
    },
  );
}

/** Some of everything: events small and large, of every name, side values new and replaced. */
async function addRound(storage: Storage, round: number): Promise<CommitEvent[]> {
  const names = ["", "$sys", ...nastyNames];
  const sizes = [1, 40, 300, 3];
  const events: CommitEvent[] = [];
  for (const [i, size] of sizes.entries()) {
    const sketch = (n: number) => ({
      stream: names[(n + i) % names.length] ?? "",
      type: `T${n % 5}`,
      tags: [`round:${round}`, `n:${n % 10}`],
      data: "x".repeat(i === 3 ? 100_000 : n),
      idFromClient: n % 2 === 0,
    });
    const { commit } = await commitEvents(storage, newEvents(size, sketch));
    events.push(...commit.events);
  }
  await commitSideValues(storage, [change("snapshot", `a/${round}`, "replaced below")]);
  await commitSideValues(storage, [
    change("snapshot", `a/${round}`, `${round}`),
    change("group", "a", `${round}`),
  ]);
  return events;
}

async function expectEverything(storage: Storage, events: readonly CommitEvent[]): Promise<void> {
  const selections: Selection[] = [
    { kind: "all" },
    ...["a", "a-1", "😀", "$sys"].map(selectStream),
    selectQuery({ tags: ["round:1", "n:3"] }),
    selectQuery({ types: ["T3"], streamPrefixes: ["a-"] }),
  ];
  for (const selection of selections) {
    await expectRead(
      storage,
      { selection },
      events.filter((event) => selects(selection, event)),
    );
  }
  const own = events.filter((event) => event.idFromClient);
  const streams = new Set(events.map(({ stream }) => stream).filter((stream) => stream !== ""));
  const ids = own.map(({ id }) => id);
  const facts = await storage.facts({ streams, ids, conditions: [] });
  for (const { id, frame } of own) {
    const record = facts.events.get(id)?.record ?? new Uint8Array();
    expectBytes(record, frame.subarray(frame.length - record.length), id);
    expect(record.length).toBeGreaterThan(0);
  }
  for (const [stream, version] of facts.versions) {
    expect(version).toBe(events.filter((event) => event.stream === stream).length);
  }
}

/** Whether the read came to its end; false where it failed. */
async function drain(read: AsyncIterator<Batch>, into: Batch[]): Promise<boolean> {
  try {
    while (true) {
      const { done, value } = await read.next();
      if (done === true) return true;
      into.push(value);
    }
  } catch {
    return false;
  }
}
