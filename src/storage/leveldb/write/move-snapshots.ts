// The first builds stored snapshots under separate keys. When a store with such keys opens, they
// are moved to the side values. A batch puts some new keys and deletes the old ones, so that a
// snapshot is in one place or the other whenever the process ends, and the next start continues.
//
//   key     's' stream length (2) stream kind 0x00
//               2^53-1 - version (8) 2^53-1 - revision (8)
//   value   position of the event at the version (8), the encoded Snapshot, CRC-32 of key and value

import { snapshotName } from "../../../domain/snapshot.ts";
import { prefixOldSnapshot, readUint64, seal, unseal } from "../format/keys.ts";
import type { Kv, Operation } from "../kv/kv.ts";
import { sideValueKey } from "./side-values.ts";

const greatest = Number.MAX_SAFE_INTEGER;
const pageCountMax = 256;
const positionBytes = 8;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns how many keys it wrote and deleted. 0: there was nothing to move. */
export async function moveSnapshots(kv: Kv): Promise<number> {
  const last = Buffer.from([prefixOldSnapshot + 1]);
  let first = Buffer.from([prefixOldSnapshot]);
  let previous = "";
  let count = 0;
  for (;;) {
    const entries = await kv.page({ first, last, limit: pageCountMax });
    const end = entries.at(-1);
    if (end === undefined) return count;
    first = Buffer.concat([end[0], Buffer.alloc(1)]);
    const operations: Operation[] = [];
    for (const [key, value] of entries) {
      const old = oldKeyOf(key);
      // It cannot be told which snapshot this is. It is left for `annals verify` to report.
      if (old === undefined) continue;
      operations.push([key, undefined]);
      // The newest revision of a snapshot comes first.
      if (old.name === previous) continue;
      previous = old.name;
      const moved = sideValueKey("snapshot", old.name, old.revision);
      const body = unseal(key, value);
      // A value that fails its CRC also fails it under the new key.
      operations.push([moved, body ? seal(moved, body.subarray(positionBytes)) : value]);
    }
    if (operations.length > 0) await kv.write(operations);
    count += operations.length;
  }
}

/** Undefined: the key is damaged. */
function oldKeyOf(key: Uint8Array): { name: string; revision: number } | undefined {
  const streamLength = ((key[1] ?? 0) << 8) | (key[2] ?? 0);
  const kindStart = 3 + streamLength;
  const kindEnd = key.length - 17;
  if (streamLength === 0 || kindEnd < kindStart || key[kindEnd] !== 0) return undefined;
  try {
    const stream = text.decode(key.subarray(3, kindStart));
    const kind = text.decode(key.subarray(kindStart, kindEnd));
    const version = greatest - readUint64(key, kindEnd + 1);
    const revision = greatest - readUint64(key, kindEnd + 9);
    if (version < 0 || revision < 0) return undefined;
    return { name: snapshotName({ stream, kind, version }), revision };
  } catch {
    return undefined;
  }
}
