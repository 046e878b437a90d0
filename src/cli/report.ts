// Explains a failure on the error output and returns the exit code: 1 failure, 2 usage, 3 conflict.

import type { CallError } from "../client/rpc/call-error.ts";
import { callErrorOf } from "../client/store/call-failure.ts";
import { StreamState } from "../gen/annals/v1/append_pb.js";
import { EventIdProblem, type AppendConflict } from "../gen/annals/v1/errors_pb.js";
import { BackupRefused } from "../storage/leveldb/offline/backup-file.ts";
import { DatabaseRefused } from "../storage/postgres/sessions/database-refused.ts";
import { StoreRefused } from "../storage/leveldb/folder/store-refused.ts";
import { escaped } from "../escape.ts";
import { CommandError, CommandStopped, exitCode, UsageError } from "./arguments/options.ts";
import { osErrorText } from "./output/os-error.ts";
import { OutputClosed, paintFor, print, say, type Terminal } from "./output/terminal.ts";

/** The exit codes that shells report for a process ended by SIGINT or SIGPIPE. */
const interrupted = 130;
const outputClosed = 141;

/** Prints a command's failure and returns its exit code. */
export async function report(error: unknown, command: string, terminal: Terminal): Promise<number> {
  const { cause, hint } = error instanceof CommandStopped ? error : { cause: error, hint: "" };
  if (cause instanceof OutputClosed) return outputClosed;
  if (terminal.signal.aborted) {
    if (hint !== "") await say(terminal.errors, hint);
    return interrupted;
  }
  const { code, text } = describe(cause, command);
  const paint = paintFor(terminal.errors, terminal);
  const [first = "", ...rest] = text.split("\n").map(escaped);
  const lines = [`${paint.red("error:")} ${first}`, ...rest.map((line) => `  ${line}`)];
  await print(terminal.errors, `${lines.join("\n")}\n`);
  if (hint !== "") await say(terminal.errors, hint);
  return code;
}

function describe(error: unknown, command: string): { code: number; text: string } {
  if (error instanceof UsageError) {
    return { code: exitCode.usage, text: `${error.message}\nsee annals help ${command}`.trimEnd() };
  }
  const call = callErrorOf(error);
  if (call !== undefined) return describeCall(call);
  const known = [CommandError, StoreRefused, DatabaseRefused, BackupRefused].some(
    (kind) => error instanceof kind,
  );
  if (known) return { code: exitCode.failure, text: (error as Error).message };
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: exitCode.failure, text: osErrorText(error) ?? stack };
}

function describeCall(error: CallError): { code: number; text: string } {
  const { failure, message, status } = error;
  switch (failure.reason) {
    case "APPEND_CONFLICT":
      return { code: exitCode.conflict, text: conflictText(failure.conflict) };
    case "EVENT_ID_CONFLICT": {
      const lines = failure.conflict.events.map(({ id, position, problem }) => {
        const where = position === 0n ? "" : ` at position ${position}`;
        return `${id}${where}: ${wordOf(EventIdProblem[problem])}`;
      });
      const text = ["event ids are already used; nothing was stored", ...lines].join("\n");
      return { code: exitCode.conflict, text };
    }
    case "INVALID_FIELD": {
      const lines = failure.violations.map((one) => `${one.field}: ${one.description}`);
      return { code: exitCode.failure, text: lines.join("\n") || message };
    }
    case "NO_CONNECTION":
    case "UNREACHABLE":
      return {
        code: exitCode.failure,
        text: `${message}\nis the server running, and are --address and the TLS options right?`,
      };
    default: {
      const kind = status === failure.reason ? status : `${status}, ${failure.reason}`;
      const text = `${message || wordOf(failure.reason)} (${kind})`;
      return { code: exitCode.failure, text };
    }
  }
}

function conflictText(conflict: AppendConflict): string {
  const lines = ["conflict: nothing was stored"];
  for (const { stream, expected, actualVersion, deleted } of conflict.streams) {
    const at = `${deleted ? "was deleted" : "is"} at version ${actualVersion}`;
    const actual = actualVersion === 0n ? "it has no events" : `it ${at}`;
    lines.push(`stream ${stream}: expected ${wanted(expected)}, but ${actual}`);
  }
  const { conditions, omittedCount } = conflict;
  for (const { index, position, after } of conditions) {
    lines.push(`condition ${index}: the event at position ${position} matches (after ${after})`);
  }
  if (omittedCount > 0) lines.push(`and ${omittedCount} more`);
  return lines.join("\n");
}

function wanted(expected: AppendConflict["streams"][number]["expected"]): string {
  if (expected.case === "expectedVersion") return `version ${expected.value}`;
  return expected.value === StreamState.ABSENT ? "no events" : "events";
}

function wordOf(name: string | undefined): string {
  return (name ?? "unknown").toLowerCase().replaceAll("_", " ");
}
