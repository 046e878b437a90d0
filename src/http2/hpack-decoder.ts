// The receiving side of HPACK for one connection. Every block must be decoded in order, even those
// of refused streams, because the dynamic table belongs to the connection.
// Source: RFC 7541, sections 2 to 6.

import { fieldOf, staticTable, type Field } from "./header-fields.ts";
import { decodeHuffman } from "./huffman.ts";
import type { Http2Limits } from "./limits.ts";
import { Http2Error } from "./protocol.ts";

export interface FieldList {
  /** The fields within the limits, in order. */
  readonly fields: readonly Field[];
  /** The size of all fields, as RFC 7541 counts it. */
  readonly bytes: number;
  readonly isTooLarge: boolean;
}

/** The size of the table that the peer may use: the initial value of every connection. */
const tableBytesMax = 4_096;
/** Longer blocks contain literals, which are seldom repeated. */
const knownBlockBytesMax = 128;
const knownBlocksMax = 8;
/**
 * `:path` and `authorization` in the static table. Many clients keep them out of the dynamic table
 * and send them in full with each request.
 */
const repeatedNames: ReadonlySet<number> = new Set([4, 5, 23]);
const nothing: Buffer = Buffer.alloc(0);

export class HeaderDecoder<Meaning> {
  private readonly limits: Pick<Http2Limits, "headerListBytesMax" | "headerFieldsMax">;
  private readonly meaningOf: (list: FieldList) => Meaning;
  /** By index: the static table, and behind it the dynamic table, the newest entry first. */
  private readonly table: (Field | undefined)[] = [undefined, ...staticTable];
  private tableBytes = 0;
  private tableLimit = tableBytesMax;
  /** Decoded blocks, by their bytes. They are valid until the table changes. */
  private readonly known: { readonly bytes: Buffer; readonly meaning: Meaning }[] = [];
  /** The last literals of `repeatedNames`, by the index of the name. */
  private readonly literals = new Map<number, { readonly bytes: Buffer; readonly field: Field }>();
  /** The block that is being decoded. */
  private block = nothing;
  private at = 0;
  private hasChanged = false;

  constructor(limits: HeaderDecoder<Meaning>["limits"], meaningOf: (list: FieldList) => Meaning) {
    this.limits = limits;
    this.meaningOf = meaningOf;
  }

  /** Decodes a block, or finds the result of an equal one. Throws COMPRESSION_ERROR. */
  meaning(block: Buffer): Meaning {
    for (const { bytes, meaning } of this.known) if (bytes.equals(block)) return meaning;
    const meaning = this.meaningOf(this.decode(block));
    if (this.hasChanged || block.length > knownBlockBytesMax) return meaning;
    if (this.known.length >= knownBlocksMax) this.known.length = 0;
    this.known.push({ bytes: Buffer.from(block), meaning });
    return meaning;
  }

  /** Throws COMPRESSION_ERROR. */
  decode(block: Buffer): FieldList {
    this.block = block;
    this.at = 0;
    this.hasChanged = false;
    const { headerListBytesMax, headerFieldsMax } = this.limits;
    const fields: Field[] = [];
    let bytes = 0;
    let isTooLarge = false;
    while (this.at < block.length) {
      const field = this.next(bytes === 0);
      if (field === undefined) continue;
      bytes += field.bytes;
      isTooLarge ||= bytes > headerListBytesMax || fields.length >= headerFieldsMax;
      if (!isTooLarge) fields.push(field);
    }
    // The block is a view of the socket's buffer, which the key would keep in memory.
    this.block = nothing;
    if (this.hasChanged) this.known.length = 0;
    return { fields, bytes, isTooLarge };
  }

  /** The next field; undefined after a change of the table's size. */
  private next(isFirst: boolean): Field | undefined {
    const first = this.block[this.at] as number;
    if (first >= 0x80) return this.entry(this.integer(7));
    if (first < 0x20) return this.literal(4);
    if (first < 0x40) {
      this.tableLimit = this.integer(5);
      if (!isFirst) throw failure("a change of the table's size behind a field");
      if (this.tableLimit > tableBytesMax) throw failure("a table larger than allowed");
      return this.evict();
    }
    const field = this.literal(6);
    this.table.splice(staticTable.length + 1, 0, field);
    this.tableBytes += field.bytes;
    this.evict();
    return field;
  }

  /** A field of a repeated name seldom differs from the last one: it is decoded once. */
  private literal(prefixBits: number): Field {
    const index = this.integer(prefixBits);
    const { block, at: start } = this;
    const last = this.literals.get(index);
    // The bytes begin with their length, so a prefix that is the same is the same text.
    if (last?.bytes.equals(block.subarray(start, start + last.bytes.length)) === true) {
      this.at += last.bytes.length;
      return last.field;
    }
    const name = index === 0 ? this.text() : this.entry(index).name;
    const field = fieldOf(name, this.text());
    if (repeatedNames.has(index)) {
      // A copy, because the block is a view of the bytes that were read from the socket.
      this.literals.set(index, { bytes: Buffer.from(block.subarray(start, this.at)), field });
    }
    return field;
  }

  private entry(index: number): Field {
    const entry = this.table[index];
    if (entry === undefined) throw failure(`no entry ${index}`);
    return entry;
  }

  /** The table has changed. */
  private evict(): undefined {
    this.hasChanged = true;
    while (this.tableBytes > this.tableLimit) this.tableBytes -= this.table.pop()?.bytes ?? 0;
  }

  /** RFC 7541, section 5.1. Four bytes after the prefix hold every value that is valid here. */
  private integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.block[this.at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.block[this.at++];
      if (byte === undefined) throw failure("an integer that is cut off");
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw failure("an integer that is too large");
  }

  /** RFC 7541, section 5.2. */
  private text(): string {
    const isHuffman = (this.block[this.at] as number) >= 0x80;
    const length = this.integer(7);
    const start = this.at;
    this.at += length;
    if (this.at > this.block.length) throw failure("a text that is cut off");
    if (!isHuffman) return this.block.toString("latin1", start, this.at);
    const text = decodeHuffman(this.block, start, this.at);
    if (text === undefined) throw failure("an invalid Huffman code");
    return text;
  }
}

function failure(message: string): Http2Error {
  return new Http2Error("compression", `HPACK: ${message}`);
}
