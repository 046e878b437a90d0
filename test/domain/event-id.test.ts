// The ids that the store makes: UUIDs of version 7 that hold the time and the position of their event.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { idChances, ownId, positionInId } from "../../src/domain/event.ts";

const chance = fc.integer({ min: 0, max: idChances - 1 });
const position = fc.oneof(
  fc.integer({ min: 1, max: 1_000 }),
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
);
const recordedAt = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1_000 });

describe("an id that the store makes", () => {
  test("is a UUID of version 7 that holds its position and its time", () => {
    fc.assert(
      fc.property(chance, position, recordedAt, (by, at, time) => {
        const id = ownId(by, at, time);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(positionInId(id)).toBe(at);
        expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(
          Math.floor(time / 1_000),
        );
      }),
    );
  });

  test("differs from every other by position, time or chance, and sorts by time and position", () => {
    fc.assert(
      fc.property(chance, chance, position, recordedAt, (by, other, at, time) => {
        expect(ownId(by, at, time) === ownId(other, at, time)).toBe(by === other);
        if (at === Number.MAX_SAFE_INTEGER) return;
        expect(ownId(by, at, time) < ownId(by, at + 1, time)).toBe(true);
        expect(ownId(by, at, time) < ownId(other, at, time + 1_000)).toBe(true);
      }),
    );
  });

  test("is not looked for in ids of other versions", () => {
    expect(positionInId("0190a1a2-0000-4000-8000-000000000001")).toBe(0);
  });
});
