// A small container gets small caches, and an idle process collects its garbage.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { collectWhenIdle, shareOf } from "../src/process-memory.ts";

const MiB = 1024 * 1024;

test.each([
  [256, 0.25],
  [512, 0.25],
  [1_023, 0.25],
  [1_024, 1],
  [65_536, 1],
])("a process that may have %i MiB keeps %f of its caches", (mebibytes, share) => {
  expect(shareOf(mebibytes * MiB)).toBe(share);
});

describe("garbage", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** A process with its work and garbage, and what a collection leaves. */
  function process(live = 40 * MiB) {
    const state = { work: 0, garbage: 100 * MiB, collections: 0 };
    const end = collectWhenIdle({
      work: () => state.work,
      heldBytes: () => live + state.garbage,
      collect() {
        state.collections++;
        state.garbage = 0;
      },
    });
    const pass = (seconds: number): void => void vi.advanceTimersByTime(seconds * 1_000);
    return { state, end, pass };
  }

  test("is collected once when there is little work, within two minutes", () => {
    const { state, pass } = process();
    for (let i = 0; i < 10; i++) {
      state.work += 1_000;
      pass(20);
    }
    expect(state.collections).toBe(0);
    for (let i = 0; i < 5; i++) {
      state.work += 3;
      pass(20);
    }
    expect(state.collections).toBe(1);
    pass(1_000);
    expect(state.collections).toBe(1);
  });

  test("is collected again where more has come, and there is little work", () => {
    const { state, pass } = process();
    pass(100);
    expect(state.collections).toBe(1);
    state.garbage = 10 * MiB;
    pass(100);
    expect(state.collections).toBe(1);
    state.garbage = 20 * MiB;
    pass(20);
    expect(state.collections).toBe(2);
    state.garbage = 50 * MiB;
    state.work += 40;
    pass(20);
    expect(state.collections).toBe(2);
    pass(80);
    expect(state.collections).toBe(3);
  });

  test("is left to V8 when the server stops, and where V8 cannot be told", () => {
    const { state, end, pass } = process();
    end();
    pass(1_000);
    expect(state.collections).toBe(0);
    expect(() => collectWhenIdle({ work: () => 0, collect: undefined })()).not.toThrow();
    pass(1_000);
  });
});
