// A disk of a few megabytes, and a file on it whose removal makes room. Needs root and mount(8).
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const pageBytes = 4_096;

export interface SmallDisk {
  /** A folder on the disk. */
  readonly folder: string;
  /** Bytes that are free now. */
  free(): number;
  /** Fills all but so many bytes of the disk. */
  fillUpTo(freeBytes: number): void;
  /** Makes room again. */
  makeRoom(): void;
  /** Removes everything on it. */
  clear(): void;
  close(): void;
}

/** Undefined, with the reason on the error output, where none can be made. */
export function smallDisk(bytes: number): SmallDisk | undefined {
  const mountPoint = mkdtempSync(join(tmpdir(), "annals-disk-"));
  try {
    const options = ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", mountPoint];
    execFileSync("mount", options, { stdio: "pipe" });
  } catch (error) {
    rmSync(mountPoint, { recursive: true });
    console.error(`NOT TESTED on a real full disk: ${(error as Error).message}`);
    return undefined;
  }
  const folder = join(mountPoint, "store");
  const ballast = join(mountPoint, "ballast");
  const free = (): number => {
    const { bavail, bsize } = statfsSync(mountPoint);
    return bavail * bsize;
  };
  return {
    folder,
    free,
    fillUpTo(freeBytes) {
      rmSync(ballast, { force: true });
      const pages = Math.floor((free() - freeBytes) / pageBytes);
      if (pages > 0) execFileSync("fallocate", ["-l", String(pages * pageBytes), ballast]);
    },
    makeRoom: () => rmSync(ballast, { force: true }),
    clear() {
      rmSync(folder, { recursive: true, force: true });
      rmSync(ballast, { force: true });
      mkdirSync(folder);
    },
    close() {
      execFileSync("umount", [mountPoint]);
      rmSync(mountPoint, { recursive: true });
    },
  };
}
