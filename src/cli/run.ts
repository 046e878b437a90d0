// The command line: which command, run how, ended with which exit code. `serve` is the server
// itself; every other command is a client of it.

import { readFileSync } from "node:fs";
import { append } from "./append.ts";
import { backup } from "./backup.ts";
import { checkpoints } from "./checkpoints.ts";
import { consume } from "./consume.ts";
import { groups } from "./groups.ts";
import { commandHelp, overview, pageOf } from "./help.ts";
import { importEvents } from "./import.ts";
import { health, info } from "./info.ts";
import { snapshots, stream, streams, types } from "./listings.ts";
import { UsageError } from "./options.ts";
import { parked } from "./parked.ts";
import { exportEvents, read } from "./read.ts";
import { state } from "./state.ts";
import { exitCode, report } from "./report.ts";
import { restore } from "./restore.ts";
import { tail } from "./tail.ts";
import { print, processTerminal, type Terminal } from "./terminal.ts";
import { verify } from "./verify.ts";

type Command = (args: readonly string[], terminal: Terminal) => Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  append,
  read,
  tail,
  streams,
  stream,
  types,
  state,
  snapshots,
  groups,
  consume,
  parked,
  checkpoints,
  info,
  health,
  import: importEvents,
  export: exportEvents,
  verify,
  backup,
  restore,
  help,
  version,
};

/** Runs `annals ...argv` and answers its exit code. Nothing is thrown. */
export async function runCommand(argv: readonly string[], given?: Terminal): Promise<number> {
  const [name = "", ...args] = argv;
  if (name === "serve") {
    // Only the server loads the storage engine, and it handles its own signals.
    const { serve } = await import("./serve.ts");
    return serve(args);
  }
  const terminal = given ?? processTerminal();
  try {
    return await commandOf(name, args)(args, terminal);
  } catch (error) {
    return report(error, Object.hasOwn(commands, name) ? name : "", terminal);
  }
}

function commandOf(name: string, args: readonly string[]): Command {
  if (name === "--version" || name === "-v") return version;
  if (name === "--help" || name === "-h") return help;
  if (name === "") return noCommand;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    const names = commandHelp.map((known) => known.name).join(", ");
    throw new UsageError(`there is no command "${name}"; there are ${names}`);
  }
  const end = args.indexOf("--");
  const ahead = end < 0 ? args : args.slice(0, end);
  const asksHelp = ahead.includes("--help") || ahead.includes("-h");
  return asksHelp ? (_, terminal) => help([name], terminal) : command;
}

async function noCommand(_: readonly string[], terminal: Terminal): Promise<number> {
  await print(terminal.errors, overview());
  return exitCode.usage;
}

async function help([name]: readonly string[], terminal: Terminal): Promise<number> {
  const text = name === undefined ? overview() : pageOf(name);
  if (text === undefined) throw new UsageError(`there is no command "${name}"`);
  await print(terminal.output, text);
  return exitCode.ok;
}

async function version(_: readonly string[], terminal: Terminal): Promise<number> {
  const file = new URL("../../package.json", import.meta.url);
  const found = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
  await print(terminal.output, `annals ${found.version}\n`);
  return exitCode.ok;
}
