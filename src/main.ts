#!/usr/bin/env node
// The entry: `annals COMMAND`. LevelDB and the file system work in libuv's pool, which is made
// once, on first use: its size is set before anything else is loaded.

process.env["UV_THREADPOOL_SIZE"] ??= "8";
// Stores and backups hold every event in the clear: they are for this user alone.
process.umask(0o077);

const argv = process.argv.slice(2);
const { runCommand } = await import("./cli/run.ts");
process.exitCode = await runCommand(argv);
