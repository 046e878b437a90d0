// The circumstances of a run, without which its figures mean nothing: machine, commit, command.

import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem, type as systemType } from "node:os";
import { statfsSync } from "node:fs";
import type { RunFacts } from "./rows.ts";

const gibibyte = 2 ** 30;
const fileSystems: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs (not a disk: figures of syncs mean nothing)",
  0x794c7630: "overlayfs",
};

export function runFacts(args: readonly string[], folder: string): RunFacts {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / gibibyte);
  const disk = fileSystems[statfsSync(folder).type] ?? "unknown file system";
  return {
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
    loadBefore: Math.round((loadavg()[0] ?? 0) * 10) / 10,
    command: ["npm run bench", ...(args.length > 0 ? ["--", ...args] : [])].join(" "),
    machine:
      `${cpus().length} x ${cpu?.model.trim() ?? "unknown"}, ${memory} GiB, ` +
      `${systemType()} ${release()}, ${disk}`,
  };
}

/** The measured commit, followed by `+` if there are uncommitted changes in what is measured. */
function commit(): string {
  try {
    const head = git("rev-parse", "--short=12", "HEAD");
    return git("status", "--porcelain", "--", "src", "bench") === "" ? head : `${head}+`;
  } catch {
    return "unknown";
  }
}

function git(...args: string[]): string {
  return execFileSync("git", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
