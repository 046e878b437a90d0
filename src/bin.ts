#!/usr/bin/env node
// The command. The server runs with settings for its memory that Node and its C library take only
// when a process starts (docs/performance.md): the process executes itself anew with them, under
// the same id. What the caller has set stays as it is.

const { argv, env, execArgv, execPath } = process;
// Not imported: an import takes all that a module exports, streams and the terminal among it, and
// doubles what the first of the two processes costs. Absent in Node before 22.3.
const builtIn = process.getBuiltinModule?.bind(process);
const isSea = builtIn?.("node:sea").isSea() ?? false;

/** A small heap; and garbage is collected when the server is idle (process-memory.ts). */
const flags = ["--max-semi-space-size=8", "--initial-old-space-size=64", "--expose-gc"];
/** Of glibc: two arenas, and large blocks that go back to the system when they are freed. */
const glibc = { MALLOC_ARENA_MAX: "2", MALLOC_MMAP_THRESHOLD_: "262144" };
/** Of jemalloc: as many arenas, whose freed pages go back to the system within a second. */
const jemallocConf = "narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
/** By then, a server has compiled what a start needs. */
const keepAfterMs = 5_000;

/** Where a system has it. glibc's malloc keeps what LevelDB's threads have freed. */
function jemalloc(): string | undefined {
  const cpu = { x64: "x86_64", arm64: "aarch64" }[process.arch as string];
  const folders = [`/usr/lib/${cpu}-linux-gnu`, "/usr/lib64"];
  const paths = folders.map((folder) => `${folder}/libjemalloc.so.2`);
  return paths.find((path) => builtIn?.("node:fs").existsSync(path));
}

const library = "LD_PRELOAD" in env ? undefined : jemalloc();
const preloaded = library && { LD_PRELOAD: library, MALLOC_CONF: jemallocConf };
const settings = { ...glibc, ...preloaded };

const given = [...execArgv, env["NODE_OPTIONS"] ?? ""].join(" ").replaceAll("_", "-");
const isGiven = (flag: string): boolean => given.includes(flag.replace(/=.*/, ""));
// The single executable has the flags inside, and hands all arguments to the program.
const missing = isSea ? [] : flags.filter((flag) => !isGiven(flag));
const isTuned = missing.length === 0 && Object.keys(settings).every((name) => name in env);
// Absent in Node before 22.15 and on Windows: the server then runs without them.
if (argv[2] === "serve" && !isTuned && process.execve !== undefined) {
  const command = isSea ? argv.slice(2) : [...missing, ...execArgv, ...argv.slice(1)];
  process.execve(execPath, [execPath, ...command], { ...settings, ...env });
}
keepCompiled();
// Not awaited: the bundle of the single executable cannot do that at its top.
void import("./main.ts");

/**
 * What V8 compiles is kept for the next start in a folder of the bundle, if that can be written:
 * who can change it there can change the program itself.
 */
function keepCompiled(): void {
  if (isSea || !import.meta.filename.endsWith(".js")) return;
  const module = builtIn?.("node:module");
  module?.enableCompileCache?.(`${import.meta.dirname}/program/.compiled`);
  // Other commands keep it when they end.
  setTimeout(() => module?.flushCompileCache?.(), keepAfterMs).unref();
}
