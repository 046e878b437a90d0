// What the kernel knows of a process: CPU time and memory, from /proc. Undefined where there is
// none.

import { readFileSync } from "node:fs";

/** The kernel's USER_HZ: a hundred ticks a second on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** User and system time, seconds. */
export function cpuSeconds(pid: number): number | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces; state is the first field after it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export interface Memory {
  /** Everything resident. */
  readonly rssBytes: number;
  /** Of it, what no file backs: LevelDB maps its tables, whose pages the kernel may drop. */
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
