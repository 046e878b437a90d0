// Commit batches: what shares a commit, who is told what and when, and that nothing is lost, doubled
// or lied about when commits are slow, overtaken, refused or of unknown outcome.
import { getEventListeners } from "node:events";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append, Expected, Outcome } from "../../../src/domain/append.ts";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { Limits } from "../../../src/domain/limits.ts";
import { recordsIn, storedEvent } from "../../../src/domain/record.ts";
import type { CommitAnswer } from "../../../src/log/append/append-queue.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { composeCommit, idOf, newAppend, newEvent } from "../../support/events.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { appendAll, appendOf, openLog, settled } from "../harness.ts";

const version = (number: number): Expected => ({ kind: "version", version: number });

function expecting(stream: string, expected: Expected, id?: number): Append {
  const event = newEvent({ stream, ...(id !== undefined && { id: idOf(id) }) });
  return newAppend([event], { expectations: [{ stream, expected }] });
}

/** The kind of the outcome, or the reason it was thrown with. */
async function verdict(answer: Promise<CommitAnswer>): Promise<string> {
  try {
    const { outcome } = await answer;
    if (outcome.kind !== "appended") return outcome.kind;
    return outcome.deduplicated ? "deduplicated" : `at ${outcome.firstPosition}`;
  } catch (error) {
    return error instanceof AnnalsError ? error.reason : String(error);
  }
}

function verdicts(answers: Promise<CommitAnswer>[]): Promise<string[]> {
  return Promise.all(answers.map(verdict));
}

/** Holds every commit until the next `release`. */
function holdCommits(storage: ModelStorage): { release: () => void; heldCount: () => number } {
  const held: (() => void)[] = [];
  storage.control.beforeCommit = () => new Promise<void>((resolve) => held.push(resolve));
  return { release: () => held.shift()?.(), heldCount: () => held.length };
}

describe("commit batches", () => {
  test("appends of one turn of the event loop share a commit", async () => {
    const { log, storage } = openLog();
    const answers = [1, 2, 3].map(() => log.append(appendOf({ stream: "a" })));
    expect(await verdicts(answers)).toEqual(["at 1", "at 2", "at 3"]);
    expect(storage.control.commitCount()).toBe(1);
  });

  test("what arrives during a commit is the next batch; one commit at a time", async () => {
    const { log, storage } = openLog();
    const { release, heldCount } = holdCommits(storage);
    const answers = [log.append(appendOf({}))];
    await settled();
    for (let i = 0; i < 5; i++) answers.push(log.append(appendOf({})));
    await settled();
    expect(heldCount()).toBe(1);
    release();
    await settled();
    expect(heldCount()).toBe(1);
    release();
    expect(await verdicts(answers)).toEqual([1, 2, 3, 4, 5, 6].map((n) => `at ${n}`));
    expect(storage.control.commitCount()).toBe(2);
  });

  test.each<[string, Partial<Limits>, number]>([
    ["events", { commitEventsMax: 4 }, 3],
    ["bytes", { commitBytesMax: 200 }, 3],
  ])("a commit is capped by %s; what is larger goes alone", async (_, limits, commits) => {
    const { log, storage } = openLog({ limits });
    const large = newAppend([1, 2, 3, 4, 5].map(() => newEvent()));
    const small = () => appendOf({});
    const answers = [small(), large, small(), small()].map((append) => log.append(append));
    expect(await verdicts(answers)).toEqual(["at 1", "at 2", "at 7", "at 8"]);
    expect(storage.control.commitCount()).toBe(commits);
  });

  test("conditions weigh, so that a decision stays short", async () => {
    const { log, storage } = openLog({ limits: { commitEventsMax: 40 } });
    const query = { items: [{ streams: [], streamPrefixes: [], types: ["T"], tags: [] }] };
    const conditional = () => newAppend([newEvent()], { condition: { query, after: 0 } });
    const answers = Array.from({ length: 12 }, () => log.append(conditional()));
    expect(new Set((await verdicts(answers)).map((each) => each.slice(0, 2)))).toEqual(
      new Set(["at"]),
    );
    expect(storage.control.commitCount()).toBe(3);
  });

  test("refusals alone need no commit", async () => {
    const { log, storage } = openLog();
    await appendAll(log, { stream: "a", id: idOf(1) });
    const answers = [expecting("a", version(7)), expecting("b", { kind: "exists" })];
    const retry = appendOf({ stream: "a", id: idOf(1) });
    const heard = await verdicts([...answers, retry].map((append) => log.append(append)));
    expect(heard).toEqual(["conflict", "conflict", "deduplicated"]);
    expect(storage.control.commitCount()).toBe(1);
  });

  test("answers come only when the batch is durable, refusals included", async () => {
    const { log, storage } = openLog();
    const { release } = holdCommits(storage);
    const heard: string[] = [];
    const answers = [expecting("a", version(0)), expecting("a", version(0))].map((append) =>
      verdict(log.append(append)).then((each) => heard.push(each)),
    );
    await settled();
    expect(heard).toEqual([]);
    release();
    await Promise.all(answers);
    expect(heard).toEqual(["at 1", "conflict"]);
  });

  test("an answer's head is at least its last position", async () => {
    const { log } = openLog();
    const answers = await Promise.all([1, 2].map(() => log.append(appendOf({}, {}))));
    expect(answers.map(({ head }) => head)).toEqual([4, 4]);
  });

  test("time never goes back, whatever the clock does", async () => {
    const times = [5_000, 3_000, 9_000];
    const { log } = openLog({ clock: () => times.shift() ?? 0 });
    const heard: number[] = [];
    for (let i = 0; i < 3; i++) {
      const { outcome } = await log.append(appendOf({ stream: "a" }));
      if (outcome.kind === "appended") heard.push(outcome.recordedAt);
    }
    expect(heard).toEqual([5_000, 5_000, 9_000]);
  });
});

describe("bounds", () => {
  test("a line that is full by count is OVERLOADED, and has room again later", async () => {
    const { log } = openLog({ limits: { appendQueueCountMax: 2 } });
    const answers = [1, 2, 3].map(() => log.append(appendOf({})));
    await expect(answers[2]).rejects.toMatchObject({
      failure: { reason: "OVERLOADED", retryAfterMs: expect.any(Number) },
    });
    expect(await verdicts(answers.slice(0, 2))).toEqual(["at 1", "at 2"]);
    expect(await verdict(log.append(appendOf({})))).toBe("at 3");
  });

  test("bytes count until they are answered, those of the commit in flight too", async () => {
    const limits = { appendQueueBytesMax: 2_000 };
    const { log, storage } = openLog({ limits });
    const { release } = holdCommits(storage);
    const large = () => appendOf({ data: new Uint8Array(600) });
    const first = log.append(large());
    await settled();
    expect(await verdict(log.append(large()))).toBe("OVERLOADED");
    release();
    expect(await verdict(first)).toBe("at 1");
    const second = verdict(log.append(large()));
    await settled();
    release();
    expect(await second).toBe("at 2");
  });

  test("very small events count for what they hold in memory, not for their bytes", async () => {
    const { log, storage } = openLog({ limits: { appendQueueBytesMax: 100_000 } });
    const { release } = holdCommits(storage);
    const small = () => newAppend(Array.from({ length: 100 }, () => newEvent({})));
    const first = log.append(small());
    await settled();
    expect(await verdict(log.append(small()))).toBe("OVERLOADED");
    release();
    expect(await verdict(first)).toBe("at 1");
  });

  test("a condition's words count: they are held as long", async () => {
    const { log } = openLog({ limits: { appendQueueBytesMax: 2_500 } });
    const item = { streams: [], streamPrefixes: [], types: ["T".repeat(900)], tags: [] };
    const condition = { query: { items: [item] }, after: 0 };
    const answers = [1, 2].map(() => log.append(newAppend([newEvent()], { condition })));
    expect(await verdicts(answers)).toEqual(["at 1", "OVERLOADED"]);
  });

  test("what alone is beyond the bound is let into an empty line", async () => {
    const { log } = openLog({ limits: { appendQueueBytesMax: 10 } });
    expect(await verdict(log.append(appendOf({ data: new Uint8Array(100) })))).toBe("at 1");
  });
});

describe("giving up", () => {
  test("before it is taken: out of the line, nothing stored, room given back", async () => {
    const { log, storage } = openLog({ limits: { appendQueueCountMax: 4 } });
    const { release } = holdCommits(storage);
    const first = log.append(appendOf({}));
    await settled();
    const controllers = [1, 2, 3].map(() => new AbortController());
    const waiting = controllers.map(({ signal }) => log.append(appendOf({}), signal));
    const heard = waiting.map(verdict);
    controllers[1]?.abort();
    expect(await heard[1]).toBe("CANCELLED");
    const late = log.append(appendOf({}));
    release();
    await settled();
    release();
    expect(await verdicts([first, late])).toEqual(["at 1", "at 4"]);
    expect(await Promise.all(heard)).toEqual(["at 2", "CANCELLED", "at 3"]);
    const left = controllers.map(({ signal }) => getEventListeners(signal, "abort").length);
    expect(left).toEqual([0, 0, 0]);
  });

  test("with a reason of ours ends with that reason, also before it is asked", async () => {
    const { log, storage } = openLog();
    const controller = new AbortController();
    controller.abort(new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, "too late"));
    expect(await verdict(log.append(appendOf({}), controller.signal))).toBe("DEADLINE_EXCEEDED");
    await settled();
    expect(storage.head().position).toBe(0);
  });

  test("after it is taken has no effect: the outcome is told", async () => {
    const { log, storage } = openLog();
    const { release } = holdCommits(storage);
    const controller = new AbortController();
    const heard = verdict(log.append(appendOf({}), controller.signal));
    await settled();
    controller.abort();
    await settled();
    release();
    expect(await heard).toBe("at 1");
  });

  test("any pattern of coming and giving up keeps the others in line and in order", async () => {
    const pattern = fc.array(fc.oneof(fc.constant("come" as const), fc.nat({ max: 5 })), {
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(pattern, async (steps) => {
        const { log, storage } = openLog();
        const all: { controller: AbortController; heard: Promise<string> }[] = [];
        for (const step of steps) {
          if (step === "come") {
            const controller = new AbortController();
            const heard = verdict(log.append(appendOf({}), controller.signal));
            all.push({ controller, heard });
          } else all.at(-1 - step)?.controller.abort();
        }
        let position = 0;
        const expected = all.map(({ controller }) =>
          controller.signal.aborted ? "CANCELLED" : `at ${++position}`,
        );
        expect(await Promise.all(all.map(({ heard }) => heard))).toEqual(expected);
        expect(storage.head().position).toBe(position);
      }),
      { numRuns: 200 },
    );
  });
});

describe("failures", () => {
  test("a commit of unknown outcome is that for its whole batch, refusals too", async () => {
    const { log, storage } = openLog();
    storage.control.failNextCommit("not there");
    const batch = [expecting("a", version(0)), expecting("a", version(0))];
    const heard = await verdicts(batch.map((append) => log.append(append)));
    expect(heard).toEqual(["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN"]);
  });

  test.each(["there", "not there"] as const)(
    "a retry after an unknown outcome stores nothing twice (the events are %s)",
    async (where) => {
      const { log, storage } = openLog();
      storage.control.failNextCommit(where);
      const append = expecting("a", version(0), 1);
      expect(await verdict(log.append(append))).toBe("OUTCOME_UNKNOWN");
      const again = where === "there" ? "deduplicated" : "at 1";
      expect(await verdict(log.append(append))).toBe(again);
      expect(await verdict(log.append(append))).toBe("deduplicated");
      expect(storage.head().position).toBe(1);
    },
  );

  test("a failure that is not ours leaves the outcome unknown, as its cause", async () => {
    const { log, storage } = openLog();
    const cause = new Error("EIO");
    storage.control.beforeCommit = () => Promise.reject(cause);
    const failure = { reason: "OUTCOME_UNKNOWN" };
    await expect(log.append(appendOf({}))).rejects.toMatchObject({ failure, cause });
    storage.control.beforeCommit = undefined;
    expect(await verdict(log.append(appendOf({})))).toBe("at 1");
  });

  test.each([
    ["disk-full", "DISK_FULL"],
    ["recovering", "RECOVERING"],
    ["failed", "STORE_FAILED"],
  ] as const)("in state %s an append ends with %s and works later", async (state, reason) => {
    const { log, storage } = openLog();
    storage.control.setWriteState(state);
    expect(await verdict(log.append(appendOf({})))).toBe(reason);
    storage.control.setWriteState("accepting");
    expect(await verdict(log.append(appendOf({})))).toBe("at 1");
  });

  test("a retry of what is durable is told so even where the disk is full", async () => {
    const { log, storage } = openLog();
    const known = appendOf({ stream: "a", id: idOf(1) });
    await log.append(known);
    storage.control.setWriteState("disk-full");
    const fresh = appendOf({ stream: "a", id: idOf(2) });
    const heard = await verdicts([known, fresh, fresh].map((append) => log.append(append)));
    expect(heard).toEqual(["deduplicated", "DISK_FULL", "DISK_FULL"]);
  });

  test("facts that cannot be had fail their batch with that error, and nothing else", async () => {
    let broken = true;
    const { log } = openLog({
      wrap: (storage) => ({
        ...storage,
        facts: (request) =>
          broken ? Promise.reject(new Error("no facts")) : storage.facts(request),
      }),
    });
    const answers = [1, 2].map(() => log.append(appendOf({})));
    expect(await verdicts(answers)).toEqual(["Error: no facts", "Error: no facts"]);
    broken = false;
    expect(await verdict(log.append(appendOf({})))).toBe("at 1");
  });

  test("overtaken by another node, the batch is decided again on what is there now", async () => {
    const { log, storage } = openLog();
    const foreign = await composeCommit(storage, [newEvent({ stream: "a" })], 1);
    storage.control.staleNextCommit(() => foreign);
    const batch = [expecting("a", version(0)), expecting("a", version(1)), appendOf({})];
    const heard = await verdicts(batch.map((append) => log.append(append)));
    expect(heard).toEqual(["conflict", "at 2", "at 3"]);
  });

  test("overtaken for ever, the batch gives up with nothing stored", async () => {
    const { log } = openLog({
      wrap: (storage) => ({ ...storage, commit: () => Promise.resolve("stale" as const) }),
    });
    expect(await verdict(log.append(appendOf({})))).toBe("OVERLOADED");
  });
});

describe("stopping", () => {
  test("those in line are answered, newcomers are refused", async () => {
    const { log, storage } = openLog();
    const { release } = holdCommits(storage);
    const answers = [log.append(appendOf({}))];
    await settled();
    answers.push(log.append(appendOf({})));
    let stopped = false;
    const stopping = log.stop().then(() => (stopped = true));
    expect(await verdict(log.append(appendOf({})))).toBe("STOPPING");
    release();
    await settled();
    expect(stopped).toBe(false);
    release();
    expect(await verdicts(answers)).toEqual(["at 1", "at 2"]);
    await stopping;
  });

  test("with nobody in line stops at once, and once more", async () => {
    const { log } = openLog();
    await log.stop();
    await expect(log.stop()).resolves.toBeUndefined();
  });
});

describe("generated interleavings", () => {
  test("of concurrent appends with one expectation one wins; no conflict lies", async () => {
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

  test("retried until answered, events are where they were told, or nowhere", async () => {
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
