// Times, durations, selections and text for the terminal.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escaped, escapedJson } from "../../src/escape.ts";
import { byteCount, counted, displayWidth, fitted } from "../../src/cli/output/display.ts";
import { durationMs, UsageError } from "../../src/cli/arguments/options.ts";
import { ProgressPace } from "../../src/cli/output/progress.ts";
import { rangeOf, selectionFromFlags } from "../../src/cli/arguments/selection.ts";
import { isoTime, timestampOf } from "../../src/cli/arguments/time.ts";

describe("a time", () => {
  test.each([
    ["2026-01-31", "2026-01-31T00:00:00.000000Z"],
    ["2026-01-31T12:30", "2026-01-31T12:30:00.000000Z"],
    ["2026-01-31 12:30:01.5", "2026-01-31T12:30:01.500000Z"],
    ["2026-01-31T12:30:01.123456Z", "2026-01-31T12:30:01.123456Z"],
    ["2026-01-31T12:30:01.123456789Z", "2026-01-31T12:30:01.123456789Z"],
    ["2026-01-31T12:30:01.000001+02:00", "2026-01-31T10:30:01.000001Z"],
    ["1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.900000Z"],
  ])("%s is %s", (text, iso) => {
    expect(isoTime(timestampOf(text, "--time"))).toBe(iso);
  });

  test.each(["", "yesterday", "2026-02-31", "2026-13-01", "2026-01-31T25:00", "2026-01-31T12"])(
    'like "%s" is refused',
    (text) => {
      expect(() => timestampOf(text, "--time")).toThrow(UsageError);
    },
  );
});

test.each([
  ["500ms", 500],
  ["10", 10_000],
  ["1.5s", 1_500],
  ["2m", 120_000],
])("a duration %s is %d ms", (text, ms) => {
  expect(durationMs(text, "--timeout")).toBe(ms);
});

test.each(["", "0", "-1", "1d", "25h"])('a duration like "%s" is refused', (text) => {
  expect(() => durationMs(text, "--timeout")).toThrow("--timeout");
});

describe("a selection", () => {
  test("of a stream alone is that stream; with anything beside it, a query", () => {
    expect(selectionFromFlags({}, "s")).toEqual({ case: "stream", value: "s" });
    expect(selectionFromFlags({}, undefined)).toEqual({ case: undefined });
    expect(selectionFromFlags({ tag: ["a", "b"], type: ["T"] }, "s")).toEqual({
      case: "query",
      value: { items: [{ streams: ["s"], streamPrefixes: [], types: ["T"], tags: ["a", "b"] }] },
    });
  });

  test("as JSON stands alone and is read strictly", () => {
    const json = '{"items":[{"types":["A"]},{"streamPrefixes":["b-"]}]}';
    const { case: kind, value } = selectionFromFlags({ "query-json": json }, undefined);
    expect(kind).toBe("query");
    expect(value).toMatchObject({ items: [{ types: ["A"] }, { streamPrefixes: ["b-"] }] });
    expect(() => selectionFromFlags({ "query-json": json }, "s")).toThrow("says it all");
    expect(() => selectionFromFlags({ "query-json": '{"item":[]}' }, undefined)).toThrow(
      "--query-json",
    );
  });

  test("takes one beginning and one end, versions only within a stream", () => {
    const all = { case: undefined };
    const both = { "from-position": "1", "from-time": "2026-01-01" };
    expect(() => rangeOf(both, all)).toThrow("exclude each other");
    expect(() => rangeOf({ "to-version": "1" }, all)).toThrow("go with one stream");
    expect(() => rangeOf({ "from-position": "0" }, all)).toThrow("not a whole number from 1");
    expect(rangeOf({ "to-position": "7" }, all)).toEqual({
      from: { case: undefined },
      to: { case: "toPosition", value: 7n },
    });
  });
});

describe("text on a terminal", () => {
  test("cannot move the cursor or turn the direction of writing", () => {
    expect(escaped("a\u001B[2Jb\u009Bc\u202Ed\n")).toBe("a\\u001b[2Jb\\u009bc\\u202ed\\u000a");
    expect(escaped("a\u200Bb\u2028c\u{E0041}d")).toBe("a\\u200bb\\u2028c\\udb40\\udc41d");
  });

  test("as JSON stays the same value, with no control or invisible character", () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), fc.boolean(), (text, isLaidOut) => {
        const value = JSON.parse(text) as unknown;
        const json = escapedJson(
          isLaidOut ? JSON.stringify(value, null, 2) : JSON.stringify(value),
        );
        expect(JSON.parse(json)).toEqual(value);
        expect(json.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      }),
    );
  });

  test.each([
    [0, "0 events"],
    [1, "1 event"],
    [1n, "1 event"],
    [1_234, "1,234 events"],
  ])("counts %s as %s", (count, text) => {
    expect(counted(count, "event")).toBe(text);
  });

  test("is as wide as it shows, and cut where it does not fit", () => {
    expect(displayWidth("añ日本e\u0301")).toBe(7);
    expect(fitted("日本語", 6)).toBe("日本語");
    expect(fitted("日本語", 5)).toBe("日本…");
    expect(fitted("日本語", 4)).toBe("日…");
    expect(fitted("abc", 3)).toBe("abc");
    expect(fitted("abcd", 3)).toBe("ab…");
    expect(fitted("x".repeat(1_000_000), Number.POSITIVE_INFINITY)).toHaveLength(1_000_000);
  });

  test.each([
    [12, "12 B"],
    [1536, "1.5 KiB"],
    [128 * 1024, "128 KiB"],
    [3 * 1024 * 1024, "3 MiB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(byteCount(bytes)).toBe(text);
  });
});

describe("the time that is left", () => {
  test("is not told before enough is known, nor where there is no end", () => {
    const pace = new ProgressPace();
    pace.reached(0, 0);
    expect(pace.leftMs(1_000)).toBeUndefined();
    pace.reached(100, 1_000);
    expect(pace.leftMs(undefined)).toBeUndefined();
    expect(pace.leftMs(1_000)).toBe(9_000);
  });

  test("follows how fast it went lately", () => {
    const pace = new ProgressPace();
    for (let at = 0; at <= 20_000; at += 500) pace.reached(at, at);
    for (let at = 500; at <= 10_000; at += 500) pace.reached(20_000 + at / 10, 20_000 + at);
    expect(pace.leftMs(22_000)).toBe(10_000);
  });
});
