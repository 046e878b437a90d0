// Facts about the file system of the folder: free space, and whether a sync there guarantees
// durability.

import { statfsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** statfs(2) types of network file systems, whose locks and syncs cannot be relied on. */
const networkTypes = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9P"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
  [0x5346414f, "AFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
]);

/** The name of the network file system that the folder is on. Undefined: a local one. */
export function networkFileSystem(folder: string): string | undefined {
  return networkTypes.get(statfsSync(folder).type >>> 0);
}

/** Bytes available to this process on the folder's file system. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** Bytes of all files in the folder and below. Files may come and go meanwhile. */
export async function usedBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}

/**
 * With more free space than this, it is asked for only now and then: it cannot run out in between.
 */
const ampleBytes = 512 * 1024 * 1024;
const askEveryMs = 50;

/** Answers how many bytes are free beyond a reserve. While there is ample space, it knows. */
export function freeBeyond(folder: string, reserveBytes: number): () => number {
  let known = 0;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (known > ampleBytes && now - askedAtMs < askEveryMs) return known;
    const { bavail, bsize } = statfsSync(folder);
    known = bavail * bsize - reserveBytes;
    askedAtMs = now;
    return known;
  };
}
