// Encodes HPACK's Huffman code, which the server only decodes.
// Source: RFC 7541, section 5.2 and appendix B.
import { codeLengths } from "../../src/http2/huffman.ts";

/** The codes as digits: sorted by length, then by symbol, they count up. */
const codes: string[] = [];
let next = 0n;
let lengthBefore = 0;
for (const [symbol, length] of [...codeLengths.entries()].toSorted(
  ([a, l], [b, m]) => l - m || a - b,
)) {
  next <<= BigInt(length - lengthBefore);
  lengthBefore = length;
  codes[symbol] = (next++).toString(2).padStart(length, "0");
}

export function encodeHuffman(bytes: Uint8Array): Buffer {
  let bits = "";
  for (const byte of bytes) bits += codes[byte];
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return Buffer.from((whole.match(/.{8}/g) ?? []).map((digits) => Number.parseInt(digits, 2)));
}
