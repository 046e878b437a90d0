// Prints events for people: one per line, with the payload as text if it is text.

import type { Delivery } from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import { byteCount } from "./display.ts";
import { rowLines } from "./form.ts";
import { lineOf } from "./event-line.ts";
import { tableOn, type Column } from "./table.ts";
import type { Terminal } from "./terminal.ts";
import { isoTime } from "../arguments/time.ts";

const columns: readonly Column[] = [
  { title: "POSITION", side: "right" },
  { title: "RECORDED AT", side: "left" },
  { title: "STREAM@VERSION", side: "left", columnsMax: 36 },
  { title: "TYPE", side: "left", columnsMax: 28, wraps: true },
  { title: "ID", side: "left", isExtra: true },
  { title: "CONTENT TYPE", side: "left", isExtra: true },
  { title: "PAYLOAD  #TAGS  KEY=VALUE  @PRINCIPAL", side: "left" },
];

/** Turns batches of events into text: a table or lines of JSON. `end` comes behind the last. */
export function eventsOn(terminal: Terminal, json: boolean | undefined) {
  const isForTerminal = terminal.output.isTTY === true;
  const lines = rowLines(terminal);
  const table = tableOn(terminal.output, terminal, columns);
  return {
    text: (events: readonly RecordedEvent[]): string =>
      json === true
        ? lines.some(events.map((event) => lineOf(event, isForTerminal)))
        : table(events.map(cellsOf)),
    end: (): string => (json === true ? lines.end : ""),
  };
}

const deliveryColumns = [{ title: "ATTEMPT", side: "right" } as const, ...columns];

/** As `eventsOn`, for deliveries of a consumer group. Each starts with its attempt. */
export function deliveriesOn(terminal: Terminal, json: boolean | undefined) {
  const isForTerminal = terminal.output.isTTY === true;
  const lines = rowLines(terminal);
  const table = tableOn(terminal.output, terminal, deliveryColumns);
  return {
    text: (deliveries: readonly Delivery[]): string =>
      json === true
        ? lines.some(deliveries.map((delivery) => deliveryLine(delivery, isForTerminal)))
        : table(
            deliveries.map(({ attempt, event }) => {
              return [String(attempt), ...(event === undefined ? [] : cellsOf(event))];
            }),
          ),
    end: (): string => (json === true ? lines.end : ""),
  };
}

/** A delivery as one line: the event's line with the member `attempt` first. */
export function deliveryLine({ attempt, event }: Delivery, isForTerminal = false): string {
  const line = event === undefined ? "{}\n" : lineOf(event, isForTerminal);
  return `{"attempt":${attempt},${line.slice(1)}`;
}

function cellsOf(event: RecordedEvent): string[] {
  const marks = event.tags.map((tag) => `#${tag}`);
  const facts = Object.entries(event.metadata).map(([key, value]) => `${key}=${value}`);
  const { removed, principal } = event;
  const by = principal === "" ? "" : `@${principal}`;
  const payload =
    removed === undefined
      ? payloadText(event.contentType, event.data)
      : `(removed, by position ${removed.policyPosition})`;
  return [
    String(event.position),
    isoTime(event.recordedAt),
    event.stream === "" ? "" : `${event.stream}@${event.version}`,
    event.type,
    event.id,
    event.contentType,
    [payload, ...marks, ...facts, by].filter((part) => part !== "").join("  "),
  ];
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** As text if it is text, otherwise its size. */
export function payloadText(contentType: string, data: Uint8Array): string {
  if (data.length === 0) return "";
  if (/^text\/|[/+]json\b/i.test(contentType)) {
    try {
      return strictUtf8.decode(data);
    } catch {
      // The payload is not what its content type says, so its bytes are shown.
    }
  }
  return `<${byteCount(data.length)} ${contentType}>`;
}
