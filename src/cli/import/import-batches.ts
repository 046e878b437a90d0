// Turns the lines of a file into appends: parses each line, derives an id if it has none, and
// groups lines in order.

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { eventOf, LineError, type LineEvent } from "../output/event-line.ts";
import { eventOfCloudEvent, isCloudEvent } from "./cloud-event-line.ts";
import { BadLine, type InputLine } from "./input-lines.ts";
import type { KeptTimes } from "./kept-times.ts";
import { itemsOf } from "./list-items.ts";
import { nameId } from "./name-id.ts";

/** An event with its line number. */
export interface ImportEvent extends LineEvent {
  readonly line: number;
  /** Absent: it does not keep its time. */
  readonly recordedAt?: Timestamp;
}

/** The events of one append, in the order of the file. Their ids are distinct. */
export interface ImportBatch {
  readonly events: readonly ImportEvent[];
  readonly byteLength: number;
}

export interface ImportOptions {
  /** A UUID from which ids are derived. If absent, a line without an id is refused. */
  readonly namespace: string | undefined;
  /** The stream of lines without one. If absent, such a line is refused. */
  readonly stream: string | undefined;
  /** Absent: events do not keep their times. */
  readonly times?: KeptTimes | undefined;
}

/**
 * Small enough that an import that is stopped repeats little, large enough that many events share a
 * disk sync.
 */
const batchEventsMax = 1_000;
const batchBytesMax = 512 * 1024;
/** Tags, and metadata entries: below `append_tags_max` and `append_metadata_entries_max`. */
const batchTermsMax = 10_000;

/** Throws `BadLine`. */
export async function* batchesOf(
  input: AsyncIterable<Buffer>,
  options: ImportOptions,
): AsyncGenerator<ImportBatch> {
  let events: ImportEvent[] = [];
  let byteLength = 0;
  let termCount = 0;
  const ids = new Set<string>();
  for await (const line of itemsOf(input)) {
    const event = importEvent(line, options);
    const full =
      events.length === batchEventsMax ||
      byteLength + line.byteLength > batchBytesMax ||
      termCount + termsOf(event) > batchTermsMax;
    // A line that occurs twice is stored once. For that, its second occurrence must be in another
    // append.
    if (events.length > 0 && (full || ids.has(event.id))) {
      yield { events, byteLength };
      [events, byteLength, termCount] = [[], 0, 0];
      ids.clear();
    }
    events.push(event);
    ids.add(event.id);
    byteLength += line.byteLength;
    termCount += termsOf(event);
  }
  if (events.length > 0) yield { events, byteLength };
}

function termsOf({ tags, metadata }: ImportEvent): number {
  return tags.length + Object.keys(metadata).length;
}

function importEvent(
  { number, text, isInList = false }: InputLine,
  { namespace, stream, times }: ImportOptions,
): ImportEvent {
  const event = parsed(number, text, stream !== undefined);
  if (event.stream === "" && stream === undefined) {
    throw new BadLine(number, `no "stream", and no --stream for lines without one`);
  }
  if (event.id === "" && isInList) throw new BadLine(number, 'no "id", which items of a list need');
  if (event.id === "" && namespace === undefined) {
    throw new BadLine(
      number,
      `no "id", and no --namespace NAME to derive one from. Ids make the import ` +
        "safe to repeat: use a different name for each file",
    );
  }
  return {
    ...event,
    ...(times && { recordedAt: times.next(timeOfLine(text), `line ${number}`) }),
    line: number,
    stream: event.stream || (stream ?? ""),
    id: event.id || nameId(namespace ?? "", `${number}\n${text}`),
  };
}

/** Of an event that was exported, or of a CloudEvent. Empty: it has none. */
function timeOfLine(text: string): string {
  const { recordedAt, specversion, recordedtime, time } = JSON.parse(text) as Members;
  const said = specversion === undefined ? recordedAt : (recordedtime ?? time);
  return typeof said === "string" ? said : "";
}

type Members = Readonly<Record<string, unknown>>;

function parsed(number: number, text: string, inStream: boolean): LineEvent {
  try {
    return isCloudEvent(text) ? eventOfCloudEvent(text, inStream) : eventOf(text);
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
    throw new BadLine(number, error.message, { cause: error });
  }
}
