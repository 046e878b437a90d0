// What Load and GetState say about events a policy has removed: a fold is the stream's state exactly
// where nothing is said to be missing.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PolicyChange } from "../../../src/domain/lifecycle/lifecycle.ts";
import type { EventLog, LoadEnd, LoadRequest } from "../../../src/log/event-log.ts";
import { idOf } from "../../support/events.ts";
import { noChange } from "../../support/lifecycles.ts";
import { appendAll, openLog, payloadsIn } from "../harness.ts";

let ids = 0;
const cause = () => ({ stream: "a", expected: undefined, id: idOf(++ids), actor: "", reason: "" });

const setPolicy = (log: EventLog, change: Partial<PolicyChange>) =>
  log.streams.update({ ...cause(), change: { ...noChange, ...change } });
const remove = (log: EventLog) => log.streams.remove({ ...cause(), permanent: false });

const saveSnapshot = (log: EventLog, version: number, state: string) =>
  log.saveSnapshot({
    stream: "a",
    kind: "",
    version,
    contentType: "text/plain",
    data: new TextEncoder().encode(state),
    metadata: {},
  });

async function folded(
  log: EventLog,
  request: Partial<LoadRequest> = {},
): Promise<{ state: string; end: LoadEnd }> {
  let state = "";
  const defaults = { stream: "a", snapshotKind: "", withoutSnapshot: false };
  for await (const message of log.load({ ...defaults, ...request })) {
    if (message.kind === "snapshot") state = new TextDecoder().decode(message.snapshot.data);
    if (message.kind === "batch") state += payloadsIn(message.batch).join("");
    if (message.kind === "end") return { state, end: message.end };
  }
  return expect.unreachable();
}

/** Events `1`, `2`, ... of stream `a`. */
async function append(log: EventLog, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) await appendAll(log, { stream: "b" }, eventOf(i));
}

const eventOf = (i: number) => ({
  stream: "a",
  contentType: "application/json",
  data: `{"v${i}":${i}}`,
});
const stateOf = (first: number, last: number): string => {
  let state = "";
  for (let i = first; i <= last; i++) state += eventOf(i).data;
  return state;
};

describe("a load", () => {
  test("of a truncated stream lacks nothing with its snapshot, and says what it lacks without", async () => {
    const { log } = openLog();
    await append(log, 1, 5);
    await saveSnapshot(log, 3, stateOf(1, 3));
    await setPolicy(log, { truncateBefore: 4 });
    const whole = { state: stateOf(1, 5), end: { version: 5, missingThrough: 0 } };
    expect(await folded(log)).toMatchObject(whole);
    const half = { state: stateOf(4, 5), end: { version: 5, missingThrough: 3 } };
    expect(await folded(log, { withoutSnapshot: true })).toMatchObject(half);
    expect(await folded(log, { snapshotKind: "other" })).toMatchObject(half);
    await setPolicy(log, { truncateBefore: 6 });
    const nothing = { state: "", end: { version: 5, missingThrough: 5 } };
    expect(await folded(log)).toMatchObject(nothing);
    expect(await folded(log, { maxVersion: 2 })).toMatchObject({
      end: { version: 2, missingThrough: 2 },
    });
  });

  test("of a stream that was deleted and came back lacks nothing", async () => {
    const { log } = openLog();
    await append(log, 1, 3);
    await remove(log);
    expect(await folded(log)).toMatchObject({ state: "", end: { version: 3, missingThrough: 0 } });
    await append(log, 4, 2);
    const whole = { state: stateOf(4, 5), end: { version: 5, missingThrough: 0 } };
    expect(await folded(log)).toMatchObject(whole);
    // Of the life before the deletion there is nothing to fold.
    expect(await folded(log, { maxVersion: 2 })).toMatchObject({ end: { missingThrough: 2 } });
    await setPolicy(log, { truncateBefore: 5 });
    expect(await folded(log)).toMatchObject({ end: { version: 5, missingThrough: 4 } });
  });

  test("of a stream without events lacks nothing, whatever its policy", async () => {
    const { log } = openLog();
    await setPolicy(log, { maxCount: 1 });
    expect(await folded(log)).toMatchObject({ end: { version: 0, missingThrough: 0 } });
  });

  type Step =
    | { readonly kind: "append" | "snapshot" | "truncate" | "count"; readonly number: number }
    | { readonly kind: "delete" };
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("append" as const),
        number: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("snapshot" as const, "truncate" as const, "count" as const),
        number: fc.integer({ min: 1, max: 9 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: "delete" as const }) },
  );

  test("in any history gives the state where nothing is missing, and only there", async () => {
    const requests = fc.record({
      maxVersion: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
      withoutSnapshot: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 14 }),
        fc.array(requests, { minLength: 4, maxLength: 4 }),
        fc.constantFrom(1, 65_536),
        async (steps, asked, batchBytesMax) => {
          const { log } = openLog({ limits: { batchBytesMax } });
          let version = 0;
          let deleted = 0;
          let firstLeft = 1;
          let maxCount: number | undefined;
          for (const each of steps) {
            if (each.kind === "append") {
              await append(log, version + 1, each.number);
              version += each.number;
            } else if (each.kind === "delete") {
              if (version === 0) continue;
              await remove(log);
              deleted = version;
            } else if (each.kind === "snapshot") {
              const at = deleted + each.number;
              if (at <= version) await saveSnapshot(log, at, stateOf(deleted + 1, at));
            } else if (each.kind === "truncate") {
              const before = Math.min(each.number + deleted, version + 1);
              maxCount = undefined;
              firstLeft = Math.max(firstLeft, before);
              await setPolicy(log, { truncateBefore: before, clear: ["maxCount"] });
            } else {
              maxCount = each.number;
              await setPolicy(log, { maxCount });
            }
            if (maxCount !== undefined) firstLeft = Math.max(firstLeft, version - maxCount + 1);
          }
          for (const { maxVersion, withoutSnapshot } of asked) {
            const { state, end } = await folded(log, { maxVersion, withoutSnapshot });
            const until = Math.min(version, maxVersion ?? version);
            expect(end.version).toBe(until);
            const isPast = until <= deleted && until < version;
            if (end.missingThrough === 0) expect(state).toBe(stateOf(deleted + 1, until));
            else if (!isPast) expect(firstLeft).toBeGreaterThan(deleted + 1);
            if (isPast) expect(end.missingThrough).toBe(until);
            if (firstLeft <= deleted + 1 && !isPast) expect(end.missingThrough).toBe(0);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("a state", () => {
  const missing = async (log: EventLog, at?: Parameters<EventLog["getState"]>[0]["at"]) => {
    const { state, version, missingThrough } = await log.getState({ stream: "a", at });
    return { state, version, missingThrough };
  };

  test("says up to which version a policy has removed what it is folded from", async () => {
    const { log } = openLog();
    await append(log, 1, 4);
    expect(await missing(log)).toMatchObject({ version: 4, missingThrough: 0 });
    await setPolicy(log, { truncateBefore: 3 });
    expect(await missing(log)).toEqual({
      state: { v3: 3, v4: 4 },
      version: 4,
      missingThrough: 2,
    });
    const nothingLeft = { state: null, version: 0, missingThrough: 2 };
    expect(await missing(log, { kind: "version", version: 2 })).toEqual(nothingLeft);
    await setPolicy(log, { truncateBefore: 5 });
    expect(await missing(log)).toEqual({ ...nothingLeft, missingThrough: 4 });
  });

  test("as of a time says what was removed up to then", async () => {
    let now = 0;
    const { log } = openLog({ clock: () => now });
    for (now = 10; now <= 40; now += 10) {
      await append(log, now / 10, 1);
    }
    await setPolicy(log, { truncateBefore: 4 });
    expect(await missing(log, { kind: "time", time: 25 })).toMatchObject({ missingThrough: 2 });
    expect(await missing(log, { kind: "time", time: 5 })).toMatchObject({ missingThrough: 0 });
  });

  test("of a stream that was deleted and came back lacks nothing", async () => {
    const { log } = openLog();
    await append(log, 1, 2);
    await remove(log);
    expect(await missing(log)).toEqual({ state: null, version: 0, missingThrough: 0 });
    await append(log, 3, 1);
    expect(await missing(log)).toEqual({ state: { v3: 3 }, version: 3, missingThrough: 0 });
    expect(await missing(log, { kind: "version", version: 2 })).toMatchObject({
      missingThrough: 2,
    });
  });
});
