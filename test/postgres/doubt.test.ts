// When a server doubts that the primary still is one: no database is needed for that.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Doubt } from "../../src/storage/postgres/sessions/doubt.ts";
import type { DbSession } from "../../src/storage/postgres/sessions/session.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

/** Asks after so many milliseconds without a commit, and answers what was asked and told. */
async function askedAfter(
  ms: number,
  { isContested = true, commits = true, isCommitting = false },
): Promise<string[]> {
  const said: string[] = [];
  const doubt = new Doubt({
    database: {
      isContested: async () => {
        said.push("others");
        return isContested;
      },
      openBeside: async () => ({ end: () => {} }) as DbSession,
    },
    prove: async () => {
      said.push("commit");
      if (!commits) throw new Error("it waits for a standby");
    },
    contested: () => void said.push("contested"),
  });
  if (isCommitting) void doubt.during(new Promise(() => {}));
  vi.advanceTimersByTime(ms);
  await doubt.ask();
  // It was answered just now.
  await doubt.ask();
  return said;
}

test("a primary that has just committed is not doubted", async () => {
  expect(await askedAfter(9_000, {})).toEqual([]);
});

test("an idle one is used as long as no other host is one, too", async () => {
  expect(await askedAfter(11_000, { isContested: false })).toEqual(["others"]);
});

test("beside a former primary that nobody has stopped, one that commits goes on", async () => {
  expect(await askedAfter(11_000, {})).toEqual(["others", "commit"]);
});

test("and one that does not commit is given up", async () => {
  expect(await askedAfter(11_000, { commits: false })).toEqual(["others", "commit", "contested"]);
});

test("a commit that does not end needs no other one to tell", async () => {
  expect((await askedAfter(3_000, { isCommitting: true })).slice(0, 2)).toEqual([
    "others",
    "contested",
  ]);
});
