// What the folder lies on: free space, and whether a sync there means what it says.

import { statfsSync } from "node:fs";

/** statfs(2) types of file systems on other machines: no locks or syncs to build on. */
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

/** The name of the network file system a folder lies on, or undefined. */
export function networkFileSystem(folder: string): string | undefined {
  return networkTypes.get(statfsSync(folder).type >>> 0);
}

/** Bytes free to us on the folder's file system. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** Above it free space is asked for now and then only: so much is not gone in between. */
const ampleBytes = 512 * 1024 * 1024;
const askEveryMs = 50;

/** `ask`, not asked again within some milliseconds where there was plenty. */
export function askedSeldom(
  ask: () => number,
  nowMs: () => number = () => performance.now(),
): () => number {
  let known = 0;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const now = nowMs();
    if (known > ampleBytes && now - askedAtMs < askEveryMs) return known;
    known = ask();
    askedAtMs = now;
    return known;
  };
}
