// `annals read` and `annals export`: prints the events that exist now, for people or for another
// store.

import { Direction, type ReadEnd } from "../../gen/annals/v1/read_pb.js";
import { CallError } from "../../client/rpc/call-error.ts";
import { counted } from "../output/display.ts";
import { eventsOn } from "../output/event-table.ts";
import {
  connectionOptions,
  jsonOption,
  parse,
  CommandStopped,
  wholeNumber,
} from "../arguments/options.ts";
import { positionProgress } from "../output/progress.ts";
import {
  rangeOf,
  rangeOptions,
  selectionFromFlags,
  selectionOptions,
} from "../arguments/selection.ts";
import { withSession } from "../connection/session.ts";
import { paintFor, print, say, type Terminal } from "../output/terminal.ts";

const readOptions = {
  ...connectionOptions,
  ...jsonOption,
  ...selectionOptions,
  ...rangeOptions,
  backwards: { type: "boolean" },
  limit: { type: "string" },
  "with-removed": { type: "boolean" },
} as const;

/** Prints a selection of events, oldest first, or newest first with `--backwards`. */
export async function readCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, readOptions, { min: 0, max: 1 });
  const selection = selectionFromFlags(values, positionals[0]);
  const request = {
    selection,
    ...rangeOf(values, selection),
    direction: values.backwards === true ? Direction.BACKWARDS : Direction.FORWARDS,
    limit: BigInt(
      values.limit === undefined ? 0 : wholeNumber(values.limit, "--limit", { min: 1 }),
    ),
    withRemoved: values["with-removed"] === true,
  };
  const shown = eventsOn(terminal, values.json);
  await withSession(values, terminal, async ({ store, streaming }) => {
    for await (const { message } of store.read(request, streaming)) {
      if (message.case === "batch") await print(terminal.output, shown.text(message.value.events));
      if (message.case !== "end" || terminal.errors.isTTY !== true) continue;
      const paint = paintFor(terminal.errors, terminal);
      await print(terminal.errors, `${paint.dim(endOf(message.value, selection.case))}\n`);
    }
  });
  await print(terminal.output, shown.end());
  return 0;
}

function endOf({ eventCount, streamVersion, head }: ReadEnd, kind: string | undefined): string {
  const version = kind === "stream" ? `; the stream is at version ${streamVersion}` : "";
  return `${counted(eventCount, "event")}${version}; head ${head}`;
}

const exportOptions = {
  ...connectionOptions,
  ...selectionOptions,
  after: { type: "string" },
  epoch: { type: "string" },
} as const;

/**
 * Writes a selection as lines for `import`. Prints to the error output where a later export can
 * continue.
 */
export async function exportEvents(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, exportOptions, { min: 0, max: 1 });
  const selection = selectionFromFlags(values, positionals[0]);
  const after = values.after === undefined ? 0 : wholeNumber(values.after, "--after");
  const from = { case: "fromPosition", value: BigInt(after) + 1n } as const;
  let { epoch = "" } = values;
  let written = after;
  let count = 0;
  const progress = positionProgress(terminal, "exported");
  const lines = eventsOn(terminal, true);
  try {
    const end = await withSession(values, terminal, async ({ store, once, streaming }) => {
      const head = Number((await store.getInfo({}, once)).head);
      const request = { selection, from, epoch };
      for await (const { message, ...named } of store.read(request, streaming)) {
        if (named.epoch !== "") ({ epoch } = named);
        if (message.case === "end") return message.value;
        if (message.case !== "batch") continue;
        const { events } = message.value;
        await print(terminal.output, lines.text(events));
        written = Number(events.at(-1)?.position ?? written);
        count += events.length;
        if (terminal.output.isTTY !== true) progress.tell(written, Math.max(head, written));
      }
      throw new CallError(2, "the answer ended without its last message", { reason: "NOT_SAID" });
    });
    await progress.end();
    const summary = `exported ${counted(count, "event")} up to position ${end.after}`;
    await say(terminal.errors, `${summary}; continue later with ${optionsAfter(end.after, epoch)}`);
    return 0;
  } catch (error) {
    await progress.end();
    if (count === 0) throw error;
    const done = `${counted(count, "event")} written, up to position ${written}`;
    throw new CommandStopped(error, `${done}; continue with ${optionsAfter(written, epoch)}`);
  }
}

function optionsAfter(position: number | bigint, epoch: string): string {
  return `--after ${position}${epoch === "" ? "" : ` --epoch ${epoch}`}`;
}
