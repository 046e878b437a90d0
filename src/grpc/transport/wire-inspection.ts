// Walks over wire bytes along a message's descriptor without making objects. It counts nested
// messages, and finds the first field that is malformed or set too often. It ends at the first
// finding, so that a list of a million entries costs no more than one within the limit.
// Source: https://protobuf.dev/programming-guides/encoding/

import { isUtf8 } from "node:buffer";
import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import type { FieldViolation } from "../../domain/errors.ts";
import { listLimitOf, totalLimitOf } from "./list-limits.ts";
import { wireBytes, wireFixed32, wireFixed64, WireReader, wireVarint } from "../../domain/wire.ts";

const groupStart = 3;
const groupEnd = 4;
/** The depth at which the generated codec stops, too. */
const depthMax = 100;
/** A field that is no list may be repeated: the last one counts. No encoder does so often. */
const repetitionsMax = 16;
/** The limit of unknown fields, such as those of a newer contract, in a whole request. */
const unknownFieldsMax = 1 << 16;

export interface Inspection {
  readonly nestedMessages: number;
  readonly problem: FieldViolation | undefined;
  /** Whether the problem is that a well-formed message has too much of something. */
  readonly isBeyondLimit: boolean;
}

/** What is counted over all parts of a message. */
export class WireWalk {
  nested = 0;
  unknownFields = 0;
  /** By the name of the limit. */
  readonly totals = new Map<string, number>();
  readonly nestedMax: number;

  constructor(nestedMax: number) {
    this.nestedMax = nestedMax;
  }
}

/** A finding, thrown up the walk, which completes its path. */
class Finding extends Error {
  path: string;

  constructor(description: string, path = "") {
    super(description);
    this.path = path;
  }

  within(part: string): this {
    if (this.path === "") this.path = part;
    else this.path = this.path.startsWith("[") ? part + this.path : `${part}.${this.path}`;
    return this;
  }
}

/** The bytes are well-formed, but there are too many of something. */
class BeyondLimit extends Finding {}

/** Ends at the first problem, and soon after `nestedMax`. `walk`: of the parts before this one. */
export function inspectWire(
  schema: DescMessage,
  bytes: Uint8Array,
  nestedMax: number,
  walk = new WireWalk(nestedMax),
): Inspection {
  try {
    walkMessage(walk, schema, new WireReader(bytes), 1);
  } catch (error) {
    return problemOf(walk, error);
  }
  return { nestedMessages: walk.nested, problem: undefined, isBeyondLimit: false };
}

/**
 * Where the entries of a list of messages are, and what is around them, in pairs of offsets. No
 * entry is looked into.
 */
export function findEntries(
  list: DescField,
  bytes: Uint8Array,
  walk: WireWalk,
): Inspection & { readonly entries: readonly number[]; readonly rest: readonly number[] } {
  const { countMax, tooMany } = knownField(list, 0);
  const entries: number[] = [];
  const rest: number[] = [];
  const tagOfEntry = list.number * 8 + wireBytes;
  const reader = new WireReader(bytes);
  const others = new WireWalk(walk.nestedMax);
  while (!reader.done) {
    const { offset } = reader;
    if (passOther(reader, tagOfEntry, others)) {
      if (rest.at(-1) === offset) rest[rest.length - 1] = reader.offset;
      else rest.push(offset, reader.offset);
      continue;
    }
    const nth = entries.length / 2;
    if (nth >= countMax) {
      return { ...problemOf(walk, new BeyondLimit(tooMany, list.name)), entries, rest };
    }
    try {
      const end = reader.lengthEnd();
      entries.push(reader.offset, end);
      reader.offset = end;
    } catch (error) {
      const found = problemOf(walk, asFinding(error).within(`${list.name}[${nth}]`));
      return { ...found, entries, rest };
    }
  }
  return { nestedMessages: walk.nested, problem: undefined, isBeyondLimit: false, entries, rest };
}

/**
 * Whether a field with another tag follows. It is passed over; what is wrong with it is found when
 * it is inspected, and everything behind that with it.
 */
function passOther(reader: WireReader, tagOfEntry: number, others: WireWalk): boolean {
  try {
    const tag = reader.varint();
    if (tag === tagOfEntry) return false;
    passUnknown(others, reader, tag, 1);
  } catch {
    reader.offset = reader.end;
  }
  return true;
}

function problemOf({ nested: nestedMessages }: WireWalk, error: unknown): Inspection {
  const finding = asFinding(error);
  const problem = { field: finding.path, description: finding.message };
  return { nestedMessages, problem, isBeyondLimit: finding instanceof BeyondLimit };
}

/** A field of a message: its index among the message's fields, and how often it may be set. */
interface KnownField {
  readonly field: DescField;
  readonly index: number;
  readonly wireType: number;
  /** Its values may be in one field together. */
  readonly isPackable: boolean;
  readonly countMax: number;
  readonly tooMany: string;
  /** The limit over all messages of a request. */
  readonly totalName: string;
  readonly totalMax: number;
  readonly tooManyInAll: string;
}

const unbounded = { totalName: "", totalMax: Infinity, tooManyInAll: "" };
const fieldMaps = new WeakMap<DescMessage, ReadonlyMap<number, KnownField>>();

function fieldsOf(schema: DescMessage): ReadonlyMap<number, KnownField> {
  let fields = fieldMaps.get(schema);
  if (fields === undefined) {
    fields = new Map(schema.fields.map((field, index) => [field.number, knownField(field, index)]));
    fieldMaps.set(schema, fields);
  }
  return fields;
}

function knownField(field: DescField, index: number): KnownField {
  const wireType = wireTypeOf(field);
  const isOfScalars = field.fieldKind === "list" && field.listKind !== "message";
  const common = { field, index, wireType, isPackable: isOfScalars && wireType !== wireBytes };
  if (field.fieldKind !== "list" && field.fieldKind !== "map") {
    const tooMany = `is set more than ${repetitionsMax} times, but is no list`;
    return { ...unbounded, ...common, countMax: repetitionsMax, tooMany };
  }
  const { name, countMax } = listLimitOf(field);
  const tooMany = `has more entries than ${name} (${countMax})`;
  const total = totalLimitOf(field);
  if (total === undefined) return { ...unbounded, ...common, countMax, tooMany };
  const { name: totalName, countMax: totalMax } = total;
  const tooManyInAll = `with those before it has more entries than ${totalName} (${totalMax})`;
  return { ...common, countMax, tooMany, totalName, totalMax, tooManyInAll };
}

function walkMessage(walk: WireWalk, schema: DescMessage, reader: WireReader, depth: number): void {
  if (depth > depthMax) throw new Finding(`nests deeper than ${depthMax} messages`);
  const fields = fieldsOf(schema);
  const counts: number[] = [];
  while (!reader.done && walk.nested <= walk.nestedMax) {
    const tag = reader.varint();
    const found = fields.get(Math.floor(tag / 8));
    if (found === undefined) {
      passUnknown(walk, reader, tag, depth);
      continue;
    }
    const { field, index, countMax, tooMany } = found;
    const nth = counts[index] ?? 0;
    if (nth >= countMax) throw new BeyondLimit(tooMany, field.name);
    let count: number;
    try {
      const isPacked = tag % 8 === wireBytes && found.isPackable;
      count = isPacked ? countPacked(found, reader, countMax - nth) : 1;
      if (!isPacked && tag % 8 !== found.wireType) throw otherType(tag % 8);
      if (!isPacked) walkField(walk, field, reader, tag % 8, depth);
    } catch (error) {
      throw asFinding(error).within(
        field.fieldKind === "list" ? `${field.name}[${nth}]` : field.name,
      );
    }
    if (nth + count > countMax) throw new BeyondLimit(tooMany, field.name);
    counts[index] = nth + count;
    if (found.totalMax < Infinity) countInAll(walk, found, count);
  }
}

function countInAll(walk: WireWalk, known: KnownField, count: number): void {
  const total = (walk.totals.get(known.totalName) ?? 0) + count;
  if (total > known.totalMax) throw new BeyondLimit(known.tooManyInAll, known.field.name);
  walk.totals.set(known.totalName, total);
}

function walkField(
  walk: WireWalk,
  field: DescField,
  reader: WireReader,
  wireType: number,
  depth: number,
): void {
  if (wireType !== wireBytes) {
    reader.passOver(wireType);
    return;
  }
  const end = reader.lengthEnd();
  const { offset } = reader;
  reader.offset = end;
  if (field.fieldKind === "map") {
    walk.nested++;
    walkMapEntry(walk, field, new WireReader(reader.bytes, offset, end), depth + 1);
  } else if (field.message !== undefined) {
    walk.nested++;
    walkMessage(walk, field.message, new WireReader(reader.bytes, offset, end), depth + 1);
  } else if (field.scalar === ScalarType.STRING) {
    if (!isUtf8(reader.bytes.subarray(offset, end))) throw new Finding("is not valid UTF-8");
  }
}

/** How many values are in the field: at most one more than there is room for. */
function countPacked({ wireType }: KnownField, reader: WireReader, room: number): number {
  const end = reader.lengthEnd();
  const values = new WireReader(reader.bytes, reader.offset, end);
  let count = 0;
  for (; !values.done && count <= room; count++) values.passOver(wireType);
  reader.offset = end;
  return count;
}

function walkMapEntry(
  walk: WireWalk,
  field: DescField & { fieldKind: "map" },
  reader: WireReader,
  depth: number,
): void {
  for (let nth = 0; !reader.done; nth++) {
    if (nth >= repetitionsMax)
      throw new Finding(`has an entry of more than ${repetitionsMax} fields`);
    const tag = reader.varint();
    const isKey = tag === 0x0a;
    if (!isKey && tag !== 0x12) {
      passUnknown(walk, reader, tag, depth);
      continue;
    }
    const view = reader.view();
    if ((isKey || field.scalar === ScalarType.STRING) && !isUtf8(view)) {
      throw new Finding(`has a ${isKey ? "key" : "value"} that is not valid UTF-8`);
    }
    if (!isKey && field.message !== undefined) {
      walk.nested++;
      walkMessage(walk, field.message, new WireReader(view), depth + 1);
    }
  }
}

/**
 * Passes over an unknown field. A group ends at an end tag of the same number.
 */
function passUnknown(walk: WireWalk, reader: WireReader, tag: number, depth: number): void {
  if (++walk.unknownFields > unknownFieldsMax) {
    throw new Finding(`has more than ${unknownFieldsMax} fields that this server does not know`);
  }
  if (tag % 8 !== groupStart) {
    reader.passOver(tag % 8);
    return;
  }
  if (depth > depthMax) throw new Finding(`nests deeper than ${depthMax} messages`);
  for (;;) {
    const inner = reader.varint();
    if (inner % 8 !== groupEnd) passUnknown(walk, reader, inner, depth + 1);
    else if (Math.floor(inner / 8) === Math.floor(tag / 8)) return;
    else throw new Finding("has a group that ends as another");
  }
}

function otherType(wireType: number): Finding {
  return new Finding(`has the wire type ${wireType}, which is not that of its declared type`);
}

/** The reader throws RangeError for bytes that are cut off. Any other error is a fault of ours. */
function asFinding(error: unknown): Finding {
  if (error instanceof Finding) return error;
  if (error instanceof RangeError) return new Finding("is cut off or malformed");
  throw error;
}

function wireTypeOf(field: DescField): number {
  if (field.enum !== undefined && field.fieldKind !== "map") return wireVarint;
  if (field.message !== undefined || field.fieldKind === "map") return wireBytes;
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return wireBytes;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return wireFixed64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return wireFixed32;
    default:
      return wireVarint;
  }
}
