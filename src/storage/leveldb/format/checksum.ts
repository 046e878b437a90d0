// Every value on disk carries a CRC-32 (IEEE 802.3, as in zlib) over its key and itself, so that a
// corrupted value is detected, and so is a valid value under the wrong key.

import { crc32 } from "node:zlib";
import { readUint32, writeUint32 } from "./keys.ts";

export const checksumBytes = 4;

/** The CRC of the key followed by the body. */
export function checksum(key: Uint8Array, body: Uint8Array): number {
  return crc32(body, crc32(key));
}

/** The value to store under the key: the body, followed by its CRC. */
export function seal(key: Uint8Array, body: Uint8Array): Uint8Array {
  const value = Buffer.allocUnsafe(body.length + checksumBytes);
  value.set(body);
  writeUint32(value, body.length, checksum(key, body));
  return value;
}

/** The body of a sealed value. Undefined if the CRC does not match. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  const bodyBytes = value.length - checksumBytes;
  if (bodyBytes < 0) return undefined;
  const body = value.subarray(0, bodyBytes);
  return readUint32(value, bodyBytes) === checksum(key, body) ? body : undefined;
}
