// `annals event`: shows the event with an id.

import { View, type RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import { CommandError, connectionOptions, jsonOption, parse } from "../arguments/options.ts";
import { isoTime } from "../arguments/time.ts";
import { withSession } from "../connection/session.ts";
import { lineOf } from "../output/event-line.ts";
import { payloadText } from "../output/event-table.ts";
import { pairsOf } from "../output/table.ts";
import { print, type Terminal } from "../output/terminal.ts";

const options = { ...connectionOptions, ...jsonOption, stream: { type: "string" } } as const;

/** Exits with 1 where there is none. */
export async function eventCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [id = ""] = positionals;
  const { stream = "" } = values;
  const { event } = await withSession(values, terminal, ({ store, once }) =>
    store.getEvent({ id, stream, view: View.FULL }, once),
  );
  if (event === undefined) {
    const where = stream === "" ? "" : ` in the stream ${stream}`;
    throw new CommandError(`there is no event with the id ${id}${where}`);
  }
  const { output } = terminal;
  const text = values.json === true ? lineOf(event, output.isTTY === true) : factsText(event);
  await print(output, text);
  return 0;
}

function factsText(event: RecordedEvent): string {
  const { removed, contentType, data } = event;
  const facts: [string, string][] = [
    ["id", event.id],
    ["position", String(event.position)],
    ["stream", event.stream === "" ? "none" : `${event.stream}@${event.version}`],
    ["type", event.type],
    ["recorded at", isoTime(event.recordedAt)],
    ["principal", event.principal],
    ["trace", event.traceParent],
    ["tags", event.tags.join(" ")],
    ...Object.entries(event.metadata).map(([key, value]): [string, string] => {
      return ["metadata", `${key}=${value}`];
    }),
    ["removed", removed === undefined ? "" : `by position ${removed.policyPosition}`],
    ["content type", contentType],
    ["payload", payloadText(contentType, data)],
  ];
  return pairsOf(facts.filter(([, value]) => value !== ""));
}
