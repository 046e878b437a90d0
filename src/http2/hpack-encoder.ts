// The sending side of HPACK. It uses the static table and plain literals that no table keeps, so
// that a block means the same on every connection: made once, headers that repeat cost a copy of a
// few bytes.
// Source: RFC 7541, sections 5 and 6.2.2.

import { fieldOf, staticTable } from "./header-fields.ts";

/** Headers for any stream of any connection, any number of times. */
export interface HeaderBlock {
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** In HPACK. Undefined: they were not sent by HTTP/2 yet. */
  encoded: Buffer | undefined;
}

/** By the name and the value, and by the name alone: the first of its entries. */
const indexes = new Map<string, number>();
for (const [at, { name, value }] of [...staticTable.entries()].toReversed()) {
  indexes.set(name, at + 1);
  indexes.set(`${name} ${value}`, at + 1);
}

/**
 * Pseudo-headers first; characters are bytes (latin1). Throws a RangeError for a name or a value
 * that HTTP does not allow.
 */
export function encodeHeaders(fields: HeaderBlock["fields"]): HeaderBlock {
  for (const [name, value] of fields) {
    if (!fieldOf(name, value).isSound) throw new RangeError(`not a header: ${name}`);
  }
  return { fields, encoded: undefined };
}

/** The headers in HPACK. */
export function hpackOf(fields: HeaderBlock["fields"]): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    const index = indexes.get(`${name} ${value}`);
    const nameIndex = indexes.get(name) ?? 0;
    if (index !== undefined) parts.push(integer(0x80, 7, index));
    else if (nameIndex > 0) parts.push(integer(0, 4, nameIndex), textOf(value));
    else parts.push(integer(0, 4, 0), textOf(name), textOf(value));
  }
  return Buffer.concat(parts);
}

function textOf(value: string): Buffer {
  return Buffer.concat([integer(0, 7, value.length), Buffer.from(value, "latin1")]);
}

function integer(flags: number, prefixBits: number, value: number): Buffer {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) return Buffer.from([flags | value]);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
