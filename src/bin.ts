#!/usr/bin/env node
// The command. The server runs with settings for its memory that Node and its C library take only
// when a process starts (docs/performance.md): the process executes itself anew with them, under
// the same id. What the caller has set stays as it is.

import { existsSync } from "node:fs";
import { argv, env, execArgv, execPath } from "node:process";
import { isSea } from "node:sea";

const flags = ["--max-semi-space-size=8", "--initial-old-space-size=64"];
/** Of glibc: two arenas, and large blocks that go back to the system when they are freed. */
const glibc = { MALLOC_ARENA_MAX: "2", MALLOC_MMAP_THRESHOLD_: "262144" };
/** Of jemalloc: as many arenas, whose freed pages go back to the system within a second. */
const jemallocConf = "narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

/** Where a system has it. glibc's malloc keeps what LevelDB's threads have freed. */
function jemalloc(): string | undefined {
  const cpu = { x64: "x86_64", arm64: "aarch64" }[process.arch as string];
  const folders = [`/usr/lib/${cpu}-linux-gnu`, "/usr/lib64"];
  return folders.map((folder) => `${folder}/libjemalloc.so.2`).find((path) => existsSync(path));
}

const library = "LD_PRELOAD" in env ? undefined : jemalloc();
const preloaded = library && { LD_PRELOAD: library, MALLOC_CONF: jemallocConf };
const settings = { ...glibc, ...preloaded };

const given = [...execArgv, env["NODE_OPTIONS"] ?? ""].join(" ");
// The single executable has the flags inside, and hands all arguments to the program.
const missing = isSea() || /semi[-_]space[-_]size/.test(given) ? [] : flags;
const isTuned = missing.length === 0 && Object.keys(settings).every((name) => name in env);
// Absent in Node before 22.15 and on Windows: the server then runs without them.
if (argv[2] === "serve" && !isTuned && process.execve !== undefined) {
  const command = isSea() ? argv.slice(2) : [...missing, ...execArgv, ...argv.slice(1)];
  process.execve(execPath, [execPath, ...command], { ...settings, ...env });
}
// Not awaited: the bundle of the single executable cannot do that at its top.
void import("./main.ts");
