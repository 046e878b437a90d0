// Looking at JSON part by part finds what looking at it at once finds, and each part is short.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsonPartsInSteps, readInSteps, requestBounds } from "../../src/domain/exact-json.ts";
import { canonicalJson, isChanged, jsonShape, JsonScan, type Json } from "../../src/domain/json.ts";
import { atOnce, stepBytes, type Steps } from "../../src/domain/steps.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const piece = fc.constantFrom(
  ...Array.from('{}[],:"\\ 1-.eE09tnu'),
  "true",
  "null",
  "\u00e9",
  "\\u00e9",
  '"a"',
);
const anyText = fc.array(piece, { maxLength: 30 }).map((parts) => parts.join(""));
/** JSON, of which a character may be another one. */
const almostJson = fc
  .tuple(fc.json({ maxDepth: 4 }), fc.nat(), fc.option(piece, { freq: 1 }))
  .map(([text, at, other]) => {
    if (other === null || text.length === 0) return text;
    const i = at % text.length;
    return text.slice(0, i) + other + text.slice(i + 1);
  });

function parsed(text: string): unknown {
  try {
    return [JSON.parse(text)];
  } catch {
    return "no JSON";
  }
}

/** What the work returns, and what its most expensive step and all of them cost. */
function stepped<T>(steps: Steps<T>): { value: T; most: number; all: number } {
  let [most, all] = [0, 0];
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return { value, most, all };
    most = Math.max(most, value);
    all += value;
  }
}

/** A number without its sign as digits and a power of ten. */
function decimalOf(text: string): [bigint, number] {
  const [, whole = "", fraction = "", power = "0"] =
    /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(text) ?? [];
  return [BigInt(whole + fraction), Number(power) - fraction.length];
}

function isSameDecimal(a: string, b: string): boolean {
  if (b.endsWith("Infinity")) return false;
  const [[digitsA, powerA], [digitsB, powerB]] = [decimalOf(a), decimalOf(b)];
  const least = Math.min(powerA, powerB);
  return (
    digitsA * 10n ** BigInt(powerA - least) === digitsB * 10n ** BigInt(powerB - least) &&
    (digitsA === 0n || a.startsWith("-") === b.startsWith("-"))
  );
}

describe("a scan", () => {
  test("finds the same part by part, also beyond the end", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, almostJson), fc.integer({ min: 1, max: 9 }), (text, size) => {
        const scan = new JsonScan(bytesOf(text));
        while (scan.run(size));
        scan.run(1_000);
        expect(scan.shape).toEqual(jsonShape(bytesOf(text)));
      }),
      { numRuns: 500 },
    );
    const scan = new JsonScan(bytesOf("[1]"));
    scan.run(1_000);
    expect(scan.shape.isPaired).toBe(true);
  });

  test("knows which numbers change", () => {
    const digits = fc.stringMatching(
      /^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,19})?([eE][+-]?[0-9]{1,3})?$/,
    );
    fc.assert(
      fc.property(digits, (number) => {
        expect(jsonShape(bytesOf(`[${number}]`)).changesNumbers).toBe(isChanged(number));
      }),
      { numRuns: 2_000 },
    );
  });

  test("knows it as exact arithmetic does, at the ends of the range too", () => {
    const exponent = fc.oneof(fc.integer({ min: -350, max: 350 }), fc.constantFrom(-308, 307, 308));
    const mantissa = fc.stringMatching(/^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?$/);
    fc.assert(
      fc.property(mantissa, exponent, (digits, power) => {
        const number = `${digits}e${power}`;
        expect(isChanged(number)).toBe(!isSameDecimal(number, String(Number(number))));
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    ["numbers that are compared with their doubles", "1e308,".repeat(100_000), 100_000],
    ["brackets", "[]".repeat(300_000), 4],
  ])("of %s takes many parts", (_, text, least) => {
    const scan = new JsonScan(bytesOf(`[${text}0]`));
    let parts = 1;
    while (scan.run(128 * 1024)) parts++;
    // The most that are compared in one part.
    expect(parts).toBeGreaterThanOrEqual(Math.min(least, 200));
  });

  test("ends at a long string with escapes, and at no other long string", () => {
    const long = (text: string) => {
      const scan = new JsonScan(bytesOf(JSON.stringify([text])), 1_000);
      scan.run(10_000);
      return [scan.hasLongText, scan.shape.isPaired];
    };
    expect(long("\n".repeat(2_000))).toEqual([true, false]);
    expect(long(`${"a".repeat(2_000)}\n`)).toEqual([true, false]);
    expect(long("a".repeat(2_000))).toEqual([false, true]);
    expect(long("\n".repeat(400))).toEqual([false, true]);
  });
});

describe("a text that is read in steps", () => {
  test("is what JSON.parse reads, or no JSON", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, almostJson), (text) => {
        const read = atOnce(readInSteps(bytesOf(text), false));
        expect(read === undefined ? "no JSON" : [read.value]).toEqual(parsed(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['{"a":1,"b":{"a":2}}', undefined],
    ['{"a":1,"\\u0061":2}', "a"],
    ['[{"__proto__":1,"__proto__":2}]', "__proto__"],
    ['{"toString":1}', undefined],
  ])("%s has the key %s twice", (text, key) => {
    const problem = key && `duplicate object key "${key}"`;
    expect(atOnce(readInSteps(bytesOf(text), false))?.problem).toBe(problem);
  });

  test.each([
    ["members", `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":1`).join()}}`],
    ["a long key", `{"${"k".repeat(100_000)}":1}`],
  ])("of a request ends at too many bytes of %s", (_, text) => {
    const { problem } = atOnce(readInSteps(bytesOf(text), false, requestBounds)) ?? {};
    expect(problem).toMatch(
      /^has an object of more than 16384 members$|^has a key of more than 65536 bytes$/,
    );
    expect(atOnce(readInSteps(bytesOf(text), false))?.problem).toBeUndefined();
  });

  test.each(["a", "\u00e9", "\ud83d\ude00", '\\"'])(
    "with a long text of %s is read and written",
    (char) => {
      const value = char.repeat(300_001);
      const text = JSON.stringify([value, 1]);
      const { value: read, most } = stepped(readInSteps(bytesOf(text), false));
      expect(read?.value).toEqual([value, 1]);
      if (char !== '\\"') expect(most).toBeLessThan(2 * stepBytes);
      const parts: string[] = [];
      const { most: mostWritten } = stepped(jsonPartsInSteps([value, 1], parts, true));
      expect(parts.join("") === text).toBe(true);
      expect(mostWritten).toBeLessThan(2 * stepBytes);
    },
  );

  test.each(["\t", "\u0000"])("with %j in a long text is refused", (char) => {
    for (const at of [10, 150_000, 299_999]) {
      const text = `"${"a".repeat(at)}${char}${"a".repeat(300_000 - at)}"`;
      expect(atOnce(readInSteps(bytesOf(text), false))).toBeUndefined();
    }
    const cut = Buffer.concat([bytesOf(`"${"a".repeat(100_000)}`), Buffer.from([0xc3, 0x22])]);
    expect(atOnce(readInSteps(cut, false))).toBeUndefined();
  });

  test("is written in its canonical form", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const parts: string[] = [];
        atOnce(jsonPartsInSteps(value as Json, parts, true));
        expect(parts.join("")).toBe(canonicalJson(value as Json));
      }),
    );
  });

  test.each([
    ["values", `[${"1,".repeat(200_000)}1]`],
    ["spaces", `[${" ".repeat(3_000_000)}]`],
    ["short strings", `[${'"a\\n",'.repeat(100_000)}""]`],
  ])("of many %s has no long step", (_, text) => {
    const { value, most, all } = stepped(readInSteps(bytesOf(text), false));
    expect(value).toBeDefined();
    expect(most).toBeLessThan(2 * stepBytes);
    expect(all).toBeGreaterThan(text.length / 16);
  });

  test("has a step of its own for a long string", () => {
    const text = `[1,"${"\u00e9".repeat(500_000)}",2]`;
    const { most } = stepped(readInSteps(bytesOf(text), false));
    expect(most).toBeLessThan(1_100_000 / 8);
    const { most: mostWritten } = stepped(jsonPartsInSteps(JSON.parse(text) as Json, [], true));
    expect(mostWritten).toBeLessThan(600_000 / 8 + stepBytes);
  });
});
