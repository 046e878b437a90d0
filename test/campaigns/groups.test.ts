// Generated histories of consumer groups, many more than the gate has time for.
import { test } from "vitest";
import { assertWork } from "../log/groups/work-histories.ts";
import { assertHistories, kindsOfHistory } from "../domain/group/histories.ts";

test.each(Object.keys(kindsOfHistory) as (keyof typeof kindsOfHistory)[])("%s", (kind) => {
  assertHistories(kind, 30_000);
});

test("workers deal with every event, in the order of its stream, whatever happens", async () => {
  await assertWork(3_000);
});
