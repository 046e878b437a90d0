// The receiving side of HPACK for one connection. Every block must be decoded, in order, also those
// of streams that are refused: the dynamic table is the connection's.
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

type FieldLimits = Pick<Http2Limits, "headerListBytesMax" | "headerFieldsMax">;

/** What we allow the peer: the value every connection begins with. */
const tableBytesMax = 4_096;
/** Longer blocks carry literals, which seldom come twice. */
const knownBlockBytesMax = 128;
const knownBlocksMax = 8;
const nothing: Buffer = Buffer.alloc(0);

export class HeaderDecoder<Meaning> {
  private readonly limits: FieldLimits;
  private readonly meaningOf: (list: FieldList) => Meaning;
  /** The newest last; those before `oldest` are evicted. */
  private table: Field[] = [];
  private oldest = 0;
  private tableBytes = 0;
  private tableLimit = tableBytesMax;
  /** Blocks that only refer, by their bytes: each means the same until the table changes. */
  private readonly known = new Map<string, Meaning>();
  /** What is being decoded. */
  private block = nothing;
  private at = 0;
  private hasChanged = false;

  constructor(limits: FieldLimits, meaningOf: (list: FieldList) => Meaning) {
    this.limits = limits;
    this.meaningOf = meaningOf;
  }

  /** A block's meaning, found again where the same block came before. Throws COMPRESSION_ERROR. */
  meaning(block: Buffer): Meaning {
    if (block.length > knownBlockBytesMax) return this.meaningOf(this.decode(block));
    const key = block.toString("latin1");
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const meaning = this.meaningOf(this.decode(block));
    if (this.hasChanged) return meaning;
    if (this.known.size >= knownBlocksMax) this.known.clear();
    this.known.set(key, meaning);
    return meaning;
  }

  /** Throws COMPRESSION_ERROR. */
  decode(block: Buffer): FieldList {
    this.block = block;
    this.at = 0;
    this.hasChanged = false;
    const fields: Field[] = [];
    let bytes = 0;
    let isTooLarge = false;
    while (this.at < block.length) {
      const field = this.next(bytes === 0);
      if (field === undefined) continue;
      bytes += field.bytes;
      const { headerListBytesMax, headerFieldsMax } = this.limits;
      isTooLarge ||= bytes > headerListBytesMax || fields.length >= headerFieldsMax;
      if (!isTooLarge) fields.push(field);
    }
    // The block is a view of what was read from the socket, which it would keep.
    this.block = nothing;
    if (this.hasChanged) this.known.clear();
    return { fields, bytes, isTooLarge };
  }

  /** The next field; undefined after a change of the table's size. */
  private next(isFirst: boolean): Field | undefined {
    const first = this.block[this.at] as number;
    if (first >= 0x80) return this.entry(this.integer(7));
    if (first >= 0x40) {
      const field = this.literal(6);
      this.hasChanged = true;
      this.table.push(field);
      this.tableBytes += field.bytes;
      this.evict();
      return field;
    }
    if (first < 0x20) return this.literal(4);
    const limit = this.integer(5);
    if (!isFirst) throw failure("a change of the table's size behind a field");
    if (limit > tableBytesMax) throw failure("a table larger than allowed");
    this.tableLimit = limit;
    this.hasChanged = true;
    this.evict();
    return undefined;
  }

  private literal(prefixBits: number): Field {
    const index = this.integer(prefixBits);
    const name = index === 0 ? this.text() : this.entry(index).name;
    return fieldOf(name, this.text());
  }

  private entry(index: number): Field {
    const entry =
      index <= staticTable.length
        ? staticTable[index - 1]
        : this.dynamicEntry(this.table.length - (index - staticTable.length));
    if (entry === undefined) throw failure(`no entry ${index}`);
    return entry;
  }

  private dynamicEntry(at: number): Field | undefined {
    return at >= this.oldest ? this.table[at] : undefined;
  }

  private evict(): void {
    while (this.tableBytes > this.tableLimit) {
      this.tableBytes -= (this.table[this.oldest++] as Field).bytes;
    }
    if (this.oldest < 64) return;
    this.table = this.table.slice(this.oldest);
    this.oldest = 0;
  }

  /** RFC 7541, section 5.1. Four bytes more than the prefix hold all that can make sense here. */
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
    const first = this.block[this.at];
    if (first === undefined) throw failure("a text that is cut off");
    const length = this.integer(7);
    const start = this.at;
    this.at += length;
    if (this.at > this.block.length) throw failure("a text that is cut off");
    if (first < 0x80) return this.block.toString("latin1", start, this.at);
    const text = decodeHuffman(this.block, start, this.at);
    if (text === undefined) throw failure("an invalid Huffman code");
    return text;
  }
}

function failure(message: string): Http2Error {
  return new Http2Error("compression", `HPACK: ${message}`);
}
