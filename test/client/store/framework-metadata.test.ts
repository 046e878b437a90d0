import fc from "fast-check";
import { expect, test } from "vitest";
import { packMetadata, unpackMetadata } from "../../../src/client/sdk.ts";

const name = "their-metadata";

test("text under a name stays an entry, everything else is one entry of JSON", () => {
  const metadata = {
    user: "ann",
    $kind: "x",
    "": "empty",
    count: 3,
    tags: ["a", "b"],
    no: undefined,
  };
  expect(packMetadata(name, metadata)).toEqual({
    user: "ann",
    [name]: '{"$kind":"x","":"empty","count":3,"tags":["a","b"]}',
  });
  expect(packMetadata(name, { user: "ann" })).toEqual({ user: "ann" });
  expect(packMetadata(name, {})).toEqual({});
});

test("what was packed comes back, whatever its names", () => {
  const key = fc.oneof(fc.constantFrom(name, "__proto__", "$x", ""), fc.string());
  const value = fc.oneof(fc.string(), fc.jsonValue({ noUnicodeString: false }));
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value), { maxLength: 80 }), (entries) => {
      const metadata = Object.fromEntries(entries);
      const packed = packMetadata(name, metadata);
      expect(Object.keys(packed).length).toBeLessThanOrEqual(64);
      expect(Object.keys(packed).some((each) => each.startsWith("$") || each === "")).toBe(false);
      expect(unpackMetadata(name, packed)).toEqual(metadata);
    }),
  );
});

test("what JSON would lose is refused, and a foreign entry of the name is kept", () => {
  expect(() => packMetadata(name, { at: { big: 1n } })).toThrow("big is a bigint");
  for (const text of ["no JSON", "[1]", "null"]) {
    expect(unpackMetadata(name, { [name]: text, a: "b" })).toEqual({ [name]: text, a: "b" });
  }
});
