// The consumer group of a persistent subscription: named STREAM::GROUP, where the name of a group
// may be that. Otherwise the name has parts of both and ends in a hash of them. What it stands for
// is in the settings, which are kept under the same name.

import { createHash } from "node:crypto";
import { invalidField } from "../../../domain/errors.ts";
import { invalidArgument } from "../mapping/errors.ts";

/** What a group of the log may be named at most. */
const nameBytesMax = 256;
/** The settings repeat the name in every event that keeps them. */
const groupBytesMax = 4_096;
const sourcePartBytes = 128;
const groupPartBytes = 64;
const hashDigits = 40;
const control = /\p{Cc}/gu;
const hashed = new RegExp(`~[0-9a-f]{${hashDigits}}$`);

/** Throws INVALID_ARGUMENT. */
export function groupNameOf(source: string, group: string): string {
  if (group === "") throw invalidArgument("the group name is empty");
  if (Buffer.byteLength(group) > groupBytesMax) {
    throw invalidField("group_name", `has more than ${groupBytesMax} bytes`);
  }
  const name = `${source}::${group}`;
  const fits = Buffer.byteLength(name) <= nameBytesMax && name.search(control) < 0;
  // Nobody else's name: it can be divided in one way only, and looks like none with a hash.
  const isClear = name.indexOf("::") === name.lastIndexOf("::") && !hashed.test(name);
  if (fits && isClear) return name;
  const hash = createHash("sha256").update(`${source}\0${group}`).digest("hex");
  const readable = beginningOf(group.replaceAll(control, "_"), groupPartBytes);
  const part = beginningOf(source, sourcePartBytes);
  return `${part}::${readable}~${hash.slice(0, hashDigits)}`;
}

/** What all names of a source's groups begin with. Those of others may, too. */
export function groupPrefixOf(source: string): string {
  const part = beginningOf(source, sourcePartBytes);
  return part === source ? `${source}::` : part;
}

/** At most so many bytes, not cut within a character. */
function beginningOf(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  let end = Math.min(bytes.length, bytesMax);
  while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
