// `annals state`: shows a stream's state at a version or a time.

import { parseExactJson } from "../../domain/exact-json.ts";
import { escaped, escapedJson } from "../../escape.ts";
import { counted, jsonLine } from "../output/display.ts";
import {
  connectionOptions,
  jsonOption,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import { paintFor, print, say, type Terminal } from "../output/terminal.ts";
import { isoTime, timestampOf } from "../arguments/time.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  version: { type: "string" },
  time: { type: "string" },
} as const;

/** Prints the state that the server computed. Its version goes to the error output. */
export async function state(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [stream = ""] = positionals;
  const at = momentOf(values);
  const answer = await withSession(values, terminal, ({ store, once }) =>
    store.getState({ stream, at }, once),
  );
  const folded = parseExactJson(Buffer.from(answer.stateJson)) ?? null;
  const { version, position, appliedCount, skippedCount, missingThrough } = answer;
  if (values.json === true) {
    const object = {
      stream,
      version: Number(version),
      position: Number(position),
      recordedAt: isoTime(answer.recordedAt),
      appliedCount: Number(appliedCount),
      skippedCount: Number(skippedCount),
      missingThrough: Number(missingThrough),
      state: folded,
    };
    await print(terminal.output, jsonLine(object));
    return 0;
  }
  await print(terminal.output, `${escapedJson(JSON.stringify(folded, null, 2))}\n`);
  const paint = paintFor(terminal.errors, terminal);
  const skipped = skippedCount === 0n ? "" : `, ${skippedCount} skipped (not JSON)`;
  const summary =
    version === 0n
      ? `${stream} has no events at that point`
      : `${stream}@${version}, position ${position}, ${isoTime(answer.recordedAt)}; ` +
        `${counted(appliedCount, "event")} applied${skipped}`;
  await print(terminal.errors, `${paint.dim(escaped(summary))}\n`);
  if (missingThrough > 0n) {
    const removed = `a policy has removed events up to version ${missingThrough}`;
    await say(terminal.errors, `incomplete state: ${removed}`);
  }
  return 0;
}

function momentOf({ version, time }: { version?: string | undefined; time?: string | undefined }) {
  if (version !== undefined && time !== undefined) {
    throw new UsageError("--version and --time exclude each other");
  }
  if (version !== undefined) {
    const value = BigInt(wholeNumber(version, "--version", { min: 1 }));
    return { case: "version", value } as const;
  }
  if (time !== undefined) return { case: "time", value: timestampOf(time, "--time") } as const;
  return { case: undefined };
}
