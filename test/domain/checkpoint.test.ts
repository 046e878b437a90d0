// Checkpoints in decisions: each rule by example, then generated commit batches against a plain map.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append } from "../../src/domain/append.ts";
import type { AnyPosition, Checkpoint, CheckpointRequest } from "../../src/domain/checkpoint.ts";
import { decideBatch, factsNeeded, type Proposal } from "../../src/domain/decide/decide.ts";
import type { StoredEvent } from "../../src/domain/event.ts";
import { recordsIn, storedEvent } from "../../src/domain/record.ts";
import { idOf, newAppend, newEvent } from "../support/events.ts";

const save = (consumer: string, position: number, reset = false): CheckpointRequest => {
  return { kind: "save-checkpoint", update: { consumer, position, metadata: {} }, reset };
};
const remove = (consumer: string): CheckpointRequest => ({ kind: "delete-checkpoint", consumer });

/** An append of one event to a stream of its own, with a checkpoint. */
function append(consumer: string, position: number, parts: Partial<Append> = {}): Append {
  return { ...newAppend([newEvent()]), checkpoint: { consumer, position, metadata: {} }, ...parts };
}

/** A log that stores what batches decide. */
class Log {
  readonly events: StoredEvent[] = [];
  readonly checkpoints = new Map<string, Checkpoint>();
  now = 1_000;

  constructor(head: number) {
    this.decide(...Array.from({ length: head }, () => newAppend([newEvent()])));
  }

  decide<P extends Proposal>(...proposals: P[]) {
    const { streams, ids, consumers } = factsNeeded(proposals);
    const checkpoints = [...this.checkpoints].filter(([name]) => consumers.has(name));
    const decision = decideBatch({
      appends: proposals,
      now: this.now++,
      idChance: 0,
      facts: {
        head: { position: this.events.length, recordedAt: this.events.at(-1)?.recordedAt ?? 0 },
        versions: new Map([...streams].map((stream) => [stream, 0])),
        events: new Map(
          this.events.filter((event) => ids.includes(event.id)).map((event) => [event.id, event]),
        ),
        lifecycles: new Map(),
        matches: [],
        checkpoints: new Map(checkpoints),
      },
    });
    for (const { frame } of decision.events) {
      this.events.push(...[...recordsIn(frame)].map(storedEvent));
    }
    for (const [name, checkpoint] of decision.checkpoints) {
      if (checkpoint === undefined) this.checkpoints.delete(name);
      else this.checkpoints.set(name, checkpoint);
    }
    return decision.outcomes;
  }

  positionOf(consumer: string): AnyPosition | undefined {
    return this.checkpoints.get(consumer)?.position;
  }
}

describe("a checkpoint saved by itself", () => {
  test("moves forwards, stays, and goes back only where it is told to begin anew", () => {
    const log = new Log(9);
    const kinds = [save("a", 0), save("a", 5), save("a", 5), save("a", 4), save("a", 2, true)];
    expect(kinds.map((request) => log.decide(request)[0]?.kind)).toEqual([
      "checkpoint-saved",
      "checkpoint-saved",
      "checkpoint-saved",
      "checkpoint-backwards",
      "checkpoint-saved",
    ]);
    expect(log.positionOf("a")).toBe(2);
    expect(log.decide(save("a", 1))).toEqual([
      { kind: "checkpoint-backwards", consumer: "a", asked: 1, saved: 2 },
    ]);
  });

  test("is at most at the head, even where it is told to begin anew", () => {
    const log = new Log(9);
    expect(log.decide(save("a", 9))[0]?.kind).toBe("checkpoint-saved");
    const beyond = { kind: "beyond-head", field: "position", asked: 10, head: 9 };
    expect(log.decide(save("a", 10), save("b", 10, true))).toEqual([beyond, beyond]);
  });

  test("carries the time of its commit and its metadata", () => {
    const log = new Log(3);
    const update = { consumer: "a", position: 2, metadata: { run: "7" } };
    const checkpoint = { ...update, source: "", epoch: "", savedAt: log.now };
    expect(log.decide({ kind: "save-checkpoint", update, reset: false })).toEqual([
      { kind: "checkpoint-saved", checkpoint },
    ]);
    expect(log.checkpoints.get("a")).toEqual(checkpoint);
  });

  test("of another log may be any number of 64 bits, and moves forwards like others", () => {
    const log = new Log(1);
    const of = (position: bigint, source: string, reset = false): CheckpointRequest => {
      const update = { consumer: "a", position, source, metadata: {} };
      return { kind: "save-checkpoint", update, reset };
    };
    const greatest = 2n ** 64n - 1n;
    const requests = [of(greatest - 1n, "x"), of(greatest, "x"), of(greatest - 1n, "x")];
    expect(requests.map((request) => log.decide(request)[0]?.kind)).toEqual([
      "checkpoint-saved",
      "checkpoint-saved",
      "checkpoint-backwards",
    ]);
    expect(log.decide(save("a", 1))[0]?.kind).toBe("checkpoint-conflict");
    expect(log.decide(of(1n, "y"))[0]?.kind).toBe("checkpoint-conflict");
    expect(log.positionOf("a")).toBe(greatest);
    expect(log.decide(of(1n, "y", true))[0]?.kind).toBe("checkpoint-saved");
    const event = {
      ...newAppend([newEvent()]),
      checkpoint: { consumer: "a", position: 5n, source: "x", metadata: {} },
    };
    expect(log.decide(event)[0]?.kind).toBe("checkpoint-conflict");
  });

  test("is compared with what is expected, and set if it is that", () => {
    const log = new Log(9);
    const expecting = (expected: number | "absent", position: number): CheckpointRequest => {
      const update = { consumer: "a", position, metadata: {} };
      return { kind: "save-checkpoint", update, reset: false, expected };
    };
    expect(log.decide(expecting(0, 1))).toMatchObject([{ saved: undefined }]);
    expect(log.decide(expecting("absent", 1))[0]?.kind).toBe("checkpoint-saved");
    expect(log.decide(expecting("absent", 2), expecting(1, 3), expecting(1, 4))).toMatchObject([
      { kind: "checkpoint-conflict", saved: { position: 1 } },
      { kind: "checkpoint-saved" },
      { kind: "checkpoint-conflict", saved: { position: 3 } },
    ]);
    expect(log.positionOf("a")).toBe(3);
  });

  test("comes with an append that has no events", () => {
    const log = new Log(9);
    const only = (position: number) => ({
      ...newAppend([]),
      checkpoint: { consumer: "a", position, metadata: {} },
    });
    expect(log.decide(only(4), only(4))).toMatchObject([
      { kind: "appended", firstPosition: 0, lastPosition: 0, streams: [] },
      { kind: "checkpoint-backwards", asked: 4, saved: 4 },
    ]);
    expect(log.events).toHaveLength(9);
  });

  test("is gone once it is deleted, and may begin anywhere then", () => {
    const log = new Log(9);
    log.decide(save("a", 7));
    expect(log.decide(remove("a"), remove("a"), save("a", 3))).toMatchObject([
      { kind: "checkpoint-deleted", existed: true },
      { kind: "checkpoint-deleted", existed: false },
      { kind: "checkpoint-saved" },
    ]);
    expect(log.positionOf("a")).toBe(3);
  });
});

describe("a checkpoint saved with an append", () => {
  test("is saved with the events, or refuses them", () => {
    const log = new Log(9);
    expect(log.decide(append("a", 5))).toMatchObject([{ kind: "appended", firstPosition: 10 }]);
    expect(log.positionOf("a")).toBe(5);
    const refused = { kind: "checkpoint-backwards", consumer: "a", saved: 5 };
    expect(log.decide(append("a", 5), append("a", 4))).toEqual([
      { ...refused, asked: 5 },
      { ...refused, asked: 4 },
    ]);
    expect(log.events).toHaveLength(10);
  });

  test("speaks of what was durable: not of its own events, nor of its batch's", () => {
    const log = new Log(2);
    const beyond = { kind: "beyond-head", field: "checkpoint.position", asked: 3, head: 2 };
    expect(log.decide(append("b", 1), append("a", 3))).toMatchObject([
      { kind: "appended" },
      beyond,
    ]);
    expect(log.decide(append("a", 3))).toMatchObject([{ kind: "appended" }]);
  });

  test("of two in one batch the second is decided on the first", () => {
    const log = new Log(9);
    expect(
      log.decide(append("a", 5), append("a", 5), append("b", 5), append("a", 6)),
    ).toMatchObject([
      { kind: "appended", lastPosition: 10 },
      { kind: "checkpoint-backwards", saved: 5 },
      { kind: "appended", lastPosition: 11 },
      { kind: "appended", lastPosition: 12 },
    ]);
    expect([log.positionOf("a"), log.positionOf("b")]).toEqual([6, 5]);
  });

  test("is not saved where the append is refused for another reason", () => {
    const log = new Log(9);
    const expectations = [{ stream: "s", expected: { kind: "exists" } }] as const;
    expect(log.decide(append("a", 5, { expectations }))).toMatchObject([{ kind: "conflict" }]);
    expect(log.positionOf("a")).toBeUndefined();
  });

  test("comes before a conflict: the reaction has happened already", () => {
    const log = new Log(9);
    log.decide(save("a", 5));
    const expectations = [{ stream: "s", expected: { kind: "exists" } }] as const;
    const [outcome] = log.decide(append("a", 5, { expectations }));
    expect(outcome?.kind).toBe("checkpoint-backwards");
  });

  test("is not looked at where the append is there already", () => {
    const log = new Log(9);
    const once = append("a", 5, { events: [newEvent({ id: idOf(2 ** 41) })] });
    log.decide(once);
    log.decide(save("a", 8));
    expect(log.decide(once)).toMatchObject([{ kind: "appended", deduplicated: true }]);
    log.decide(save("a", 1, true));
    expect(log.decide(once)).toMatchObject([{ kind: "appended", deduplicated: true }]);
    expect(log.positionOf("a")).toBe(1);
  });
});

test("a checkpoint whose consumer was not looked up breaks an invariant", () => {
  const head = { position: 9, recordedAt: 1 };
  const nothing = { versions: new Map(), lifecycles: new Map(), events: new Map(), matches: [] };
  const facts = { head, ...nothing };
  expect(() => decideBatch({ appends: [save("a", 1)], facts, now: 1, idChance: 0 })).toThrow(
    "invariant",
  );
});

describe("generated commit batches", () => {
  const consumer = fc.constantFrom("a", "b");
  const position = fc.nat({ max: 12 });
  const proposal: fc.Arbitrary<Append | CheckpointRequest> = fc.oneof(
    fc.tuple(consumer, position).map(([name, at]) => append(name, at)),
    fc.tuple(consumer, position, fc.boolean()).map(([name, at, reset]) => save(name, at, reset)),
    consumer.map(remove),
    fc.constant(0).map(() => newAppend([newEvent()])),
  );

  /** What each proposal does to a map of positions, one after the other. */
  function plainly(
    positions: Map<string, number>,
    head: number,
    one: Append | CheckpointRequest,
  ): string {
    if (one.kind === undefined) {
      const { checkpoint } = one;
      if (checkpoint === undefined) return "appended";
      if (checkpoint.position > head) return "beyond-head";
      if (checkpoint.position <= (positions.get(checkpoint.consumer) ?? -1)) {
        return "checkpoint-backwards";
      }
      positions.set(checkpoint.consumer, Number(checkpoint.position));
      return "appended";
    }
    if (one.kind === "delete-checkpoint") {
      return `checkpoint-deleted ${positions.delete(one.consumer)}`;
    }
    const { update, reset } = one;
    if (update.position > head) return "beyond-head";
    if (!reset && update.position < (positions.get(update.consumer) ?? 0)) {
      return "checkpoint-backwards";
    }
    positions.set(update.consumer, Number(update.position));
    return "checkpoint-saved";
  }

  test("decide as a plain map does, proposal by proposal", () => {
    fc.assert(
      fc.property(fc.array(fc.array(proposal, { maxLength: 6 }), { maxLength: 8 }), (batches) => {
        const log = new Log(3);
        const positions = new Map<string, number>();
        for (const batch of batches) {
          const head = log.events.length;
          const expected = batch.map((one) => plainly(positions, head, one));
          const told = log.decide(...batch).map((outcome) => {
            if (outcome.kind !== "checkpoint-deleted") return outcome.kind;
            return `${outcome.kind} ${outcome.existed}`;
          });
          expect(told).toEqual(expected);
          const kept = [...log.checkpoints].map(([name, { position: at }]) => [name, at] as const);
          expect(new Map(kept)).toEqual(positions);
        }
      }),
      { numRuns: 500 },
    );
  });
});
