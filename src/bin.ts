#!/usr/bin/env node
// The command of the npm package. The server runs with flags for Node's memory, which Node takes
// only when it starts (docs/performance.md): the process executes itself anew with them, under the
// same id.

import { argv, env, execArgv, execPath } from "node:process";

const flags = ["--max-semi-space-size=8", "--initial-old-space-size=64"];
const given = [...execArgv, env["NODE_OPTIONS"] ?? ""].join(" ");
const areGiven = /semi[-_]space[-_]size/.test(given);
// Absent in Node before 22.15 and on Windows: the server then runs without the flags.
if (argv[2] === "serve" && !areGiven && process.execve !== undefined) {
  process.execve(execPath, [execPath, ...flags, ...execArgv, ...argv.slice(1)], process.env);
}
await import("./main.ts");
