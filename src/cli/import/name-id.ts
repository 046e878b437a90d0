// Derives ids from names (UUID version 5, RFC 9562). The same name gives the same id in every run.

import { createHash } from "node:crypto";

/**
 * The namespace of this tool's names. The ids of imported events depend on it: it must never
 * change.
 */
const annalsImport = "6f1f0f0e-3a54-4c3c-9d6a-5c1d2c0b7a42";
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The namespace with a name. A UUID is its own namespace. */
export function namespaceOf(name: string): string {
  return uuid.test(name) ? name.toLowerCase() : nameId(annalsImport, name);
}

/** The id of a name in a namespace, which is a UUID. */
export function nameId(namespace: string, name: string): string {
  const hash = createHash("sha1");
  hash.update(Buffer.from(namespace.replaceAll("-", ""), "hex")).update(name, "utf8");
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20)].join("-");
}
