// Generated histories of the state machine of a group, judged by an oracle.
import { describe, test } from "vitest";
import { assertHistories, kindsOfHistory } from "./histories.ts";

describe("whatever happens: in order by key, at least once, settled once it is answered", () => {
  test.each(Object.keys(kindsOfHistory) as (keyof typeof kindsOfHistory)[])("%s", (kind) => {
    assertHistories(kind, 250);
  });
});
