// Lines of a file become appends: read, given an id where they lack one, and gathered in order.

import { eventOf, LineError, type LineEvent } from "./event-line.ts";
import { linesOf } from "./input-lines.ts";
import { nameId } from "./name-id.ts";
import { CommandError } from "./options.ts";

/** An event and where it stood in the file. */
export interface ImportEvent extends LineEvent {
  readonly line: number;
}

/** Events of one append, in the order of the file; no id comes twice. */
export interface ImportBatch {
  readonly events: readonly ImportEvent[];
  readonly byteLength: number;
}

export interface ImportOptions {
  /** A UUID: ids are derived for lines without one. Absent: such a line is refused. */
  readonly namespace: string | undefined;
  /** The stream of lines that name none. Absent: such a line is refused. */
  readonly stream: string | undefined;
}

/**
 * Few enough that a stopped import loses little work, enough that a disk sync is shared by many.
 */
const batchEventsMax = 1_000;
const batchBytesMax = 512 * 1024;

/** Throws a `CommandError` that names the line. */
export async function* batchesOf(
  input: AsyncIterable<Buffer>,
  options: ImportOptions,
): AsyncGenerator<ImportBatch> {
  let events: ImportEvent[] = [];
  let byteLength = 0;
  const ids = new Set<string>();
  for await (const line of linesOf(input)) {
    const event = importEvent(line, options);
    const full = events.length === batchEventsMax || byteLength + line.byteLength > batchBytesMax;
    // A line that is there twice is stored once: its second coming must be an append of its own.
    if (events.length > 0 && (full || ids.has(event.id))) {
      yield { events, byteLength };
      [events, byteLength] = [[], 0];
      ids.clear();
    }
    events.push(event);
    ids.add(event.id);
    byteLength += line.byteLength;
  }
  if (events.length > 0) yield { events, byteLength };
}

function importEvent(
  { number, text }: { readonly number: number; readonly text: string },
  { namespace, stream }: ImportOptions,
): ImportEvent {
  const event = parsed(number, text);
  if (event.stream === "" && stream === undefined) {
    throw new CommandError(`line ${number}: no "stream", and no --stream for lines without one`);
  }
  if (event.id === "" && namespace === undefined) {
    throw new CommandError(
      `line ${number}: no "id", and no --namespace NAME to derive one from. Ids make the import ` +
        "safe to repeat: use one name for one file, and another for every other file",
    );
  }
  return {
    ...event,
    line: number,
    stream: event.stream || (stream ?? ""),
    id: event.id || nameId(namespace ?? "", `${number}\n${text}`),
  };
}

function parsed(number: number, text: string): LineEvent {
  try {
    return eventOf(text);
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
    throw new CommandError(`line ${number}: ${error.message}`, { cause: error });
  }
}
