// Decodes HPACK's Huffman code. The code is canonical: sorted by length, then by symbol, the codes
// count up, so the lengths define it.
// Source: RFC 7541, section 5.2 and appendix B.

/** The code lengths of the symbols 0 to 255 and, last, of the end of the string, in base 36. */
const lengths =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad6777777777777777777777787" +
  "8djde6f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllml" +
  "nmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu";
export const codeLengths: readonly number[] = Array.from(lengths, (digit) => parseInt(digit, 36));
const endOfString = 256;

/** The tree: at twice a node and a bit the next node or, as -1 - symbol, the symbol. */
const tree = new Int16Array(2 * endOfString);
let nodeCount = 1;
let code = 0;
let lengthBefore = 0;
const byLength = [...codeLengths.entries()].toSorted(([a, l], [b, m]) => l - m || a - b);
for (const [symbol, length] of byLength) {
  code *= 2 ** (length - lengthBefore);
  lengthBefore = length;
  let node = 0;
  for (let depth = length - 1; depth > 0; depth--) {
    node = tree[2 * node + ((code >>> depth) & 1)] ||= nodeCount++;
  }
  tree[2 * node + (code++ & 1)] = -1 - symbol;
}

/** Nodes at which a text may end: up to seven bits of padding, all of them ones. */
const mayEnd = new Set([0]);
for (let bits = 0, node = 0; bits < 7; bits++) mayEnd.add((node = tree[2 * node + 1] as number));

/** The text that is being decoded. */
let text = Buffer.alloc(1024);

/** The text (as latin1) of the bytes from `from` to `to`. Undefined: the code is not valid. */
export function decodeHuffman(bytes: Buffer, from: number, to: number): string | undefined {
  // The shortest code has five bits.
  if (text.length < (to - from) * 1.6 + 1) text = Buffer.alloc((to - from) * 2 + 1);
  let node = 0;
  let length = 0;
  for (let i = 8 * from; i < 8 * to; i++) {
    const bit = ((bytes[i >> 3] as number) >> (7 - (i & 7))) & 1;
    node = tree[2 * node + bit] as number;
    if (node >= 0) continue;
    if (node === -1 - endOfString) return undefined;
    text[length++] = -1 - node;
    node = 0;
  }
  return mayEnd.has(node) ? text.toString("latin1", 0, length) : undefined;
}
