// CRC-32 (IEEE 802.3, as in zlib) over a key and what stands under it: every value on disk carries
// one, so that neither a bent value nor a value under a bent key is ever believed.

import { crc32 } from "node:zlib";
import { readUint32, writeUint32 } from "./keys.ts";

export const checksumBytes = 4;

/** The CRC of the key followed by the body. */
export function checksum(key: Uint8Array, body: Uint8Array): number {
  return crc32(body, crc32(key));
}

/** The body with its CRC behind it: what is stored under the key. */
export function seal(key: Uint8Array, body: Uint8Array): Uint8Array {
  const value = Buffer.allocUnsafe(body.length + checksumBytes);
  value.set(body);
  writeUint32(value, body.length, checksum(key, body));
  return value;
}

/** The body of a sealed value, or undefined where the CRC does not hold. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  const bodyBytes = value.length - checksumBytes;
  if (bodyBytes < 0) return undefined;
  const body = value.subarray(0, bodyBytes);
  return readUint32(value, bodyBytes) === checksum(key, body) ? body : undefined;
}
