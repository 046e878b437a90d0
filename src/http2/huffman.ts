// HPACK's Huffman code. The code is canonical: sorted by length, then by symbol, the codes count
// up, so the lengths define it. Decoding walks a table of states, half a byte at a time.
// Source: RFC 7541, section 5.2 and appendix B.

/** The code lengths of the symbols 0 to 255 and, last, of the end of the string. */
const lengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
  6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6,
  7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
  23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22,
  22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22,
  23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27,
  27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25,
  24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const endOfString = 256;

const codes = lengths.map(() => 0);
/** The tree: from an inner node by a bit to the next, or, as -1 - symbol, to a symbol. */
const tree: [number, number][] = [[0, 0]];

const inOrder = lengths.map((length, symbol) => ({ length, symbol }));
let code = 0;
let lengthBefore = 0;
for (const { length, symbol } of inOrder.toSorted(
  (a, b) => a.length - b.length || a.symbol - b.symbol,
)) {
  code *= 2 ** (length - lengthBefore);
  lengthBefore = length;
  codes[symbol] = code;
  plant(code++, length, symbol);
}

function plant(path: number, length: number, symbol: number): void {
  let at = 0;
  for (let depth = length - 1; depth >= 0; depth--) {
    const node = tree[at] as [number, number];
    const bit = (path >>> depth) & 1;
    if (depth === 0) node[bit] = -1 - symbol;
    else if (node[bit] === 0) node[bit] = tree.push([0, 0]) - 1;
    at = node[bit] as number;
  }
}

const nothing = -1;
const invalid = -2;
/** By state and half a byte: the next state, and the symbol that ended on the way, if one did. */
const nextStates = new Uint8Array(tree.length * 16);
const symbols = new Int16Array(tree.length * 16).fill(nothing);
for (let i = 0; i < nextStates.length; i++) {
  let at = i >> 4;
  for (let bit = 3; bit >= 0; bit--) {
    at = (tree[at] as [number, number])[(i >> bit) & 1] as number;
    if (at >= 0) continue;
    symbols[i] = -1 - at === endOfString ? invalid : -1 - at;
    at = 0;
  }
  nextStates[i] = at;
}

/** States in which a string may end: up to seven bits of padding, all of them ones. */
const mayEnd = new Set([0]);
for (let bits = 0, at = 0; bits < 7; bits++) {
  at = (tree[at] as [number, number])[1];
  mayEnd.add(at);
}

/** The most bytes that `bytes` encoded bytes may decode to. */
let text = Buffer.alloc(1024);

/** The text (as latin1) of the bytes from `from` to `to`. Undefined: the code is not valid. */
export function decodeHuffman(bytes: Buffer, from: number, to: number): string | undefined {
  // The shortest code has five bits.
  if (text.length < (to - from) * 1.6 + 1) text = Buffer.alloc((to - from) * 2 + 1);
  let state = 0;
  let length = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number;
    for (let half = 0; half < 2; half++) {
      const step = (state << 4) | (half === 0 ? byte >> 4 : byte & 15);
      const symbol = symbols[step] as number;
      if (symbol >= 0) text[length++] = symbol;
      else if (symbol === invalid) return undefined;
      state = nextStates[step] as number;
    }
  }
  return mayEnd.has(state) ? text.toString("latin1", 0, length) : undefined;
}

export function encodeHuffman(bytes: Uint8Array): Buffer {
  let bitCount = 0;
  for (const byte of bytes) bitCount += lengths[byte] as number;
  const coded = Buffer.alloc(Math.ceil(bitCount / 8));
  let at = 0;
  let bits = 0;
  let pending = 0;
  for (const byte of bytes) {
    const length = lengths[byte] as number;
    // At most 7 + 30 bits, which are too many for bitwise operators.
    bits = bits * 2 ** length + (codes[byte] as number);
    for (pending += length; pending >= 8;) {
      pending -= 8;
      const whole = Math.floor(bits / 2 ** pending);
      coded[at++] = whole;
      bits -= whole * 2 ** pending;
    }
  }
  if (pending > 0) coded[at] = (bits << (8 - pending)) | (0xff >> pending);
  return coded;
}
