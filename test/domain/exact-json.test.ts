// JSON whose numbers are kept: none changes, and what is read and written in steps is what `JSON`
// reads and writes.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsonTextInSteps, parseExactInSteps, parseExactJson } from "../../src/domain/exact-json.ts";
import { jsonShape, type Json } from "../../src/domain/json.ts";
import { atOnce, stepBytes } from "../../src/domain/steps.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

describe("exact JSON", () => {
  const exact = (text: string) => JSON.stringify(parseExactJson(bytesOf(text)));

  test.each([
    ["1e400", "1e400"],
    ['{"a":[9007199254740993,0.1,-1E-999]}', '{"a":[9007199254740993,0.1,-1E-999]}'],
    ["[1.50, 1e2, 12345678901234567000]", "[1.5,100,12345678901234567000]"],
    ['{"a":1e400,"a":2}', '{"a":2}'],
    ['{"a":2,"a":1e400}', '{"a":1e400}'],
    ['{"a":[1],"a":[1e400]}', '{"a":[1e400]}'],
    ['{"__proto__":1e400}', '{"__proto__":1e400}'],
    ['{"\\ud800":1,"\\udc00":1e400}', '{"\\ud800":1,"\\udc00":1e400}'],
    ['"1e400"', '"1e400"'],
  ])("%s is written as %s", (text, written) => {
    expect(exact(text)).toBe(written);
  });

  test("no generated number changes", () => {
    const digits = fc.stringMatching(/^(0|[1-9][0-9]{0,24})$/);
    const fraction = fc.stringMatching(/^(\.[0-9]{1,25})?$/);
    const power = fc.stringMatching(/^([eE][+-]?[0-9]{1,3})?$/);
    fc.assert(
      fc.property(fc.constantFrom("", "-"), digits, fraction, power, (...parts) => {
        const number = parts.join("");
        const [written] = /(?<=:\[).*(?=\])/.exec(exact(`{"a":[${number}]}`) ?? "") ?? [];
        expect(amount(written ?? "")).toEqual(amount(number));
      }),
    );
  });

  /** A number as an integer times 10^-1300, which is exact for all that are generated. */
  function amount(number: string): bigint {
    const [mantissa = "", power = "0"] = number.split(/e/i);
    const [whole = "", fraction = ""] = mantissa.split(".");
    return BigInt(whole + fraction) * 10n ** BigInt(1_300 + Number(power) - fraction.length);
  }

  test("deeper than states may be, numbers are doubles and nothing overflows", () => {
    const deep = `${"[".repeat(100_000)}1e400${"]".repeat(100_000)}`;
    expect(parseExactJson(bytesOf(deep))).toBeInstanceOf(Array);
    expect(parseExactJson(bytesOf("[1e400"))).toBeUndefined();
  });

  test("a text with one such number is otherwise read as JSON.parse reads it", () => {
    const spaced = fc.constantFrom(undefined, 1, "\t");
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), spaced, (value, space) => {
        const text = JSON.stringify({ value, exact: 0 }, null, space).replace(
          /0(\s*\})$/,
          "1e400$1",
        );
        const written = exact(text);
        expect(written).toBe(JSON.stringify({ value, exact: 0 }).replace(/0\}$/, "1e400}"));
      }),
    );
  });
});

describe("in steps", () => {
  test("the text is that of JSON.stringify, and its values are counted", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const { text, values } = atOnce(jsonTextInSteps(value as Json));
        expect(text).toBe(JSON.stringify(value));
        expect(values).toBe(jsonShape(bytesOf(text)).values);
      }),
    );
  });

  test("no step of many values costs much more than a step may", () => {
    const numbers = Array.from({ length: 10_000 }, (_, i) => `1234567890123456789${i}`);
    for (const text of [`[${numbers.join(",")}]`, `{"a":[${numbers.join(",")}]}`]) {
      const bytes = bytesOf(text);
      const reading = parseExactInSteps(bytes, jsonShape(bytes));
      let read = reading.next();
      const costs: number[] = [];
      while (read.done !== true) {
        costs.push(read.value);
        read = reading.next();
      }
      // The first two are looks at the whole text.
      expect(costs.length).toBeGreaterThan(10);
      expect(Math.max(...costs.slice(2))).toBeLessThan(2 * stepBytes);
      const writing = jsonTextInSteps(read.value ?? null);
      let stepCount = 0;
      let written = writing.next();
      for (; written.done !== true; written = writing.next()) stepCount++;
      expect(stepCount).toBeGreaterThan(8);
      expect(written.value.text).toBe(text);
    }
  });
});
