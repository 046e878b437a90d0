// Workers of groups over the log through generated histories of failures and restarts.
import { test } from "vitest";
import { assertWork } from "./work-histories.ts";

test("workers deal with every event, in the order of its stream, whatever happens", async () => {
  await assertWork(80);
});
