#!/usr/bin/env node
// The command. The server runs with settings for its memory that Node and its C library take only
// when a process starts (docs/performance.md): the process executes itself anew with them, under
// the same id. What the caller has set stays as it is.

import { argv, env, execArgv, execPath } from "node:process";
import { isSea } from "node:sea";

const flags = ["--max-semi-space-size=8", "--initial-old-space-size=64"];
/** Of glibc: two arenas, and large blocks that go back to the system when they are freed. */
const settings = { MALLOC_ARENA_MAX: "2", MALLOC_MMAP_THRESHOLD_: "262144" };

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
