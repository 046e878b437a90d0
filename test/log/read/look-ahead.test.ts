// Conditions that are looked up before their append stands in line: the answer is the same, and
// what came in between counts.
import { describe, expect, test } from "vitest";
import type { AppendCondition } from "../../../src/domain/append.ts";
import { newAppend, newEvent, newEvents } from "../../support/events.ts";
import { openLog } from "../harness.ts";

const far = 1_200;

function tagged(tag: string, after = 0): AppendCondition {
  return {
    query: { items: [{ streams: [], streamPrefixes: [], types: [], tags: [tag], tagsAny: [] }] },
    after,
  };
}

async function filled() {
  const opened = openLog();
  const events = newEvents(far, (i) => ({ tags: i === 4 ? ["old"] : [] }));
  await opened.log.append(newAppend(events));
  return opened.log;
}

const onCondition = (condition: AppendCondition, tags: string[] = []) =>
  newAppend([newEvent({ tags })], { conditions: [condition] });

describe("a condition looked up ahead", () => {
  test("is refused for an event that was there before, and says which", async () => {
    const log = await filled();
    const append = await log.lookAhead(onCondition(tagged("old")));
    const { outcome } = await log.append(append ?? expect.unreachable());
    expect(outcome).toMatchObject({ kind: "conflict", conditions: [{ position: 5, after: 0 }] });
  });

  test("is refused for an event that came between the look-up and the append", async () => {
    const log = await filled();
    const append = await log.lookAhead(onCondition(tagged("new")));
    await log.append(newAppend([newEvent({ tags: ["new"] })]));
    const { outcome } = await log.append(append ?? expect.unreachable());
    expect(outcome).toMatchObject({
      kind: "conflict",
      conditions: [{ position: far + 1, after: 0 }],
    });
  });

  test("is refused for an event of an append in the same batch", async () => {
    const log = await filled();
    const [first, second] = await Promise.all([
      log.lookAhead(onCondition(tagged("unique"), ["unique"])),
      log.lookAhead(onCondition(tagged("unique"), ["unique"])),
    ]);
    const answers = await Promise.all(
      [first, second].map((append) => log.append(append ?? expect.unreachable())),
    );
    expect(answers.map(({ outcome }) => outcome.kind)).toEqual(["appended", "conflict"]);
  });

  test("holds where nothing matches, and is a retry where the append was stored before", async () => {
    const log = await filled();
    const proposed = onCondition(tagged("unique"), ["unique"]);
    const append = (await log.lookAhead(proposed)) ?? expect.unreachable();
    const { outcome } = await log.append(append);
    expect(outcome).toMatchObject({ kind: "appended", deduplicated: false });
    const again = (await log.lookAhead(proposed)) ?? expect.unreachable();
    const retried = await log.append(again);
    expect(retried.outcome).toMatchObject({ kind: "appended", deduplicated: true });
  });

  test("is looked up although it is near where it has many items", async () => {
    const log = await filled();
    const { head } = log.info();
    const items = Array.from({ length: 100 }, (_, i) => tagged(`unique-${i}`).query.items).flat();
    expect(log.lookAhead(onCondition({ query: { items }, after: head }))).toBeInstanceOf(Promise);
  });

  test("is left to the line where it reaches back only a little", async () => {
    const log = await filled();
    expect(log.lookAhead(onCondition(tagged("old", far - 10)))).toBeUndefined();
    expect(log.lookAhead(newAppend([newEvent()]))).toBeUndefined();
  });
});
