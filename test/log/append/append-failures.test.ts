// Appends that are cancelled, that fail, or that meet a log which is stopping: each is told what
// became of it, and nothing is lost, doubled or lied about.
import { getEventListeners } from "node:events";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { composeCommit, idOf, newEvent } from "../../support/events.ts";
import { appendOf, openLog, settled } from "../harness.ts";
import { expecting, holdCommits, verdict, verdicts, version } from "./verdicts.ts";

describe("an append that is cancelled", () => {
  test("before its commit begins leaves the queue, stores nothing and gives its room back", async () => {
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

  test("with a reason of ours ends with it, also when it was cancelled before the call", async () => {
    const { log, storage } = openLog();
    const controller = new AbortController();
    controller.abort(new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, "too late"));
    expect(await verdict(log.append(appendOf({}), controller.signal))).toBe("DEADLINE_EXCEEDED");
    await settled();
    expect(storage.head().position).toBe(0);
  });

  test("after its commit began is answered with the outcome all the same", async () => {
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

  test("leaves the others in the queue and in order, in any pattern", async () => {
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

describe("an append that fails", () => {
  test("with an unknown outcome does so with its whole batch, refusals too", async () => {
    const { log, storage } = openLog();
    storage.control.failNextCommit("not there");
    const batch = [expecting("a", version(0)), expecting("a", version(0))];
    const heard = await verdicts(batch.map((append) => log.append(append)));
    expect(heard).toEqual(["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN"]);
  });

  test.each(["there", "not there"] as const)(
    "with an unknown outcome is stored once when it is sent again (the events are %s)",
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

  test("for a reason that is not ours has an unknown outcome, with that reason as the cause", async () => {
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
  ] as const)("in state %s ends with %s, and a later one is stored", async (state, reason) => {
    const { log, storage } = openLog();
    storage.control.setWriteState(state);
    expect(await verdict(log.append(appendOf({})))).toBe(reason);
    storage.control.setWriteState("accepting");
    expect(await verdict(log.append(appendOf({})))).toBe("at 1");
  });

  test("because the disk is full is still answered where its events are durable already", async () => {
    const { log, storage } = openLog();
    const known = appendOf({ stream: "a", id: idOf(1) });
    await log.append(known);
    storage.control.setWriteState("disk-full");
    const fresh = appendOf({ stream: "a", id: idOf(2) });
    const heard = await verdicts([known, fresh, fresh].map((append) => log.append(append)));
    expect(heard).toEqual(["deduplicated", "DISK_FULL", "DISK_FULL"]);
  });

  test("because its facts cannot be read fails its batch with that error, and nothing else", async () => {
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

  test("to be first of two nodes is decided again on what is there now", async () => {
    const { log, storage } = openLog();
    const foreign = await composeCommit(storage, [newEvent({ stream: "a" })], 1);
    storage.control.staleNextCommit(() => foreign);
    const batch = [expecting("a", version(0)), expecting("a", version(1)), appendOf({})];
    const heard = await verdicts(batch.map((append) => log.append(append)));
    expect(heard).toEqual(["conflict", "at 2", "at 3"]);
  });

  test("to be first again and again ends with OVERLOADED and nothing stored", async () => {
    const { log } = openLog({
      wrap: (storage) => ({ ...storage, commit: () => Promise.resolve("stale" as const) }),
    });
    expect(await verdict(log.append(appendOf({})))).toBe("OVERLOADED");
  });
});

describe("a log that stops", () => {
  test("answers what waits and refuses what comes", async () => {
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

  test("with an empty queue stops at once, and may be stopped again", async () => {
    const { log } = openLog();
    await log.stop();
    await expect(log.stop()).resolves.toBeUndefined();
  });
});
