// The findings of `annals verify`, for people: hundreds that differ only in names and positions are
// one line, and nothing else is lost.
import { describe, expect, test } from "vitest";
import { findingLines } from "../../src/cli/folders/findings.ts";

const table = "table 000007.ldb: the block at byte 3745 fails its CRC";
const posting = (name: string, position: number): string =>
  `stream "${name}" has no posting for positions up to ${position}`;

describe("findings", () => {
  test("that differ in names and positions alone are one line with both", () => {
    const many = Array.from({ length: 190 }, (_, i) => posting(`s-${i % 5}`, 1_200 + i));
    expect(findingLines([table, ...many])).toEqual([
      table,
      `${posting("s-0", 1_200)} (and 189 more like it: positions 1,200 to 1,389; ` +
        '"s-0", "s-1", "s-2", and 2 other names)',
    ]);
  });

  test("about a table are a line each, and so are two of a kind", () => {
    const tables = [1, 2, 3].map((byte) => `table 000007.ldb: the block at byte ${byte} fails`);
    const all = [...tables, posting("a", 1), posting("b", 2), "positions 3 to 4 are missing"];
    expect(findingLines(all)).toEqual(all);
  });

  test("about ids and keys are grouped without them", () => {
    const ids = ["0a", "1b", "2c"].map(
      (end) =>
        `the index does not lead from id 01a20760-7e23-7766-bb1c-0534e4b20a${end} to position 7`,
    );
    expect(findingLines(ids)).toEqual([`${ids[0]} (and 2 more like it: positions 7 to 7)`]);
  });
});
