// Checkpoints over the log: durable before they are answered, one with the append they come with
// whatever fails, and waited for without asking again.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append } from "../../../src/domain/append.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import type { Commit } from "../../../src/storage/storage.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { newEvent } from "../../support/events.ts";
import { appendAll, appendOf, openLog, settled } from "../harness.ts";

const at = (consumer: string, position: number) => ({ consumer, position, metadata: {} });

/** Saves, and answers the saved position or the reason of the refusal. */
function save(log: EventLog, consumer: string, position: number, reset = false): Promise<unknown> {
  return log.checkpoints.save({ update: at(consumer, position), reset }).then(
    (saved) => saved.position,
    (error: { reason?: string }) => error.reason,
  );
}

async function positionOf(log: EventLog, consumer: string): Promise<number | undefined> {
  return log.checkpoints.get(consumer).then(
    ({ position }) => Number(position),
    () => undefined,
  );
}

function appendWith(consumer: string, position: number, stream = "s"): Append {
  return { ...appendOf({ stream }), checkpoint: at(consumer, position) };
}

async function logWith(head: number, options = {}) {
  const opened = openLog(options);
  await appendAll(opened.log, ...Array.from({ length: head }, () => ({ stream: "before" })));
  return opened;
}

describe("a checkpoint", () => {
  test("is saved, read, listed, moved and deleted", async () => {
    const { log } = await logWith(9);
    const { checkpoints } = log;
    await expect(checkpoints.get("a")).rejects.toMatchObject({ reason: "CHECKPOINT_NOT_FOUND" });
    const saved = await checkpoints.save({
      update: { ...at("a", 5), metadata: { run: "7" } },
      reset: false,
    });
    expect(saved).toMatchObject({ consumer: "a", position: 5, metadata: { run: "7" } });
    expect(await checkpoints.get("a")).toEqual(saved);
    expect(await save(log, "a", 4)).toBe("CHECKPOINT_BACKWARDS");
    expect(await save(log, "a", 5)).toBe(5);
    expect(await save(log, "a", 4, true)).toBe(4);
    expect(await save(log, "a", 10)).toBe("BEYOND_HEAD");
    for (const name of ["a-1", "b", "é"]) await save(log, name, 1);
    const page = { prefix: "", after: "", limit: 2 };
    const names = async (parts: object) =>
      (await checkpoints.list({ ...page, ...parts })).map(({ consumer }) => consumer);
    expect(await names({})).toEqual(["a", "a-1"]);
    expect(await names({ after: "a-1" })).toEqual(["b", "é"]);
    expect(await names({ prefix: "a-" })).toEqual(["a-1"]);
    expect(await checkpoints.remove("a")).toBe(true);
    expect(await checkpoints.remove("a")).toBe(false);
    expect(await names({ prefix: "a" })).toEqual(["a-1"]);
  });

  test("is there after a restart, metadata of any names included", async () => {
    const { log, storage } = await logWith(3);
    const metadata = JSON.parse('{"__proto__":"x","":"é","k":"😀"}') as Record<string, string>;
    await log.checkpoints.save({ update: { ...at("a", 3), metadata }, reset: false });
    const again = openLog({ storage: createModelStorage({ data: storage.data }) });
    const kept = await again.log.checkpoints.get("a");
    expect(new Map(Object.entries(kept.metadata))).toEqual(new Map(Object.entries(metadata)));
  });

  test("whose bytes make no sense is reported", async () => {
    const { log, storage } = await logWith(3);
    await save(log, "a", 3);
    for (const value of [
      Buffer.from("nonsense"),
      storage.data.sideValues[0]?.value ?? Buffer.alloc(0),
    ]) {
      storage.data.sideValues = [{ space: "checkpoint", name: "b", value }];
      await expect(log.checkpoints.get("b")).rejects.toMatchObject({ reason: "CORRUPTION" });
      expect(await save(log, "b", 3)).toBe("CORRUPTION");
    }
  });

  test("shares the commit of what waits beside it", async () => {
    const { log, storage } = await logWith(5);
    const before = storage.control.commitCount();
    const answers = await Promise.all([
      log.append(appendOf({ stream: "x" })),
      ...["a", "b", "c"].map((name) => save(log, name, 2)),
      log.append(appendWith("d", 3)),
      log.checkpoints.remove("a"),
    ]);
    expect(answers).toHaveLength(6);
    expect(storage.control.commitCount()).toBe(before + 1);
    expect(await positionOf(log, "a")).toBeUndefined();
    expect(await positionOf(log, "d")).toBe(3);
  });

  test("is refused once the log stops, and where it was cancelled in line", async () => {
    const { log, storage } = await logWith(5);
    let release = (): void => undefined;
    storage.control.beforeCommit = () => new Promise<void>((resolve) => (release = resolve));
    const first = save(log, "a", 1);
    await settled();
    const abort = new AbortController();
    const second = log.checkpoints.save({ update: at("a", 2), reset: false }, abort.signal);
    abort.abort();
    await expect(second).rejects.toMatchObject({ reason: "CANCELLED" });
    const stopped = log.stop();
    expect(await save(log, "a", 3)).toBe("STOPPING");
    release();
    await stopped;
    expect(await first).toBe(1);
  });
});

describe("a checkpoint with an append", () => {
  test("is one with it: refused together, durable together", async () => {
    const { log } = await logWith(5);
    const { outcome } = await log.append(appendWith("pm", 4));
    expect(outcome).toMatchObject({ kind: "appended", firstPosition: 6 });
    expect(await positionOf(log, "pm")).toBe(4);
    const again = await log.append(appendWith("pm", 4));
    expect(again.outcome).toEqual({
      kind: "checkpoint-backwards",
      consumer: "pm",
      asked: 4,
      saved: 4,
    });
    expect(log.info().head).toBe(6);
  });

  test("of two process managers that race, one handles the event", async () => {
    const { log } = await logWith(5);
    const racing = Array.from({ length: 20 }, () => log.append(appendWith("pm", 5)));
    const outcomes = (await Promise.all(racing)).map(({ outcome }) => outcome.kind);
    expect(outcomes.filter((kind) => kind === "appended")).toHaveLength(1);
    expect(log.info().head).toBe(6);
  });

  test.each(["there", "not there"] as const)(
    "where the write fails, both are %s after recovery, and a retry settles it",
    async (fate) => {
      const { log, storage } = await logWith(5);
      storage.control.failNextCommit(fate);
      const append = appendWith("pm", 5);
      await expect(log.append(append)).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
      expect(log.info().head).toBe(fate === "there" ? 6 : 5);
      expect(await positionOf(log, "pm")).toBe(fate === "there" ? 5 : undefined);
      const { outcome } = await log.append(append);
      expect(outcome).toMatchObject({ kind: "appended", deduplicated: fate === "there" });
      expect(log.info().head).toBe(6);
      expect(await positionOf(log, "pm")).toBe(5);
    },
  );

  test("a refusal that rests on a checkpoint of the same failed commit is not told", async () => {
    const { log, storage } = await logWith(5);
    storage.control.failNextCommit("not there");
    const both = [log.append(appendWith("pm", 5)), log.append(appendWith("pm", 4))];
    for (const append of both) {
      await expect(append).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    }
    expect((await log.append(appendWith("pm", 4))).outcome.kind).toBe("appended");
  });

  test("decided on an older head it is decided again", async () => {
    const { log, storage } = await logWith(5);
    storage.control.staleNextCommit();
    expect((await log.append(appendWith("pm", 5))).outcome.kind).toBe("appended");
    storage.control.staleNextCommit();
    expect(await save(log, "pm", 6)).toBe(6);
  });
});

describe("waiting for a consumer", () => {
  test("ends at once where it has got there, and as soon as it gets there", async () => {
    const { log } = await logWith(9);
    await save(log, "a", 5);
    expect(await log.checkpoints.waitFor("a", 5, 1_000)).toBe(5);
    const waiting = [6, 7, 9].map((position) => log.checkpoints.waitFor("a", position, 1_000));
    await settled();
    await save(log, "a", 7);
    expect(await Promise.all(waiting.slice(0, 2))).toEqual([7, 7]);
    await log.append(appendWith("a", 9));
    expect(await waiting[2]).toBe(9);
  });

  test("may begin before the consumer has a checkpoint, and beyond the head", async () => {
    const { log, timers } = await logWith(1);
    const waiting = log.checkpoints.waitFor("new", 3, 1_000);
    await settled();
    await save(log, "new", 1);
    await appendAll(log, { stream: "x" }, { stream: "x" });
    await log.checkpoints.remove("new");
    await save(log, "new", 3);
    expect(await waiting).toBe(3);
    expect(timers.waitingCount).toBe(0);
  });

  test("ends with its time, its signal, or the log", async () => {
    const { log, timers } = await logWith(1);
    const abort = new AbortController();
    const waits = [
      log.checkpoints.waitFor("a", 3, 1_000),
      log.checkpoints.waitFor("a", 3, 5_000, abort.signal),
      log.checkpoints.waitFor("a", 3, 5_000),
      log.checkpoints.waitFor("a", 3, 5_000, AbortSignal.abort()),
    ].map((wait) => wait.catch((error: { reason: string }) => error.reason));
    await settled();
    timers.tick(1_000);
    expect(await waits[0]).toBe("DEADLINE_EXCEEDED");
    abort.abort();
    expect(await waits[1]).toBe("CANCELLED");
    expect(await waits[3]).toBe("CANCELLED");
    await log.stop();
    expect(await waits[2]).toBe("STOPPING");
    await expect(log.checkpoints.waitFor("a", 3, 9)).rejects.toMatchObject({ reason: "STOPPING" });
    expect(timers.waitingCount).toBe(0);
  });

  test("hears of a save that turned out to be durable after all", async () => {
    const { log, storage } = await logWith(5);
    const waiting = log.checkpoints.waitFor("a", 4, 1_000);
    await settled();
    storage.control.failNextCommit("there", "held");
    expect(await save(log, "a", 4)).toBe("OUTCOME_UNKNOWN");
    storage.control.recover();
    expect(await waiting).toBe(4);
  });
});

describe("generated process managers", () => {
  /** Handles every event of a log once: one event of its own for each, with its progress. */
  async function handleNext(log: EventLog, last: number): Promise<"done" | "again"> {
    const next = ((await positionOf(log, "pm")) ?? 0) + 1;
    if (next > last) return "done";
    const append = { ...appendOf({ stream: "out", type: `Handled${next}` }) };
    const own = { ...append, checkpoint: at("pm", next) };
    await log.append(own).catch(() => undefined);
    return "again";
  }

  test("whatever fails, each event is handled exactly once", async () => {
    const fault = fc.constantFrom("none", "none", "there", "not there", "stale", "restart");
    const property = fc.asyncProperty(
      fc.array(fault, { maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      async (faults, managers) => {
        let { log, storage } = await logWith(8);
        for (const next of [...faults, ...Array<"none">(20).fill("none")]) {
          if (next === "there" || next === "not there") storage.control.failNextCommit(next);
          if (next === "stale") storage.control.staleNextCommit();
          if (next === "restart") {
            storage = createModelStorage({ data: storage.data });
            ({ log } = openLog({ storage }));
          }
          await Promise.all(Array.from({ length: managers }, () => handleNext(log, 8)));
        }
        expect(await handleNext(log, 8)).toBe("done");
        const handled = storage.data.events.filter(({ stream }) => stream === "out");
        expect(handled.map(({ type }) => type)).toEqual(
          Array.from({ length: 8 }, (_, i) => `Handled${i + 1}`),
        );
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  test("a commit never holds a checkpoint beyond the head it was decided on", async () => {
    const { log, storage } = await logWith(3);
    const commits: Commit[] = [];
    storage.control.beforeCommit = (commit) => commits.push(commit);
    const appends = Array.from({ length: 50 }, (_, i) => ({
      ...appendOf({ stream: "x" }),
      checkpoint: at(`c${i % 3}`, i),
      events: [newEvent()],
    }));
    await Promise.all(appends.map((append) => log.append(append)));
    expect(commits.length).toBeGreaterThan(0);
    const { position: head } = storage.head();
    for (const name of ["c0", "c1", "c2"]) expect(await positionOf(log, name)).toBeLessThan(head);
  });
});
