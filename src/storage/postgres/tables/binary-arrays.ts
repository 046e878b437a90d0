// Lists of values as PostgreSQL's binary form of an array: half as long as its text where it holds
// bytes, and written without a string in between. A value that is missing is NULL.
//
//   word dimensions, word 0, word type, word length, word 1 (the first index);
//   for each value: word length (-1: NULL), the value
//
// A word has four bytes, big-endian. Statements name the type of each parameter ($1::text[]): the
// type here has to be the same.

import { writeUint64 } from "../../leveldb/format/keys.ts";

/** PostgreSQL's numbers of types. */
const types = { bool: 16, bytea: 17, int8: 20, text: 25, uuid: 2950 } as const;

const headerBytes = 20;
const nullLength = -1;

export function textArray(texts: readonly string[]): Buffer {
  // A UTF-16 unit has at most three bytes in UTF-8.
  const bytes = texts.reduce((sum, { length }) => sum + 4 + 3 * length, headerBytes);
  const array = begun(types.text, texts.length, bytes);
  let offset = headerBytes;
  for (const text of texts) {
    const length = array.write(text, offset + 4);
    array.writeInt32BE(length, offset);
    offset += 4 + length;
  }
  return ended(array, texts.length, offset);
}

export function byteArray(list: readonly Uint8Array[]): Buffer {
  const bytes = list.reduce((sum, { length }) => sum + 4 + length, headerBytes);
  const array = begun(types.bytea, list.length, bytes);
  let offset = headerBytes;
  for (const each of list) {
    array.writeInt32BE(each.length, offset);
    array.set(each, offset + 4);
    offset += 4 + each.length;
  }
  return ended(array, list.length, offset);
}

export function numberArray(numbers: readonly (number | undefined)[]): Buffer {
  const array = begun(types.int8, numbers.length, headerBytes + 12 * numbers.length);
  let offset = headerBytes;
  for (const number of numbers) {
    array.writeInt32BE(number === undefined ? nullLength : 8, offset);
    offset += 4;
    if (number === undefined) continue;
    writeUint64(array, offset, number);
    offset += 8;
  }
  return ended(array, numbers.length, offset);
}

export function booleanArray(list: readonly boolean[]): Buffer {
  const array = begun(types.bool, list.length, headerBytes + 5 * list.length);
  let offset = headerBytes;
  for (const each of list) {
    array.writeInt32BE(1, offset);
    array[offset + 4] = each ? 1 : 0;
    offset += 5;
  }
  return ended(array, list.length, offset);
}

/** Of UUIDs in their text form. */
export function uuidArray(ids: readonly string[]): Buffer {
  const array = begun(types.uuid, ids.length, headerBytes + 20 * ids.length);
  let offset = headerBytes;
  for (const id of ids) {
    array.writeInt32BE(16, offset);
    array.write(id.replaceAll("-", ""), offset + 4, "hex");
    offset += 20;
  }
  return ended(array, ids.length, offset);
}

/** A value that is sent as a text. */
export type Scalar = string | number | boolean | null | undefined;

/** A list of texts or numbers as one text: for short ones, and for lists of lists. */
export function arrayLiteral(list: readonly Scalar[]): string {
  const each = (value: Scalar): string =>
    value === undefined || value === null
      ? "NULL"
      : `"${String(value).replaceAll(/["\\]/g, "\\$&")}"`;
  return `{${list.map(each).join(",")}}`;
}

function begun(type: number, length: number, bytes: number): Buffer {
  const array = Buffer.allocUnsafe(bytes);
  [1, 0, type, length, 1].forEach((word, i) => array.writeInt32BE(word, 4 * i));
  return array;
}

/** An empty array has no dimensions. */
function ended(array: Buffer, length: number, bytes: number): Buffer {
  if (length > 0) return array.subarray(0, bytes);
  array.writeInt32BE(0, 0);
  return array.subarray(0, 12);
}
