// What the console makes of data before it shows it: JSON without a lost digit, hidden characters,
// differences of states, and figures of metrics.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { differences } from "../../web/src/data/difference.ts";
import { compact, readJson } from "../../web/src/data/exact-json.ts";
import { HeadRates } from "../../web/src/data/head-rates.ts";
import { lifecycleSentence } from "../../web/src/data/lifecycle-sentence.ts";
import { payloadOf, previewOf } from "../../web/src/data/payload.ts";
import { segmentsOf, visible } from "../../web/src/data/visible.ts";
import { gaugeOf, metricsOf, quantileOf } from "../../web/src/wire/metrics.ts";

const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString("base64");

describe("JSON", () => {
  test("that JavaScript writes is read as JavaScript reads it", () => {
    const read = (value: unknown): void => {
      const text = JSON.stringify(value);
      const exact = readJson(text);
      expect(exact).toBeDefined();
      if (exact !== undefined) expect(JSON.parse(compact(exact))).toEqual(JSON.parse(text));
    };
    fc.assert(fc.property(fc.jsonValue({ noUnicodeString: false }), read));
  });

  test("is accepted or refused as by JSON.parse", () => {
    const part = fc.constantFrom(...'{}[]:,"\\ntu0123.eE+-/ \t\u0001é'.split(""), "true", '"a"');
    const alike = (parts: string[]): void => {
      const text = parts.join("");
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      expect(readJson(text) !== undefined, text).toBe(isJson);
    };
    fc.assert(fc.property(fc.array(part, { maxLength: 12 }), alike), { numRuns: 5_000 });
  });

  test.each([
    '{"a":12345678901234567890.10,"b":9007199254740993,"c":1.0,"d":-0,"e":1e400}',
    '{"same":1,"same":2}',
    '[1,{"z":null,"a":[]},"\u007f\u2028"]',
  ])("keeps every digit, the order and what comes twice: %s", (text) => {
    const value = readJson(text);
    expect(value && compact(value)).toBe(text);
  });

  test("that is nested too deeply is text", () => {
    expect(readJson("[".repeat(100_000))).toBeUndefined();
    expect(readJson(`${"[".repeat(150)}${"]".repeat(150)}`)).toBeDefined();
  });
});

describe("a payload", () => {
  test.each([
    ["application/json", '{"a":1}', "json"],
    ["application/vnd.x+json", "1", "json"],
    ["application/json", '{"a":', "text"],
    ["text/plain", "hello", "text"],
    ["application/octet-stream", "hello", "bytes"],
    ["application/json", Uint8Array.of(0xff, 0xfe), "bytes"],
    ["application/json", "", "empty"],
  ])("of %s is shown as what it is: %s", (type, data, kind) => {
    expect(payloadOf(base64(data), type).kind).toBe(kind);
  });

  test("has a preview that is cheap and on one line", () => {
    const long = base64(`{\n  "a": "${"x".repeat(1_000_000)}"\n}`);
    expect(previewOf(long, "application/json")).toMatch(/^\{ "a": "x{100,500}$/);
    expect(previewOf(base64(Uint8Array.of(1, 255)), "image/raw")).toBe("01 ff");
  });
});

describe("hidden characters", () => {
  test.each([
    ["a\u202eb", "a<U+202E>b"],
    ["\u200b\u0007", "<U+200B><U+0007>"],
    ["a\u00a0\ufe0f\u{e0041}", "a<U+00A0><U+FE0F><U+E0041>"],
    ["plain Ünïcode 漢字 🎉", "plain Ünïcode 漢字 🎉"],
  ])("of %j are named", (text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  test("keep line breaks where lines are layout", () => {
    const texts = segmentsOf("a\n\tb\r", true).map(({ text }) => text);
    expect(texts).toEqual(["a\n\tb", "U+000D"]);
  });
});

describe("differences of states", () => {
  const lines = (before: string, after: string): string[] =>
    differences(readJson(before), readJson(after)).map(
      ({ kind, depth, name, text }) => `${kind} ${depth} ${name} ${text}`,
    );

  test("name what was added, removed and changed, and where", () => {
    expect(lines('{"a":1,"b":{"c":[1,2]},"d":0}', '{"a":1.0,"b":{"c":[1,3]},"e":"x"}')).toEqual([
      "same 0  {",
      "removed 1 a 1",
      "added 1 a 1.0",
      "same 1 b {",
      "same 2 c [",
      "same 3 0 1",
      "removed 3 1 2",
      "added 3 1 3",
      "same 2  ]",
      "same 1  }",
      "removed 1 d 0",
      'added 1 e "x"',
      "same 0  }",
    ]);
  });

  test("are none where nothing changed", () => {
    expect(lines('{"a":[1]}', '{"a":[1]}')).toEqual(['same 0  {"a":[1]}']);
  });
});

describe("metrics", () => {
  const text = [
    "# TYPE wait_seconds histogram",
    'wait_seconds_bucket{method="a",le="0.1"} 50',
    'wait_seconds_bucket{method="a",le="1"} 90',
    'wait_seconds_bucket{method="a",le="+Inf"} 100',
    'odd{text="a\\"b\\\\c, d=1"} 7 1700000000',
    "plain 3.5e3",
  ].join("\n");
  const metrics = metricsOf(text);

  test("are read with labels and values", () => {
    expect(gaugeOf(metrics, "plain")).toBe(3_500);
    expect(metrics.get("odd")?.[0]?.labels.get("text")).toBe('a"b\\c, d=1');
    expect(gaugeOf(metrics, "absent")).toBeUndefined();
  });

  test("have quantiles within their buckets, and none beyond the last", () => {
    expect(quantileOf(metrics, "wait_seconds", 0.5)).toBeCloseTo(0.1);
    expect(quantileOf(metrics, "wait_seconds", 0.7)).toBeCloseTo(0.55);
    expect(quantileOf(metrics, "wait_seconds", 0.99)).toBe(1);
    expect(quantileOf(metrics, "absent", 0.5)).toBeUndefined();
  });
});

test("rates of the head share what came between two looks", () => {
  const rates = new HeadRates();
  rates.saw(100, 1_000);
  rates.saw(110, 2_000);
  rates.saw(140, 5_000);
  expect(rates.rates.slice(-4)).toEqual([10, 10, 10, 10]);
  expect(rates.rates).toHaveLength(120);
});

test("a change of a stream's lifecycle is a sentence", () => {
  const data = base64(
    '{"actor":"ben","reason":"six","policy":{"maxCount":6,"maxAgeMicros":86400000000}}',
  );
  const sentence = "keeps only those of the last 1 d, the newest 6 events by ben: six";
  expect(lifecycleSentence("$StreamUpdated", data)).toBe(sentence);
  expect(lifecycleSentence("$StreamDeleted", base64("{}"))).toBe("deleted");
  expect(lifecycleSentence("OrderPlaced", data)).toBeUndefined();
});
