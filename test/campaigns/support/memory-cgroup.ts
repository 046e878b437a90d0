// A memory cgroup for one server process, as a container's limit is one. Where this user may not
// create cgroups, the campaign goes by the process's own figures alone.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = "/sys/fs/cgroup";

/** Where cgroups are created, and the file of the limit: version 2, or 1. */
function hierarchy(): { folder: string; limitFile: string } {
  const isUnified = existsSync(join(root, "cgroup.controllers"));
  return isUnified
    ? { folder: root, limitFile: "memory.max" }
    : { folder: join(root, "memory"), limitFile: "memory.limit_in_bytes" };
}

export class MemoryCgroup {
  private readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Undefined: this user may not. */
  static create(bytesMax: number): MemoryCgroup | undefined {
    const { folder, limitFile } = hierarchy();
    const own = join(folder, `annals-${process.pid}-${Math.random().toString(36).slice(2)}`);
    try {
      mkdirSync(own);
      writeFileSync(join(own, limitFile), `${bytesMax}`);
      return new MemoryCgroup(own);
    } catch {
      return undefined;
    }
  }

  /** The command before a command that is to run in it. */
  get under(): readonly string[] {
    const enter = `echo $$ > ${join(this.folder, "cgroup.procs")} && exec "$@"`;
    return ["sh", "-c", enter, "sh"];
  }

  /** Every process in it must have ended. */
  remove(): void {
    try {
      rmdirSync(this.folder);
    } catch {
      // The kernel still counts pages of the process; an empty cgroup costs nothing.
    }
  }
}

/** Bytes that are neither mapped files nor shared. 0: the process has ended. */
export function anonymousBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024;
  } catch {
    return 0;
  }
}
