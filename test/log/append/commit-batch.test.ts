// Commit batches: which appends share a commit, when each is answered, and how many may wait.
import { describe, expect, test } from "vitest";
import type { Limits } from "../../../src/domain/limits.ts";
import { idOf, newAppend, newEvent } from "../../support/events.ts";
import { noChange } from "../../support/lifecycles.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { appendAll, appendOf, openLog, settled } from "../harness.ts";
import { expecting, holdCommits, verdict, verdicts, version } from "./verdicts.ts";

describe("a commit batch", () => {
  test("takes the appends of one turn of the event loop", async () => {
    const { log, storage } = openLog();
    const answers = [1, 2, 3].map(() => log.append(appendOf({ stream: "a" })));
    expect(await verdicts(answers)).toEqual(["at 1", "at 2", "at 3"]);
    expect(storage.control.commitCount()).toBe(1);
  });

  test("takes what arrived during the commit before it; there is one commit at a time", async () => {
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
  ])("is capped by %s; an append that is larger goes alone", async (_, limits, commits) => {
    const { log, storage } = openLog({ limits });
    const large = newAppend([1, 2, 3, 4, 5].map(() => newEvent()));
    const small = () => appendOf({});
    const answers = [small(), large, small(), small()].map((append) => log.append(append));
    expect(await verdicts(answers)).toEqual(["at 1", "at 2", "at 7", "at 8"]);
    expect(storage.control.commitCount()).toBe(commits);
  });

  test("counts tags, so that a commit stays short", async () => {
    const { log, storage } = openLog({ limits: { commitEventsMax: 40 } });
    const tags = Array.from({ length: 18 }, (_, i) => `t${i}`);
    const answers = Array.from({ length: 12 }, () => log.append(appendOf({ tags })));
    expect(await verdicts(answers)).toHaveLength(12);
    expect(storage.control.commitCount()).toBe(3);
  });

  test("counts conditions, so that a decision stays short", async () => {
    const { log, storage } = openLog({ limits: { commitEventsMax: 40 } });
    const query = {
      items: [{ streams: [], streamPrefixes: [], types: ["T"], tags: [], tagsAny: [] }],
    };
    const conditional = () => newAppend([newEvent()], { conditions: [{ query, after: 0 }] });
    const answers = Array.from({ length: 12 }, () => log.append(conditional()));
    expect(new Set((await verdicts(answers)).map((each) => each.slice(0, 2)))).toEqual(
      new Set(["at"]),
    );
    expect(storage.control.commitCount()).toBe(3);
  });

  test("takes half of what waits if that is much and the thread busy", async () => {
    const { log, storage } = openLog({ isBusy: () => true });
    const { release, heldCount } = holdCommits(storage);
    const hundred = () => newAppend(Array.from({ length: 100 }, () => newEvent()));
    let answered = 0;
    const eight = () =>
      Array.from({ length: 8 }, () => log.append(hundred()).then(() => answered++));
    const answers = eight();
    const seen: number[] = [];
    // Four callers are answered, and come again while the appends of the others are written.
    for (let i = 0; i < 4; i++) {
      await settled();
      expect(heldCount()).toBe(1);
      const before = answered;
      release();
      await settled();
      seen.push(answered - before);
      for (let each = before; each < answered; each++)
        answers.push(log.append(hundred()).then(() => answered++));
    }
    expect(seen).toEqual([4, 4, 4, 4]);
    while (heldCount() > 0) {
      release();
      await settled();
    }
    await Promise.all(answers);
  });

  test.each([
    ["that is little", true, 64],
    ["the disk is slow rather than the thread busy", false, 640],
  ])("takes all that waits if %s", async (_, busy, length) => {
    const { log, storage } = openLog({ isBusy: () => busy });
    const answers = Array.from({ length }, () => log.append(appendOf({ tags: ["a"] })));
    await Promise.all(answers);
    expect(storage.control.commitCount()).toBe(1);
  });

  test("of refusals alone needs no commit", async () => {
    const { log, storage } = openLog();
    await appendAll(log, { stream: "a", id: idOf(1) });
    const answers = [expecting("a", version(7)), expecting("b", { kind: "exists" })];
    const retry = appendOf({ stream: "a", id: idOf(1) });
    const heard = await verdicts([...answers, retry].map((append) => log.append(append)));
    expect(heard).toEqual(["conflict", "conflict", "deduplicated"]);
    expect(storage.control.commitCount()).toBe(1);
  });

  test("is answered only when it is durable, refusals included", async () => {
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

  test("is answered with a head that is at least its last position", async () => {
    const { log } = openLog();
    const answers = await Promise.all([1, 2].map(() => log.append(appendOf({}, {}))));
    expect(answers.map(({ head }) => head)).toEqual([4, 4]);
  });

  test("never gets an earlier time than the one before, whatever the clock does", async () => {
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

describe("the append queue", () => {
  test("answers OVERLOADED when it is full by count, and has room again later", async () => {
    const { log } = openLog({ limits: { appendQueueCountMax: 2 } });
    const answers = [1, 2, 3].map(() => log.append(appendOf({})));
    await expect(answers[2]).rejects.toMatchObject({
      failure: { reason: "OVERLOADED", retryAfterMs: expect.any(Number) },
    });
    expect(await verdicts(answers.slice(0, 2))).toEqual(["at 1", "at 2"]);
    expect(await verdict(log.append(appendOf({})))).toBe("at 3");
  });

  test("counts bytes until they are answered, those of the commit in flight too", async () => {
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

  test("counts very small events for what they hold in memory, not for their bytes", async () => {
    const { log, storage } = openLog({ limits: { appendQueueBytesMax: 100_000 } });
    const { release } = holdCommits(storage);
    const small = () => newAppend(Array.from({ length: 100 }, () => newEvent({})));
    const first = log.append(small());
    await settled();
    expect(await verdict(log.append(small()))).toBe("OVERLOADED");
    release();
    expect(await verdict(first)).toBe("at 1");
  });

  test("counts the terms of a condition, which are held as long", async () => {
    const { log } = openLog({ limits: { appendQueueBytesMax: 2_500 } });
    const item = {
      streams: [],
      streamPrefixes: [],
      types: ["T".repeat(900)],
      tags: [],
      tagsAny: [],
    };
    const conditions = [{ query: { items: [item] }, after: 0 }];
    const answers = [1, 2].map(() => log.append(newAppend([newEvent()], { conditions })));
    expect(await verdicts(answers)).toEqual(["at 1", "OVERLOADED"]);
  });

  test("takes an append that alone is beyond the bound when nothing else waits", async () => {
    const { log } = openLog({ limits: { appendQueueBytesMax: 10 } });
    expect(await verdict(log.append(appendOf({ data: new Uint8Array(100) })))).toBe("at 1");
  });
});

test("no event is born too old: its time is never before the one ages are measured by", async () => {
  let clock = 9_000_000;
  const storage = createModelStorage({ clock: () => clock });
  const { log } = openLog({ storage, clock: () => clock });
  await appendAll(log, { stream: "a" });
  const asked = { stream: "a", expected: undefined, actor: "", reason: "" };
  await log.streams.update({ ...asked, change: { ...noChange, maxAge: 1_000_000 } });
  clock = 20_000_000;
  expect((await log.getStream("a")).eventCount).toBe(0);
  clock = 1_000_000;
  const { outcome } = await log.append(appendOf({ stream: "a" }));
  expect(outcome).toMatchObject({ kind: "appended", recordedAt: 20_000_000 });
  expect((await log.getStream("a")).eventCount).toBe(1);
  // Another policy does not bring back what the one before had removed.
  await log.streams.update({ ...asked, change: { ...noChange, clear: ["maxAge"] } });
  expect(await log.getStream("a")).toMatchObject({ eventCount: 1, firstVersion: 2 });
});
