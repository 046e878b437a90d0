#!/usr/bin/env node
// The entry point: `annals COMMAND`. LevelDB and the file system use libuv's thread pool, which is
// created on first use, so its size is set before anything else is loaded.

process.env["UV_THREADPOOL_SIZE"] ??= "8";
// Stores and backups hold every event in the clear: they are for this user alone.
process.umask(0o077);

const argv = process.argv.slice(2);
const { runCommand } = await import("./cli/run.ts");
process.exitCode = await runCommand(argv);
