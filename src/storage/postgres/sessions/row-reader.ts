// Reads the fields of a row in PostgreSQL's binary form, one after another: for each its length in
// four bytes (-1: NULL) and its value, big-endian.

import type { Arrived } from "./row-tap.ts";

const fieldsAt = 2;
const high = 0x1_0000_0000;

/** PostgreSQL's numbers of types. */
const oids = {
  bool: 16,
  bytea: 17,
  name: 19,
  int8: 20,
  int4: 23,
  text: 25,
  textArray: 1009,
  varchar: 1043,
  void: 2278,
  uuid: 2950,
  jsonb: 3802,
} as const;

export class RowReader {
  private bytes: Buffer;
  private at: number;
  /** Of the field that was begun last. */
  private length = 0;

  /** What it returns as bytes is part of what arrived. */
  constructor({ bytes, at }: Pick<Arrived, "bytes" | "at">) {
    this.bytes = bytes;
    this.at = at + fieldsAt;
  }

  /** An int8, or 0 for NULL. Exact up to 2^53 - 1. */
  number(): number {
    return this.begin() ? this.int8() : 0;
  }

  /** A bool, or false for NULL. */
  boolean(): boolean {
    return this.begin() && this.bytes[this.at++] === 1;
  }

  /** A text, or an empty one for NULL. */
  text(): string {
    return this.begin() ? this.utf8(this.length) : "";
  }

  /** A bytea, or undefined for NULL. */
  view(): Buffer | undefined {
    if (!this.begin()) return undefined;
    this.at += this.length;
    return this.bytes.subarray(this.at - this.length, this.at);
  }

  /** A value by its type, as a statement without a reader of its own gets it. */
  value(oid: number): unknown {
    if (!this.begin()) return null;
    switch (oid) {
      case oids.bool:
        return this.bytes[this.at++] === 1;
      case oids.int8:
        return this.int8();
      case oids.int4:
        this.at += 4;
        return this.bytes.readInt32BE(this.at - 4);
      case oids.name:
      case oids.text:
      case oids.varchar:
        return this.utf8(this.length);
      case oids.bytea:
        return Buffer.from(this.taken(this.length));
      case oids.uuid:
        return uuidOf(this.taken(this.length));
      case oids.textArray:
        return this.texts();
      case oids.jsonb:
        // The number of a version comes first.
        return JSON.parse(this.taken(this.length).toString("utf8", 1));
      case oids.void:
        return "";
      default:
        throw new Error(`a statement answers with a type that is not read: ${oid}`);
    }
  }

  /** Whether the next field has a value. */
  private begin(): boolean {
    this.length = this.bytes.readInt32BE(this.at);
    this.at += 4;
    return this.length >= 0;
  }

  private int8(): number {
    const { bytes, at } = this;
    this.at = at + 8;
    return bytes.readInt32BE(at) * high + bytes.readUInt32BE(at + 4);
  }

  private utf8(length: number): string {
    this.at += length;
    return this.bytes.toString("utf8", this.at - length, this.at);
  }

  private taken(length: number): Buffer {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** Dimensions, flags, type; of each dimension its length and its first index; the values. */
  private texts(): string[] {
    const begin = this.at;
    const end = begin + this.length;
    const count = this.bytes.readInt32BE(begin) === 0 ? 0 : this.bytes.readInt32BE(begin + 12);
    this.at = begin + 20;
    const texts = Array.from({ length: count }, () => this.text());
    this.at = end;
    return texts;
  }
}

function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${parts.join("-")}-${hex.slice(20)}`;
}
