// The entry point: `annals COMMAND`. LevelDB and the file system use libuv's thread pool, which is
// created on first use, so its size is set before anything else is loaded.

process.env["UV_THREADPOOL_SIZE"] ??= "8";
// gRPC over TLS to an IP address lets Node warn in each command, which tells its user nothing.
process.noDeprecation = true;
// Stores and backups hold every event in the clear: they are for this user alone.
process.umask(0o077);

const argv = process.argv.slice(2);
// In a function, since a bundle for the single executable cannot await at its top.
void main();

async function main(): Promise<void> {
  const { runCommand } = await import("./cli/run.ts");
  process.exitCode = await runCommand(argv);
}
