// Reads of queries: whatever an engine narrows by, the answer is what domain/query.ts says.
import fc from "fast-check";
import { expect } from "vitest";
import type { CommitEvent } from "../../../src/domain/event.ts";
import { selects, type QueryItem } from "../../../src/domain/query.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { arbitraryQuery, commitEvents, nastyNames, newEvents } from "../../support/events.ts";
import {
  expectRead,
  contractTest,
  selectQuery,
  type ContractEngine,
  type OpenContract,
} from "./checks.ts";

/** Every stream with every type, tags in all combinations, over commits of growing size. */
async function fill(engine: ContractEngine): Promise<[Storage, CommitEvent[]]> {
  const streams = ["", ...nastyNames, "$sys"];
  const types = ["Opened", "Opened2", "Closed", "a-1", "$sys"];
  const tags = ["k:1", "k:10", "k:2", "k:", "a-1"];
  const events: CommitEvent[] = [];
  const sketch = (i: number) => ({
    stream: streams[i % streams.length] ?? "",
    type: types[i % types.length] ?? "",
    tags: tags.filter((_, bit) => (i >> bit) & 1),
  });
  for (let size = 1; events.length < 300; size += 5) {
    const from = events.length;
    const { commit } = await commitEvents(
      engine.storage,
      newEvents(size, (i) => sketch(from + i)),
    );
    events.push(...commit.events);
  }
  return [await engine.settle(), events];
}

const items: Partial<QueryItem>[][] = [
  [],
  [{}],
  [{ streams: ["a-1"] }],
  [{ streams: ["a-1", "a", "nobody", "a-1"] }],
  [{ streams: ["nobody"] }],
  [{ streamPrefixes: ["a"] }],
  [{ streamPrefixes: ["a-"] }],
  [{ streamPrefixes: ["a-1"] }],
  [{ streamPrefixes: ["a-1", "a-10", "a"] }],
  [{ streamPrefixes: ["é"] }],
  [{ streamPrefixes: ["e"] }],
  [{ streamPrefixes: ["-"] }],
  [{ streamPrefixes: ["😀"] }],
  [{ streamPrefixes: ["😀-", "漢"] }],
  [{ streamPrefixes: ["nobody", "$"] }],
  [{ streams: ["a-1", "b"], streamPrefixes: ["a"] }],
  [{ types: ["Opened"] }],
  [{ types: ["Opened", "Closed", "Open"] }],
  [{ types: ["$sys"] }],
  [{ types: ["$sys", "Opened"], streams: ["a", "a-1", "$sys"] }],
  [{ tags: ["k:1"] }],
  [{ tags: ["k:1", "k:2"] }],
  [{ tags: ["k:1", "k:10", "k:2", "k:", "a-1"] }],
  [{ tags: ["k:3"] }],
  [{ tags: ["a-1"], types: ["a-1"], streams: ["a-1"] }],
  [{ tags: ["k:"], types: ["Closed"], streamPrefixes: ["a-", "😀"] }],
  [{ streams: ["a-1"] }, { streams: ["a-1"] }],
  [{ streams: ["a-1"] }, { types: ["Closed"] }, { tags: ["k:10"] }],
  [{ tags: ["k:1"] }, {}],
  [{ types: ["$sys"] }, { streams: ["$sys"] }, { streamPrefixes: ["漢"] }],
];

export function queryContract(open: OpenContract): void {
  contractTest(open, "every shape of query reads exactly what matches it", async (_, engine) => {
    const [storage, events] = await fill(engine);
    for (const parts of items) {
      const selection = selectQuery(...parts);
      const expected = events.filter((event) => selects(selection, event));
      await expectRead(storage, { selection }, expected);
      const positions = { first: 17, last: 203 };
      const inside = expected.filter(({ position }) => position >= 17 && position <= 203);
      await expectRead(storage, { selection, positions }, inside);
    }
  });

  contractTest(open, "a query finds its few events among very many", async (fresh, engine) => {
    const events: CommitEvent[] = [];
    for (let round = 0; round < 10; round++) {
      const sketch = (i: number) => ({
        stream: `order-${(round * 500 + i) % 333}`,
        type: i === 250 ? "Rare" : "Common",
        tags: [`customer:${i % 50}`, ...(i === 499 ? ["last"] : [])],
      });
      const { commit } = await commitEvents(fresh, newEvents(500, sketch));
      events.push(...commit.events);
    }
    const storage = await engine.settle();
    const shapes: Partial<QueryItem>[][] = [
      [{ types: ["Rare"] }],
      [{ tags: ["last"] }],
      [{ tags: ["customer:49"], types: ["Common"], streamPrefixes: ["order-"] }],
      [{ streams: ["order-7"], tags: ["customer:7"] }],
      [{ tags: ["customer:0", "last"] }],
      [{ streamPrefixes: ["order-33"], types: ["Common"] }],
      [{ types: ["Rare"], tags: ["customer:1"] }],
    ];
    for (const parts of shapes) {
      const selection = selectQuery(...parts);
      await expectRead(
        storage,
        { selection },
        events.filter((event) => selects(selection, event)),
      );
    }
  });

  contractTest(open, "generated queries read exactly what matches them", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const environment = fc.integer({ min: 1, max: events.length });
    const property = fc.asyncProperty(
      arbitraryQuery,
      environment,
      environment,
      async (query, first, last) => {
        const selection = { kind: "query", query } as const;
        const expected = events
          .slice(first - 1, Math.max(first - 1, last))
          .filter((event) => selects(selection, event));
        await expectRead(storage, { selection, positions: { first, last } }, expected);
        const conditions = [{ query, after: first - 1 }];
        const { matches } = await storage.facts({ streams: [], ids: [], conditions });
        const matching = events.slice(first - 1).filter((event) => selects(selection, event));
        const positions = matching.map(({ position }) => position);
        if (positions.length === 0) expect(matches).toEqual([0]);
        else expect(positions).toContain(matches[0]);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
}
