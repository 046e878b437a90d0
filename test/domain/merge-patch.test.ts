// JSON Merge Patch against the examples of RFC 7396, its own pseudo code, and hostile keys; and the
// canonical text of JSON.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  canonicalJson,
  isJsonContentType,
  jsonShape,
  parseJson,
  type Json,
} from "../../src/domain/json.ts";
import { mergePatch } from "../../src/domain/merge-patch.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

describe("merge patch", () => {
  // RFC 7396, appendix A.
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', "{}"],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', "null", "null"],
    ['{"a":"foo"}', '"bar"', '"bar"'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ["[1,2]", '{"a":"b","c":null}', '{"a":"b"}'],
    ["{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])("%s patched with %s is %s", (target, patch, result) => {
    expect(mergePatch(JSON.parse(target), JSON.parse(patch))).toEqual(JSON.parse(result));
  });

  test("keys that objects inherit are data like any other", () => {
    const patch = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    const state = mergePatch(mergePatch(null, JSON.parse(patch)), JSON.parse('{"toString":{}}'));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(state)).toBe(Object.prototype);
    expect(canonicalJson(state)).toBe(
      canonicalJson(JSON.parse(`${patch.slice(0, -1)},"toString":{}}`)),
    );
    const less = mergePatch(state, JSON.parse('{"__proto__":{"polluted":null},"toString":null}'));
    expect(JSON.stringify(less)).toBe(
      '{"__proto__":{},"constructor":{"prototype":{"polluted":true}}}',
    );
  });

  test("generated folds are those of the RFC's pseudo code, which copies", () => {
    const key = fc.constantFrom("a", "b", "__proto__", "constructor", "0");
    const json = fc.letrec<{ json: Json }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 3, depthSize: "small" },
        fc.constantFrom<Json>(null, 1, "x", true),
        fc.array(tie("json"), { maxLength: 2 }),
        fc
          .array(fc.tuple(key, tie("json")), { maxLength: 3 })
          .map((members) => Object.fromEntries(members)),
      ),
    })).json;
    fc.assert(
      fc.property(fc.array(json), (patches) => {
        const copies = patches.map((patch) => structuredCopy(patch));
        const state = copies.reduce<Json>((target, patch) => mergePatch(target, patch), null);
        const expected = patches.reduce<Json>(
          (target, patch) => byTheLifecycles(target, patch),
          null,
        );
        expect(canonicalJson(state)).toBe(canonicalJson(expected));
      }),
    );
  });

  function structuredCopy(value: Json): Json {
    return JSON.parse(JSON.stringify(value)) as Json;
  }

  /** Section 2 of the RFC, with maps for objects. */
  function byTheLifecycles(target: Json, patch: Json): Json {
    if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
    const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
    const members = new Map(isObject ? Object.entries(target) : []);
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) members.delete(name);
      else members.set(name, byTheLifecycles(members.get(name) ?? null, value));
    }
    return Object.fromEntries(members);
  }
});

describe("canonical JSON", () => {
  test.each([
    ['{"b": [1, {"d": null, "c": true}], "a": ""}', '{"a":"","b":[1,{"c":true,"d":null}]}'],
    ['{"10":1,"9":2,"é":3,"€":4,"\\ud83d\\ude00":5}', '{"10":1,"9":2,"é":3,"€":4,"😀":5}'],
    ["[1e21, 1E5, -0, 0.10]", "[1e+21,100000,0,0.1]"],
    ['"\\u0007\\u20ac\\/"', '"\\u0007€/"'],
    ['{"__proto__":1,"__a":2}', '{"__a":2,"__proto__":1}'],
  ])("%s becomes %s", (text, canonical) => {
    expect(canonicalJson(JSON.parse(text))).toBe(canonical);
  });

  test("says the same value whatever the order of its keys", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value as Json);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("what JSON cannot say is refused", () => {
    expect(() => canonicalJson([Number.NaN])).toThrow(RangeError);
    expect(() => canonicalJson({ a: Number.POSITIVE_INFINITY })).toThrow(RangeError);
  });
});

describe("JSON payloads", () => {
  test.each([
    ["application/json", true],
    ["Application/JSON; charset=utf-8", true],
    ["application/cloudevents+json", true],
    ["application/octet-stream", false],
    ["application/jsonlines", false],
    ["", false],
  ])("the content type %s is JSON: %s", (contentType, expected) => {
    expect(isJsonContentType(contentType)).toBe(expected);
  });

  test.each([
    ["cut off", bytesOf('{"a":')],
    ["empty", bytesOf("")],
    ["with a byte order mark", bytesOf("\ufeff{}")],
    ["not UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
  ])("bytes that are %s are no JSON", (_, bytes) => {
    expect(parseJson(bytes)).toBeUndefined();
  });

  test.each([
    ["1", 0],
    ["[]", 1],
    ['{"a":[{"b":"[[[{{\\"[["}],"c":{}}', 3],
    ["[".repeat(100_000), 100_000],
  ])("depth is counted outside of strings, without recursion", (text, depth) => {
    expect(jsonShape(bytesOf(text)).depth).toBe(depth);
  });

  test("the scan counts at least the values that the parser makes, and finds their pairs", () => {
    const count = (json: Json): number =>
      typeof json === "object" && json !== null
        ? Object.values(json).reduce((sum: number, each) => sum + count(each), 1)
        : 1;
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = bytesOf(JSON.stringify(value));
        const { values, isPaired } = jsonShape(text);
        expect(isPaired).toBe(true);
        expect(values).toBeGreaterThanOrEqual(count(value as Json));
        expect(values).toBeLessThanOrEqual(2 * text.length + 1);
      }),
    );
  });
});
