// Side values: checkpoints, snapshots, and what consumer groups keep, in a table of their own.

import { corruption } from "../../../domain/errors.ts";
import type { SideValue, SideValuePage, SideValueSpace } from "../../storage.ts";
import { sideCrc } from "../tables/rows.ts";
import { headColumnCount, headColumns, headIn, type HeadKeeper } from "../head/log-head.ts";
import type { Asker, Row } from "../sessions/session.ts";

const byName = {
  name: "side-values-by-name",
  text: `SELECT ${headColumns}, s.name, s.value, s.crc FROM head h
    LEFT JOIN side_value s ON s.space = $1 AND s.name = ANY ($2::text[])`,
};

const listed = {
  name: "side-values-listed",
  text: `SELECT ${headColumns}, s.name, CASE WHEN $6 THEN ''::bytea ELSE s.value END, s.crc
    FROM head h LEFT JOIN LATERAL (
      SELECT * FROM side_value s WHERE s.space = $1 AND s.name >= $2 AND ($3 = '' OR s.name < $3)
        AND s.name > $4 ORDER BY s.name LIMIT $5
    ) s ON true ORDER BY s.name`,
};

const valuesAtOnce = 200;
const nothing = new Uint8Array();

export async function sideValuesByName(
  database: Asker,
  keeper: HeadKeeper,
  space: SideValueSpace,
  names: Iterable<string>,
): Promise<Map<string, Uint8Array>> {
  const asked = keeper.head;
  const rows = await database.rows(byName, [space, [...new Set(names)]]);
  await reachHeadOf(rows, keeper, asked);
  return new Map(found(rows).map((row) => [row.name, checked(space, row)]));
}

export async function sideValuesListed(
  database: Asker,
  keeper: HeadKeeper,
  page: SideValuePage,
): Promise<SideValue[]> {
  const { space, prefix, limit, namesOnly = false } = page;
  const values: SideValue[] = [];
  let { after } = page;
  // Values may be large: some at a time.
  for (let room = limit; room > 0;) {
    const some = Math.min(room, valuesAtOnce);
    const asked = keeper.head;
    const bounds = [space, prefix, afterPrefix(prefix), after, some, namesOnly];
    const rows = await database.rows(listed, bounds);
    await reachHeadOf(rows, keeper, asked);
    const read = found(rows);
    for (const row of read) {
      const value = namesOnly ? nothing : checked(space, row);
      values.push({ space, name: row.name, value });
      after = row.name;
    }
    if (read.length < some) break;
    room -= some;
  }
  return values;
}

/** The least text after all that begin with the prefix, by their bytes. Empty: there is none. */
export function afterPrefix(prefix: string): string {
  const points = Array.from(prefix, (each) => each.codePointAt(0) as number);
  while (points.length > 0) {
    const last = (points.pop() as number) + 1;
    // Surrogates are no characters.
    if (last <= 0x10ffff) return String.fromCodePoint(...points, last === 0xd800 ? 0xe000 : last);
  }
  return "";
}

interface FoundValue {
  readonly name: string;
  readonly value: Uint8Array;
  readonly crc: number;
}

function found(rows: readonly Row[]): FoundValue[] {
  return rows
    .filter((row) => row[headColumnCount] !== null)
    .map((row) => {
      const [name, value, crc] = row.slice(headColumnCount) as [string, Uint8Array, number];
      return { name, value, crc };
    });
}

async function reachHeadOf(
  rows: readonly Row[],
  keeper: HeadKeeper,
  asked: HeadKeeper["head"],
): Promise<void> {
  const [row] = rows;
  if (row !== undefined) await keeper.reach(headIn(row), asked);
}

function checked(space: SideValueSpace, { name, value, crc }: FoundValue): Uint8Array {
  if (sideCrc(space, name, value) === crc) return value;
  throw corruption(`the side value ${JSON.stringify(name)} fails its CRC`);
}
