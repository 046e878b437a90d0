// CPU time and memory of a process, from /proc. Undefined if /proc does not exist.

import { readFileSync } from "node:fs";

/** The kernel's USER_HZ: 100 per second on every Linux that Node supports. */
const ticksPerSecond = 100;

/** User and system time in seconds. */
export function cpuSeconds(pid: number): number | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may contain spaces. The state is the first field after it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export interface Memory {
  /** Resident memory. */
  readonly rssBytes: number;
  /** The part that no file backs. LevelDB maps its tables, whose pages the kernel may drop. */
  readonly anonymousBytes: number;
}

export function memoryOf(pid: number): Memory | undefined {
  const status = read(`/proc/${pid}/status`) ?? "";
  const bytes = (name: string) => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1_024;
  };
  const rssBytes = bytes("VmRSS");
  const anonymousBytes = bytes("RssAnon");
  if (rssBytes === undefined || anonymousBytes === undefined) return undefined;
  return { rssBytes, anonymousBytes };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
