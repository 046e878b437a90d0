// The part of HPACK that a gRPC client needs: request headers through the dynamic table, so that a
// call costs seven bytes, and exact decoding of response headers, with a cache of known blocks.
// Source: RFC 7541. Huffman codes are canonical, so that the code lengths of the printable ASCII
// characters suffice.

const staticNames = [
  ":authority",
  ":method",
  ":method",
  ":path",
  ":path",
  ":scheme",
  ":scheme",
  ":status",
  ":status",
  ":status",
  ":status",
  ":status",
  ":status",
  ":status",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "accept-ranges",
  "accept",
  "access-control-allow-origin",
  "age",
  "allow",
  "authorization",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "etag",
  "expect",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "link",
  "location",
  "max-forwards",
  "proxy-authenticate",
  "proxy-authorization",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
];
const staticValues: Record<number, string> = {
  2: "GET",
  3: "POST",
  4: "/",
  5: "/index.html",
  6: "http",
  7: "https",
  8: "200",
  9: "204",
  10: "206",
  11: "304",
  12: "400",
  13: "404",
  14: "500",
  16: "gzip, deflate",
};

/** Code lengths of the characters 32 to 126. */
const codeLengths = [
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
  12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15,
  11, 14, 13,
];

/** `length:code` to character, by canonical order: shorter first, then by character. */
const characters = (() => {
  const symbols = codeLengths.map((length, i) => ({ length, symbol: 32 + i }));
  symbols.push({ length: 13, symbol: 0 });
  symbols.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  const byCode = new Map<number, number>();
  let code = 0;
  let length = 0;
  for (const next of symbols) {
    code *= 2 ** (next.length - length);
    length = next.length;
    byCode.set(length * 2 ** 20 + code, next.symbol);
    code++;
  }
  return byCode;
})();

function huffman(bytes: Uint8Array): string {
  let text = "";
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      const symbol = characters.get(length * 2 ** 20 + code);
      if (symbol === undefined) continue;
      text += String.fromCharCode(symbol);
      code = 0;
      length = 0;
    }
  }
  return text;
}

export type Headers = ReadonlyMap<string, string>;

const tableBytesMax = 4_096;
const entryOverheadBytes = 32;
/** Longer blocks contain literals, which seldom repeat. */
const knownBlockBytesMax = 16;

/** The receiving side of one connection. Every block must be passed in, in order. */
export class HeaderDecoder {
  /** The newest first. */
  private table: [name: string, value: string][] = [];
  private tableBytes = 0;
  private tableLimit = tableBytesMax;
  private readonly known = new Map<string, Headers>();

  decode(block: Buffer): Headers {
    const key = block.toString("latin1");
    const known = this.known.get(key);
    if (known) return known;
    const reader = new BlockReader(block);
    const headers = new Map<string, string>();
    let changed = false;
    while (!reader.done) {
      const first = reader.peek;
      if (first >= 0x80) {
        headers.set(...this.entry(reader.integer(7)));
      } else if (first >= 0x40) {
        const field = this.literal(reader, 6);
        headers.set(...field);
        this.insert(field);
        changed = true;
      } else if (first >= 0x20) {
        this.tableLimit = reader.integer(5);
        this.evict();
        changed = true;
      } else {
        headers.set(...this.literal(reader, 4));
      }
    }
    // The meaning of a block is constant until the table changes.
    if (changed) this.known.clear();
    else if (block.length <= knownBlockBytesMax) this.known.set(key, headers);
    return headers;
  }

  private literal(reader: BlockReader, prefixBits: number): [string, string] {
    const index = reader.integer(prefixBits);
    const name = index === 0 ? reader.text() : this.entry(index)[0];
    return [name, reader.text()];
  }

  private entry(index: number): [string, string] {
    if (index <= staticNames.length) {
      return [staticNames[index - 1] ?? "", staticValues[index] ?? ""];
    }
    const entry = this.table[index - staticNames.length - 1];
    if (!entry) throw new RangeError(`hpack: no entry ${index}`);
    return entry;
  }

  private insert(field: [string, string]): void {
    this.table.unshift(field);
    this.tableBytes += field[0].length + field[1].length + entryOverheadBytes;
    this.evict();
  }

  private evict(): void {
    while (this.tableBytes > this.tableLimit) {
      const [name, value] = this.table.pop() ?? ["", ""];
      this.tableBytes -= name.length + value.length + entryOverheadBytes;
    }
  }
}

class BlockReader {
  private readonly block: Buffer;
  private offset = 0;

  constructor(block: Buffer) {
    this.block = block;
  }

  get done(): boolean {
    return this.offset >= this.block.length;
  }

  get peek(): number {
    return this.block[this.offset] ?? 0;
  }

  integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.block[this.offset++] ?? 0) & mask;
    if (value < mask) return value;
    let scale = 1;
    for (;;) {
      const byte = this.block[this.offset++];
      if (byte === undefined) throw new RangeError("hpack: integer cut off");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  text(): string {
    const isHuffman = this.peek >= 0x80;
    const length = this.integer(7);
    const bytes = this.block.subarray(this.offset, this.offset + length);
    this.offset += length;
    return isHuffman ? huffman(bytes) : bytes.toString("latin1");
  }
}

/** The sending side of one connection: the request headers for a path. */
export class RequestHeaders {
  private readonly authority: string;
  private readonly contentType: string;
  private readonly shown: Buffer;
  /** In the order in which they entered the table. Small enough that none is ever evicted. */
  private readonly fields: string[] = [];
  private readonly blocks = new Map<string, { block: Buffer; inserted: number }>();

  /** `authorization` is sent in full with each request, as Node's clients do. */
  constructor(authority: string, authorization?: string, contentType = "application/grpc") {
    this.authority = authority;
    this.contentType = contentType;
    this.shown =
      authorization === undefined
        ? Buffer.alloc(0)
        : Buffer.concat([integer(0x10, 4, 23), coded(authorization)]);
  }

  get isGrpc(): boolean {
    return this.contentType === "application/grpc";
  }

  /**
   * The header block of the next call. Calls must be sent in the order in which they were
   * requested.
   */
  block(path: string): Buffer {
    const known = this.blocks.get(path);
    if (known?.inserted === this.fields.length) return known.block;
    const before = this.fields.length;
    const parts = [
      indexedMethodAndScheme,
      this.field(4, ":path", path),
      this.field(1, ":authority", this.authority),
      this.field(31, "content-type", this.contentType),
      this.field(0, "te", "trailers"),
      this.shown,
    ];
    const block = Buffer.concat(parts);
    // A block that inserts can be used once. The next one refers to what it inserted.
    if (this.fields.length === before) this.blocks.set(path, { block, inserted: before });
    return block;
  }

  /** `nameIndex` is the index of the name in the static table. 0: it is not there. */
  private field(nameIndex: number, name: string, value: string): Buffer {
    const field = `${name} ${value}`;
    const at = this.fields.indexOf(field);
    if (at >= 0) return integer(0x80, 7, staticNames.length + this.fields.length - at);
    this.fields.push(field);
    const key =
      nameIndex === 0 ? [Buffer.from([0x40]), coded(name)] : [integer(0x40, 6, nameIndex)];
    return Buffer.concat([...key, coded(value)]);
  }
}

/** `:method: POST` and `:scheme: http`. */
const indexedMethodAndScheme = Buffer.from([0x83, 0x86]);

function integer(flags: number, prefixBits: number, value: number): Buffer {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) return Buffer.from([flags | value]);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function coded(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([integer(0, 7, bytes.length), bytes]);
}
