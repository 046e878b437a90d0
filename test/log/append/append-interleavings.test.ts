// Generated interleavings of appends and faults: of concurrent appends with one expectation one
// wins, and an append that is sent again until it is answered is stored once or not at all.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append, Outcome } from "../../../src/domain/append.ts";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { recordsIn, storedEvent } from "../../../src/domain/record.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { idOf, newAppend, newEvent } from "../../support/events.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { openLog } from "../harness.ts";
import { expecting, version } from "./verdicts.ts";

describe("in generated interleavings", () => {
  test("one of the concurrent appends with one expectation wins, and every conflict is true", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 8 }), async (s, racers) => {
        const { log, storage } = openLog({ limits: { commitEventsMax: 6 } });
        storage.control.beforeCommit = () => s.schedule(Promise.resolve(), "commit");
        storage.control.afterCommit = () => s.schedule(Promise.resolve(), "durable");
        const race = async (): Promise<Outcome> => {
          await s.schedule(Promise.resolve(), "arrive");
          return (await log.append(expecting("a", version(0)))).outcome;
        };
        const outcomes = await s.waitFor(Promise.all(Array.from({ length: racers }, race)));
        expect(outcomes.filter(({ kind }) => kind === "appended")).toHaveLength(1);
        for (const outcome of outcomes) {
          if (outcome.kind !== "conflict") continue;
          expect(outcome.streams).toMatchObject([{ actualVersion: 1 }]);
        }
        expect(storage.head().position).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  type Fault = "none" | "there" | "not there" | "stale" | "disk-full";
  const faults = fc.infiniteStream(
    fc.constantFrom<Fault>("none", "none", "none", "there", "not there", "stale", "disk-full"),
  );

  test("events that are sent until they are answered are where the answer says, or nowhere", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), faults, async (s, stream) => {
        const storage = createModelStorage();
        const { log } = openLog({ storage, limits: { commitEventsMax: 5 } });
        storage.control.beforeCommit = async () => {
          await s.schedule(Promise.resolve(), "commit");
          const { value: fault } = stream.next();
          if (fault === "there" || fault === "not there") storage.control.failNextCommit(fault);
          if (fault === "stale") storage.control.staleNextCommit();
          if (fault !== "disk-full") return;
          throw new AnnalsError({ reason: "DISK_FULL", retryAfterMs: 1 }, "full");
        };
        const heard = await s.waitFor(
          Promise.all([1, 2, 3].map((client) => runClient(s, log, client))),
        );
        const ids = storage.data.events.map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
        for (const { append, outcome } of heard.flat()) {
          const places = append.events.map(({ id }) => ids.indexOf(id) + 1);
          const [first, last] =
            outcome.kind === "appended" ? [outcome.firstPosition, outcome.lastPosition] : [0, 0];
          expect(places).toEqual(first === 0 ? [0, 0] : [first, last]);
        }
        expect(versionsAreDense(storage)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  /** Three appends of two events each, two of them to a stream all clients want. */
  async function runClient(
    s: fc.Scheduler,
    log: EventLog,
    client: number,
  ): Promise<{ append: Append; outcome: Outcome }[]> {
    const heard: { append: Append; outcome: Outcome }[] = [];
    for (let i = 0; i < 3; i++) {
      const id = (n: number) => idOf(client * 100 + i * 10 + n);
      const events = [1, 2].map((n) => newEvent({ id: id(n), stream: i === 0 ? "own" : "shared" }));
      const expected = i === 0 ? ({ kind: "exists" } as const) : version(2 * (i - 1));
      const expectations = i === 0 ? [] : [{ stream: "shared", expected }];
      const append = newAppend(events, { expectations });
      for (let outcome: Outcome | undefined; outcome === undefined;) {
        await s.schedule(Promise.resolve(), "send");
        outcome = await log.append(append).then(
          (answer) => answer.outcome,
          () => undefined,
        );
        if (outcome !== undefined) heard.push({ append, outcome });
      }
    }
    return heard;
  }

  function versionsAreDense(storage: ModelStorage): boolean {
    const versions = new Map<string, number>();
    return storage.data.events.every(({ frame }, i) => {
      const [record] = [...recordsIn(frame)].map(storedEvent);
      if (record === undefined || record.position !== i + 1) return false;
      const before = versions.get(record.stream) ?? 0;
      versions.set(record.stream, record.version);
      return record.version === before + 1;
    });
  }
});
