// Regular expressions of clients: the usual ones are prefixes, look-ahead works, and a hostile one is refused
// without delaying anything else.
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { patternOf, prefixPattern } from "../../../../src/protocols/kurrentdb/read/pattern.ts";

const names = ["", "$a", "a", "ab", "Ab", "b.c"];

async function matching(source: string): Promise<string[]> {
  const pattern = patternOf(source);
  await pattern.test(names.filter((name) => pattern.known(name) === undefined));
  return names.filter((name) => pattern.known(name) === true);
}

describe("a pattern", () => {
  test.each([
    [String.raw`^[^\$].*`, ["a", "ab", "Ab", "b.c"]],
    ["^[^$].*", ["a", "ab", "Ab", "b.c"]],
    [String.raw`^(?!\$).*`, ["", "a", "ab", "Ab", "b.c"]],
    ["^a", ["a", "ab"]],
    ["^a.*", ["a", "ab"]],
    [String.raw`^b\.c`, ["b.c"]],
    [String.raw`^\$`, ["$a"]],
  ])("%s is a test of the beginning, which needs no thread", (source, wanted) => {
    const pattern = patternOf(source);
    expect(names.filter((name) => pattern.known(name))).toEqual(wanted);
    expect(names.filter((name) => new RegExp(source).test(name))).toEqual(wanted);
  });

  test.each([
    ["a", ["$a", "a", "ab"]],
    ["^a$", ["a"]],
    ["^(?!a)(?!\\$).+", ["Ab", "b.c"]],
    ["(?i)^a", ["a", "ab", "Ab"]],
    ["a|b", ["$a", "a", "ab", "Ab", "b.c"]],
  ])("%s is tested in a thread", async (source, wanted) => {
    expect(patternOf(source).known("a")).toBeUndefined();
    expect(await matching(source)).toEqual(wanted);
  });

  test.each([["("], ["a".repeat(5_000)]])("that is not one is refused", (source) => {
    expect(() => patternOf(source)).toThrow(/regular expression/);
  });

  test("that would run for ever is refused, and the next one is answered", async () => {
    const hostile = patternOf("^(a+)+$");
    const long = `${"a".repeat(64)}!`;
    const refused = hostile.test([long]);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await expect(refused).rejects.toThrow("takes too long");
    clearInterval(timer);
    // The thread of the server went on meanwhile.
    expect(turns).toBeGreaterThan(10);
    expect(await matching("^a$")).toEqual(["a"]);
  });
});

test("names are found by their prefixes, however many these are", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "\u00e9", "\ud83d"), maxLength: 4 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), word, (prefixes, name) => {
      const expected = prefixes.some((prefix) => name.startsWith(prefix));
      expect(prefixPattern(prefixes).known(name)).toBe(expected);
    }),
    { numRuns: 2_000 },
  );
});

test("a look at a name compares it with few of thousands of prefixes", () => {
  const prefixes = Array.from({ length: 4_000 }, (_, i) => `order-${i}-`);
  const pattern = prefixPattern(prefixes);
  const compared = vi.spyOn(String.prototype, "startsWith");
  onTestFinished(() => compared.mockRestore());
  const asked = ["order-3999-1", "order-4000-1", "a"];
  expect(asked.map((name) => pattern.known(name))).toEqual([true, false, false]);
  const { length } = compared.mock.calls;
  expect(length).toBeLessThan(4);
});
