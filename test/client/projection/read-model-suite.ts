// The contract of read models: what the runner needs from every adapter. Run on memory, SQLite and
// PostgreSQL.
import { describe, expect, test } from "vitest";
import type {
  ParkedEvent,
  ProjectionCheckpoint,
  ReadModel,
} from "../../../src/client/projection/read-model.ts";

/** A read model with one table of numbers by name, as its handlers and its readers see it. */
export interface ModelUnderTest<Tx> {
  readonly model: ReadModel<Tx>;
  readonly setup: (tx: Tx) => void | Promise<void>;
  readonly add: (tx: Tx, name: string, by: number) => void | Promise<void>;
  /** Outside of any transaction. */
  readonly rows: () => Promise<Record<string, number>>;
  /** A second one on the same data, as another process would have it; none in memory. */
  readonly again?: () => Promise<ReadModel<Tx>>;
  readonly close: () => Promise<void>;
}

const storeId = "5ca1ab1e-0000-4000-8000-000000000001";
export const checkpointAt = (position: number, version = 1): ProjectionCheckpoint => ({
  position,
  storeId,
  version,
});

export function readModelSuite<Tx>(name: string, open: () => Promise<ModelUnderTest<Tx>>): void {
  const using = (work: (under: ModelUnderTest<Tx>) => Promise<void>) => async () => {
    const under = await open();
    try {
      await under.model.commit("begin", {
        expected: undefined,
        next: checkpointAt(0),
        apply: under.setup,
      });
      await work(under);
    } finally {
      await under.close();
    }
  };

  const parkedAt = new Date(1_700_000_000_000);
  const parked = (position: number, outcome: ParkedEvent["outcome"] = "parked"): ParkedEvent => ({
    position,
    id: `0190a1a2-0000-7000-8000-00000000000${position}`,
    stream: "s-1 ü",
    type: "T",
    outcome,
    attempts: 3,
    error: "TypeError: it's broken\n  at somewhere",
    parkedAt,
  });

  describe(`the read model ${name}`, () => {
    test(
      "commits an effect and its checkpoint together",
      using(async ({ model, add, rows }) => {
        expect(await model.checkpoint("p")).toBeUndefined();
        const first = { expected: undefined, next: checkpointAt(3) };
        expect(await model.commit("p", { ...first, apply: (tx) => add(tx, "a", 1) })).toBe(true);
        expect(await rows()).toEqual({ a: 1 });
        expect(await model.checkpoint("p")).toEqual(checkpointAt(3));
        const far = { expected: checkpointAt(3), next: checkpointAt(Number.MAX_SAFE_INTEGER, 2) };
        expect(await model.commit("p", { ...far, apply: () => {} })).toBe(true);
        expect(await model.checkpoint("p")).toEqual(far.next);
      }),
    );

    test(
      "commits nothing where the checkpoint is not the expected one",
      using(async ({ model, add, rows }) => {
        const apply = (tx: Tx) => add(tx, "a", 1);
        await model.commit("p", { expected: undefined, next: checkpointAt(3), apply });
        const others = [
          undefined,
          checkpointAt(2),
          checkpointAt(4),
          checkpointAt(3, 2),
          { ...checkpointAt(3), storeId: "another" },
        ];
        for (const expected of others) {
          const step = { expected, next: checkpointAt(9), apply, park: parked(9) };
          expect(await model.commit("p", step)).toBe(false);
        }
        expect(await rows()).toEqual({ a: 1 });
        expect(await model.checkpoint("p")).toEqual(checkpointAt(3));
        expect(await model.parked("p")).toEqual([]);
      }),
    );

    test(
      "keeps no trace of a transaction whose handler fails, and takes the next",
      using(async ({ model, add, rows }) => {
        const keep = (tx: Tx) => add(tx, "a", 1);
        await model.commit("p", { expected: undefined, next: checkpointAt(1), apply: keep });
        const failing = async (fail: (tx: Tx) => void | Promise<void>) =>
          model.commit("p", {
            expected: checkpointAt(1),
            next: checkpointAt(2),
            park: parked(2),
            unparkAll: true,
            apply: fail,
          });
        const failure = new Error("the handler");
        const sync = (tx: Tx): void | Promise<void> => {
          const added = add(tx, "a", 5);
          if (added === undefined) throw failure;
          return added.then(() => Promise.reject(failure));
        };
        await expect(failing(sync)).rejects.toBe(failure);
        expect(await rows()).toEqual({ a: 1 });
        expect(await model.checkpoint("p")).toEqual(checkpointAt(1));
        expect(await model.parked("p")).toEqual([]);
        const next = { expected: checkpointAt(1), next: checkpointAt(2) };
        expect(await model.commit("p", { ...next, apply: keep })).toBe(true);
        expect(await rows()).toEqual({ a: 2 });
      }),
    );

    test(
      "keeps projections apart",
      using(async ({ model }) => {
        const apply = () => {};
        const step = { expected: undefined, apply, next: checkpointAt(5), park: parked(5) };
        await model.commit("p", step);
        await model.commit("p'; --", { ...step, next: checkpointAt(6), park: parked(6) });
        expect(await model.checkpoint("p")).toEqual(checkpointAt(5));
        expect(await model.checkpoint("p'; --")).toEqual(checkpointAt(6));
        expect(await model.parked("p")).toEqual([parked(5)]);
        expect(await model.parked("q")).toEqual([]);
      }),
    );

    test(
      "lists what is parked, until it is taken off or all is forgotten",
      using(async ({ model }) => {
        const apply = () => {};
        let expected: ProjectionCheckpoint | undefined;
        for (const position of [1, 2, 3]) {
          const next = checkpointAt(position);
          const park = parked(position, position === 2 ? "skipped" : "parked");
          await model.commit("p", { expected, next, apply, park });
          expected = next;
        }
        expect(await model.parked("p")).toEqual([parked(1), parked(2, "skipped"), parked(3)]);
        const still = { expected: checkpointAt(3), next: checkpointAt(3), apply };
        await model.commit("p", { ...still, unpark: 2 });
        expect(await model.parked("p")).toEqual([parked(1), parked(3)]);
        await model.commit("p", { ...still, unparkAll: true });
        expect(await model.parked("p")).toEqual([]);
      }),
    );

    test(
      "of several who commit from the same checkpoint lets one through",
      using(async ({ model, add, rows, again }) => {
        const models = [model];
        if (again !== undefined) models.push(await again(), await again());
        for (let position = 0; position < 10; position += 1) {
          const expected = position === 0 ? undefined : checkpointAt(position);
          const outcomes = await Promise.all(
            models.map(async (one) => {
              const apply = (tx: Tx) => add(tx, "a", 1);
              const step = { expected, next: checkpointAt(position + 1), apply };
              for (;;) {
                try {
                  return await one.commit("p", step);
                } catch (error) {
                  if (!one.isTransient(error)) throw error;
                }
              }
            }),
          );
          expect(outcomes.filter(Boolean)).toHaveLength(1);
          expect(await rows()).toEqual({ a: position + 1 });
        }
      }),
    );

    test(
      "tells what passes from what does not",
      using(async ({ model }) => {
        expect(model.isTransient(new Error("a handler's own"))).toBe(false);
        expect(model.isTransient("no error at all")).toBe(false);
        expect(model.isTransient(Object.assign(new Error("x"), { code: "ERR_X" }))).toBe(false);
      }),
    );
  });
}
