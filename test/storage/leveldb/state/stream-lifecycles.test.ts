// The lifecycles of streams in memory: bounded, and what had no room is never taken for absent.
import { describe, expect, test } from "vitest";
import { noLifecycle, type Lifecycle } from "../../../../src/domain/lifecycle/lifecycle.ts";
import { NameFilter } from "../../../../src/storage/leveldb/state/name-filter.ts";
import { StreamLifecycles } from "../../../../src/storage/leveldb/state/stream-lifecycles.ts";
import { nastyNames } from "../../../support/events.ts";

const nameOf = (i: number): string => `${nastyNames[i % nastyNames.length]}${i}`;

function entryAt(position: number, labels: Record<string, string> = {}) {
  const { policy } = noLifecycle;
  const lifecycle: Lifecycle = { ...noLifecycle, policy: { ...policy, labels } };
  return { lifecycle, position };
}

function filled(count: number, bytesMax?: number): StreamLifecycles {
  const lifecycles = new StreamLifecycles(bytesMax);
  for (let i = 1; i <= count; i++) lifecycles.set(nameOf(i), entryAt(i));
  return lifecycles;
}

function rememberedIn(lifecycles: StreamLifecycles, count: number): number[] {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  return numbers.filter((i) => typeof lifecycles.get(nameOf(i)) === "object");
}

describe("lifecycles in memory", () => {
  test("are all there while they fit, and no other stream has one", () => {
    const lifecycles = filled(1_000);
    expect(rememberedIn(lifecycles, 1_000)).toHaveLength(1_000);
    expect(lifecycles.get("other")).toBeUndefined();
  });

  test("take no more memory than they may, however many there are", () => {
    const some = rememberedIn(filled(500, 20_000), 500);
    expect(some.length).toBeGreaterThan(10);
    expect(some.length).toBeLessThan(50);
    // Those that came last are there.
    expect(some.at(-1)).toBe(500);
    expect(some[0]).toBe(501 - some.length);
    expect(rememberedIn(filled(5_000, 20_000), 5_000).length).toBe(some.length);
  });

  test("count their labels and names", () => {
    const lifecycles = new StreamLifecycles(100_000);
    for (let i = 1; i <= 100; i++) {
      lifecycles.set(nameOf(i), entryAt(i, { label: "x".repeat(10_000) }));
    }
    expect(rememberedIn(lifecycles, 100).length).toBeLessThan(6);
  });

  test("that had no room are elsewhere, never absent", () => {
    const lifecycles = filled(2_000, 20_000);
    for (let i = 1; i <= 2_000; i++) expect(lifecycles.get(nameOf(i))).toBeDefined();
    const others = Array.from({ length: 2_000 }, (_, i) => lifecycles.get(`other-${i}`));
    expect(others.filter((each) => each === undefined).length).toBeGreaterThan(1_990);
    // Also where it comes when there was no room any more.
    lifecycles.set("late", entryAt(2_001));
    for (let i = 1; i <= 200; i++) lifecycles.set(nameOf(i), entryAt(2_001 + i));
    expect(lifecycles.get("late")).toBe("elsewhere");
  });

  test("that are looked up take the place of others, unless a commit knows better", () => {
    const lifecycles = filled(500, 20_000);
    lifecycles.found(nameOf(1), entryAt(1), 500);
    expect(lifecycles.get(nameOf(1))).toEqual(entryAt(1));
    // A commit changed a lifecycle after the head that the look-up was made as of.
    lifecycles.set(nameOf(3), entryAt(501));
    lifecycles.found(nameOf(2), entryAt(2), 500);
    expect(lifecycles.get(nameOf(2))).toBe("elsewhere");
    lifecycles.found(nameOf(3), entryAt(3), 501);
    expect(lifecycles.get(nameOf(3))).toEqual(entryAt(501));
  });

  test("keep one entry however little memory there is", () => {
    const lifecycles = filled(3, 0);
    expect(rememberedIn(lifecycles, 3)).toEqual([3]);
    expect(lifecycles.isEmpty).toBe(false);
  });
});

test("a filter of names says yes to every name it was given, and to few others", () => {
  const filter = new NameFilter();
  const names = Array.from({ length: 100_000 }, (_, i) => nameOf(i));
  names.push("", "x".repeat(5_000), "é".repeat(3_000));
  for (const name of names) filter.add(name);
  expect(names.every((name) => filter.mayHave(name))).toBe(true);
  const others = Array.from({ length: 10_000 }, (_, i) => `other-${i}`);
  expect(others.filter((name) => filter.mayHave(name)).length).toBeLessThan(50);
});
