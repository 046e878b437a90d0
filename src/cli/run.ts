// Runs the command named on the command line and returns its exit code. `serve` is the server
// itself. The other commands are clients of a server, or work on a folder.

import { version } from "../version.ts";
import { commandHelp, helpLinesOf, isLocal, overview, helpPage } from "./help.ts";
import { exitCode, UsageError } from "./arguments/options.ts";
import { withContext } from "./connection/contexts.ts";
import { withForm } from "./output/form.ts";
import { variableWarnings } from "./server/variable-warnings.ts";
import { print, processTerminal, say, type Terminal } from "./output/terminal.ts";

type Command = (args: readonly string[], terminal: Terminal) => Promise<number>;

/** Each command loads only the modules it needs, because health probes run every few seconds. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  append: async () => (await import("./events/append.ts")).append,
  read: async () => (await import("./events/read.ts")).readCommand,
  event: async () => (await import("./events/event.ts")).eventCommand,
  tail: async () => (await import("./events/tail.ts")).tail,
  streams: async () => (await import("./events/listings.ts")).streams,
  stream: async () => (await import("./events/listings.ts")).stream,
  types: async () => (await import("./events/listings.ts")).types,
  state: async () => (await import("./events/state.ts")).state,
  snapshots: async () => (await import("./events/listings.ts")).snapshots,
  groups: async () => (await import("./consumers/groups.ts")).groups,
  consume: async () => (await import("./consumers/consume.ts")).consume,
  parked: async () => (await import("./consumers/parked.ts")).parked,
  checkpoints: async () => (await import("./consumers/checkpoints.ts")).checkpoints,
  info: async () => (await import("./server/info.ts")).info,
  health: async () => (await import("./server/health.ts")).health,
  top: async () => (await import("./server/top.ts")).top,
  bench: async () => (await import("./events/bench.ts")).bench,
  ui: async () => (await import("./server/ui.ts")).ui,
  import: async () => (await import("./import/import.ts")).importEvents,
  follow: async () => (await import("./import/move.ts")).followSource,
  export: async () => (await import("./events/read.ts")).exportEvents,
  verify: async () => (await import("./folders/verify.ts")).verify,
  backup: async () => (await import("./folders/backup.ts")).backup,
  restore: async () => (await import("./folders/restore.ts")).restoreCommand,
  promote: async () => (await import("./folders/promote.ts")).promote,
  tokens: async () => (await import("./server/tokens.ts")).tokens,
  copy: async () => (await import("./folders/copy.ts")).copy,
  salvage: async () => (await import("./folders/salvage.ts")).salvage,
  context: async () => (await import("./server/context.ts")).context,
  completion: async () => (await import("./completion.ts")).completion,
  help: async () => help,
  version: async () => versionCommand,
};

/** Runs `annals ...argv` and returns its exit code. Never throws. */
export async function runCommand(argv: readonly string[], given?: Terminal): Promise<number> {
  const [name = "", ...args] = argv;
  if (name === "serve") {
    // Only the server loads the storage engine, and it handles its own signals.
    const { serve } = await import("./server/serve.ts");
    return serve(args);
  }
  const terminal = given ?? processTerminal();
  try {
    for (const warning of variableWarnings(terminal.environment)) {
      await say(terminal.errors, `warning: ${warning}`);
    }
    const command = await commandOf(name, args);
    const form = withForm(name, args, terminal, helpLinesOf(name));
    const own = isLocal(name) ? form.args : withContext(form.args, terminal.environment);
    return await command(own, form.terminal);
  } catch (error) {
    const { report } = await import("./report.ts");
    return report(error, Object.hasOwn(commands, name) ? name : "", terminal);
  }
}

async function commandOf(name: string, args: readonly string[]): Promise<Command> {
  if (name === "--version" || name === "-v") return versionCommand;
  if (name === "--help" || name === "-h") return help;
  if (name === "") return noCommand;
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    const names = commandHelp.map((known) => known.name).join(", ");
    throw new UsageError(`unknown command "${name}"; the commands are ${names}`);
  }
  const end = args.indexOf("--");
  const ahead = end < 0 ? args : args.slice(0, end);
  const asksHelp = ahead.includes("--help") || ahead.includes("-h");
  return asksHelp ? (_, terminal) => help([name], terminal) : load();
}

async function noCommand(_: readonly string[], terminal: Terminal): Promise<number> {
  await print(terminal.errors, overview());
  return exitCode.usage;
}

async function help([name]: readonly string[], terminal: Terminal): Promise<number> {
  const text = name === undefined ? overview() : helpPage(name);
  if (text === undefined) throw new UsageError(`unknown command "${name}"`);
  await print(terminal.output, text);
  return exitCode.ok;
}

async function versionCommand(_: readonly string[], terminal: Terminal): Promise<number> {
  await print(terminal.output, `annals ${version}\n`);
  return exitCode.ok;
}
