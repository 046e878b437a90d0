// Builds a client once: in a folder of the user's cache, keyed by its sources, the contract and
// the tools' versions. What the tools leave there (compiled dependencies, virtual environments)
// stays for the next build. Two checkouts at once take turns.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { repository } from "./live-server.ts";
import type { Toolchain } from "./toolchains.ts";

const buildMsMax = 900_000;
const lockPollMs = 200;

export interface Built {
  readonly folder: string;
  /** Absent: the build of an earlier run was used. */
  readonly seconds: number | undefined;
}

/** Why a client cannot be built here, in a line; installs Debian packages where that is allowed. */
export async function missingTool(toolchain: Toolchain): Promise<string | undefined> {
  const missing = await firstMissing(toolchain);
  const packages = toolchain.debianPackages ?? [];
  const isRoot = process.getuid?.() === 0;
  const mayInstall = process.env["CI"] !== undefined || process.env["INSTALL"] === "1";
  if (missing === undefined || packages.length === 0 || !isRoot || !mayInstall) return missing;
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", ...packages];
  // Test files run beside each other, and apt-get does not wait for another one.
  mkdirSync(cacheRoot(), { recursive: true });
  const unlock = await lock(join(cacheRoot(), ".apt-lock"));
  try {
    await execute(["apt-get", "update", "-qq"], repository, env);
    await execute(install, repository, env);
  } finally {
    unlock();
  }
  return firstMissing(toolchain);
}

async function firstMissing({ needs }: Toolchain): Promise<string | undefined> {
  for (const command of needs) {
    try {
      await execute(command, repository);
    } catch {
      return `\`${command.join(" ")}\` does not answer`;
    }
  }
  return undefined;
}

/** `sources` are copied into the folder: by path there, from path in the repository. */
export async function build(toolchain: Toolchain, sources: Sources): Promise<Built> {
  const folder = join(cacheRoot(), toolchain.name);
  mkdirSync(folder, { recursive: true });
  const unlock = await lock(join(folder, ".lock"));
  try {
    const stamp = join(folder, ".built");
    const key = await keyOf(toolchain, sources);
    if (existsSync(stamp) && readFileSync(stamp, "utf8").startsWith(`${key}\n`)) {
      return { folder, seconds: undefined };
    }
    const since = performance.now();
    const isFirst = !existsSync(join(folder, ".begun"));
    await buildIn(folder, toolchain, sources).catch(async (error: unknown) => {
      if (isFirst) throw error;
      // What an earlier build left may be the reason: once more, from nothing.
      for (const name of readdirSync(folder)) {
        if (!name.startsWith(".lock")) rmSync(join(folder, name), { recursive: true });
      }
      await buildIn(folder, toolchain, sources);
    });
    writeFileSync(stamp, [key, ...sources.keys()].join("\n"));
    return { folder, seconds: (performance.now() - since) / 1_000 };
  } finally {
    unlock();
  }
}

async function buildIn(folder: string, toolchain: Toolchain, sources: Sources): Promise<void> {
  writeFileSync(join(folder, ".begun"), "");
  laySources(folder, join(folder, ".built"), sources);
  for (const command of toolchain.build) await execute(expanded(command, folder), folder);
}

export type Sources = ReadonlyMap<string, string>;

/** A client's own files with the contract beside them, as a user would lay them out. */
export function sourcesOf(folder: string): Sources {
  const own = globSync(`${folder}/**/*`, { cwd: repository, withFileTypes: true });
  const protos = globSync("{proto/annals,third_party}/**/*.{proto,json}", { cwd: repository });
  const files = own
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map([
    ...files.map((path) => [relative(join(repository, folder), path), path] as const),
    ...protos.map((path) => [path, join(repository, path)] as const),
  ]);
}

/** The program and its arguments, with what the shell would expand. */
function expanded(command: readonly string[], folder: string): string[] {
  return command.flatMap((word) =>
    word.endsWith("/*.proto") ? globSync(word, { cwd: folder }).toSorted() : [word],
  );
}

export function cacheRoot(): string {
  const { CLIENTS_CACHE, XDG_CACHE_HOME } = process.env;
  return CLIENTS_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "annals-clients");
}

async function keyOf(toolchain: Toolchain, sources: Sources): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(toolchain));
  for (const command of toolchain.needs) hash.update(await execute(command, repository));
  for (const [path, from] of sources) hash.update(`\0${path}\0`).update(readFileSync(from));
  return hash.digest("hex");
}

/**
 * Does not touch unchanged files, so that build tools see what changed. Removes files that no
 * longer exist.
 */
function laySources(folder: string, stamp: string, sources: Sources): void {
  const before = existsSync(stamp) ? readFileSync(stamp, "utf8").split("\n").slice(1) : [];
  rmSync(stamp, { force: true });
  for (const path of before) {
    if (!sources.has(path)) rmSync(join(folder, path), { force: true });
  }
  for (const [path, from] of sources) {
    const to = join(folder, path);
    const text = readFileSync(from);
    if (existsSync(to) && readFileSync(to).equals(text)) continue;
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, text);
  }
}

/** Waits for the lock. The lock of a process that has ended is ignored. */
async function lock(path: string): Promise<() => void> {
  // Linked rather than written in place, so that a lock file always contains its owner's id.
  const own = `${path}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    for (let waitedMs = 0; waitedMs < buildMsMax; waitedMs += lockPollMs) {
      if (tryLink(own, path)) return () => rmSync(path, { force: true });
      if (!isAlive(holderOf(path))) rmSync(path, { force: true });
      else await delay(lockPollMs);
    }
  } finally {
    rmSync(own, { force: true });
  }
  throw new Error(`another process has held ${path} for ${buildMsMax / 1_000} s`);
}

function tryLink(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch {
    return false;
  }
}

/** 0: nobody. */
function holderOf(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return 0;
  }
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** What the command printed. Throws with everything it said unless it ends with 0 in time. */
export async function execute(
  [program = "", ...args]: readonly string[],
  folder: string,
  more: NodeJS.ProcessEnv = {},
): Promise<string> {
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...environment(), ...more },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: buildMsMax,
    killSignal: "SIGKILL",
  });
  let said = "";
  let complained = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complained += text));
  const how = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  if (how === "exit code 0") return said;
  throw new Error(`${program} ${args.join(" ")}: ${how}\n${said}${complained}`.slice(0, 10_000));
}

/** Ours, with `buf` on the path, and without what the npm that started us says of this package. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_(local_)?prefix)/.test(name),
  );
  const path = [join(repository, "node_modules/.bin"), process.env["PATH"]].join(delimiter);
  return { ...Object.fromEntries(own), PATH: path };
}
