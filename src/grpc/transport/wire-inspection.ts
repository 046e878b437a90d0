// A walk over wire bytes along a message's descriptor that makes no objects: how many messages are
// nested in it, and which field, if any, is not what it should be. Malformed requests are answered
// with its findings; well-formed ones meet it only where they are large.
// Source: https://protobuf.dev/programming-guides/encoding/

import { isUtf8 } from "node:buffer";
import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import type { FieldViolation } from "../../domain/errors.ts";
import { wireBytes, wireFixed32, wireFixed64, WireReader, wireVarint } from "../../domain/wire.ts";

const groupStart = 3;
const groupEnd = 4;
/** The generated codec's own bound. */
const depthMax = 100;

export interface Inspection {
  readonly nestedMessages: number;
  readonly problem: FieldViolation | undefined;
}

interface Walk {
  nested: number;
  readonly nestedMax: number;
}

/** A finding, on its way up to where its path is complete. */
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

/** Ends at the first problem, and soon after `nestedMax`. */
export function inspectWire(schema: DescMessage, bytes: Uint8Array, nestedMax: number): Inspection {
  const walk: Walk = { nested: 0, nestedMax };
  try {
    walkMessage(walk, schema, new WireReader(bytes), 1);
    return { nestedMessages: walk.nested, problem: undefined };
  } catch (error) {
    const { path, message } = asFinding(error);
    return { nestedMessages: walk.nested, problem: { field: path, description: message } };
  }
}

const fieldMaps = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

function fieldsOf(schema: DescMessage): ReadonlyMap<number, DescField> {
  let fields = fieldMaps.get(schema);
  if (fields === undefined) {
    fields = new Map(schema.fields.map((field) => [field.number, field]));
    fieldMaps.set(schema, fields);
  }
  return fields;
}

function walkMessage(walk: Walk, schema: DescMessage, reader: WireReader, depth: number): void {
  if (depth > depthMax) throw new Finding(`nests deeper than ${depthMax} messages`);
  const fields = fieldsOf(schema);
  let counts: Map<DescField, number> | undefined;
  while (!reader.done && walk.nested <= walk.nestedMax) {
    const tag = reader.varint();
    const field = fields.get(Math.floor(tag / 8));
    if (field === undefined) {
      passUnknown(reader, tag, depth);
      continue;
    }
    let nth = 0;
    if (field.fieldKind === "list") {
      counts ??= new Map();
      nth = counts.get(field) ?? 0;
      counts.set(field, nth + 1);
    }
    try {
      walkField(walk, field, reader, tag % 8, depth);
    } catch (error) {
      throw asFinding(error).within(
        field.fieldKind === "list" ? `${field.name}[${nth}]` : field.name,
      );
    }
  }
}

function walkField(
  walk: Walk,
  field: DescField,
  reader: WireReader,
  wireType: number,
  depth: number,
): void {
  const packed = wireType === wireBytes && isPackable(field);
  if (wireType !== wireTypeOf(field) && !packed) {
    throw new Finding(`has the wire type ${wireType}, which is not that of its declared type`);
  }
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

function walkMapEntry(
  walk: Walk,
  field: DescField & { fieldKind: "map" },
  reader: WireReader,
  depth: number,
): void {
  while (!reader.done) {
    const tag = reader.varint();
    const isKey = tag === 0x0a;
    if (!isKey && tag !== 0x12) {
      passUnknown(reader, tag, depth);
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
 * Passes over a field nobody knows, which may be a group: fields up to an end of the same number.
 */
function passUnknown(reader: WireReader, tag: number, depth: number): void {
  if (tag % 8 !== groupStart) {
    reader.passOver(tag % 8);
    return;
  }
  if (depth > depthMax) throw new Finding(`nests deeper than ${depthMax} messages`);
  for (;;) {
    const inner = reader.varint();
    if (inner % 8 !== groupEnd) passUnknown(reader, inner, depth + 1);
    else if (Math.floor(inner / 8) === Math.floor(tag / 8)) return;
    else throw new Finding("has a group that ends as another");
  }
}

/** What the reader throws is bytes that are cut off; anything else is a fault of ours. */
function asFinding(error: unknown): Finding {
  if (error instanceof Finding) return error;
  if (error instanceof RangeError) return new Finding("is cut off or malformed");
  throw error;
}

function isPackable(field: DescField): boolean {
  return field.fieldKind === "list" && field.listKind !== "message" && wireTypeOf(field) !== 2;
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
