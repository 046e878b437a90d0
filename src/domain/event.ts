// Events inside the server. A proposed event has its header (what is indexed and decided on) and
// its body (the wire form of the client's fields). A recorded event is the framed record that goes
// to disk and, unchanged, to the reader.

/** What conditions, queries and the index use of an event. */
export interface EventHeader {
  /** UUID, lower-case text form. */
  readonly id: string;
  /** Empty: the event has no stream. */
  readonly stream: string;
  readonly type: string;
  readonly tags: readonly string[];
}

/** An event as a client proposes it. Every limit has been checked; it has not been decided on. */
export interface NewEvent extends EventHeader {
  /**
   * False: the store makes the id when the event gets its position (`ownId`). Then `id` is empty,
   * the body holds no id, and the event needs neither a look-up nor an entry in the index.
   */
  readonly idFromClient: boolean;
  /**
   * The fields of `RecordedEvent` that the client determines, complete and in wire form (with the
   * stream, the content type and an id that the client chose; without the fields of the store).
   */
  readonly body: Uint8Array;
  /**
   * What follows `body`: fields that the client left to the server. Apart, so that a large event is
   * copied once, into its record. Absent: nothing.
   */
  readonly bodyEnd?: Uint8Array;
  /** When another system recorded it: microseconds since 1970, UTC. Absent: the store's time. */
  readonly recordedAt?: number;
}

/** The whole body in one piece. */
export function wholeBody({ body, bodyEnd }: NewEvent): Uint8Array {
  return bodyEnd === undefined || bodyEnd.length === 0 ? body : Buffer.concat([body, bodyEnd]);
}

/** The numbers of an event in its stream and in the log. */
export interface Placement {
  /** From 1, dense in the stream. 0: the event has no stream. */
  readonly version: number;
  /** From 1, dense in the store. */
  readonly position: number;
}

export interface PlacedEvent extends EventHeader, Placement {}

/** An event of a commit. */
export interface CommitEvent extends PlacedEvent {
  readonly idFromClient: boolean;
  /** The record, framed as a `repeated RecordedEvent events = 1` field: tag, length, message. */
  readonly frame: Uint8Array;
}

/** An event found in the log by its id. */
export interface StoredEvent extends PlacedEvent {
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** The `RecordedEvent` message, without its frame. */
  readonly record: Uint8Array;
  /**
   * Only of a removed event whose space was reclaimed: compares content (content.ts) with the hash
   * that was kept.
   */
  readonly didHold?: (content: Uint8Array) => boolean;
}

/** The stream of the audit trail (src/access/audit.ts). */
export const auditStream = "$audit";
/** Types of its events, and of no others, begin so. */
export const auditTypePrefix = "$Audit";

/**
 * The category of a stream: its name before the first `-`, or the whole name if there is none. The
 * index has a term for each category, so that a query by stream prefix does not have to merge all
 * streams.
 */
export function categoryOf(stream: string): string {
  const dash = stream.indexOf("-");
  return dash < 0 ? stream : stream.slice(0, dash);
}

/**
 * Names of system streams, types, tags and metadata keys begin with `$`. Clients may not write
 * them.
 */
export function isSystemName(name: string): boolean {
  return name.charCodeAt(0) === 0x24;
}

// The ids that the store gives to events whose client chose none: UUIDs of version 7 (RFC 9562,
// section 5.7) that hold the event's position. An id that a client sends is found in the log by
// that position, without an entry in the index.
//
//   48 bits  milliseconds since 1970 at which the event was recorded     4  version: 7
//   12 bits  of chance                                                   2  variant
//    9 bits  of chance                                                  53  position
//
// Chance keeps the ids of different stores apart, also where one is imported into another, and
// makes ids to come hard to guess.

const lowerChanceBits = 12;
/** Bits of the position above its lower 32. */
const upperPositionBits = 21;
const lowerPosition = 2 ** 32;

/** Chance is a whole number below this. */
export const idChances = 2 ** 21;

/** What the ids of one commit begin with, and what of. */
let begun = { chance: -1, millis: -1, above: -1, text: "" };

/** `recordedAt` is microseconds since 1970, UTC. */
export function ownId(chance: number, position: number, recordedAt: number): string {
  const millis = Math.floor(recordedAt / 1_000);
  const above = Math.floor(position / lowerPosition);
  if (begun.chance !== chance || begun.millis !== millis || begun.above !== above) {
    begun = { chance, millis, above, text: idBeginning(chance, millis, above) };
  }
  return begun.text + hex(position % lowerPosition, 8);
}

/** The id without the lower half of the position. */
function idBeginning(chance: number, millis: number, positionAbove: number): string {
  const time = hex(millis, 12);
  const lower = hex(0x7000 | (chance & (2 ** lowerChanceBits - 1)), 4);
  const upper = chance >>> lowerChanceBits;
  // The variant and the upper two bits; then seven bits and the position.
  const variant = hex(0x8 | (upper >>> 7), 1);
  const above = hex((upper & 0x7f) * 2 ** upperPositionBits + positionAbove, 7);
  const tail = `${variant}${above.slice(0, 3)}-${above.slice(3)}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-${lower}-${tail}`;
}

/** The position that an id of version 7 holds, if the store made it; any number if it did not. */
export function positionInId(id: string): number {
  if (id[14] !== "7") return 0;
  const above = Number.parseInt(id.slice(20, 23) + id.slice(24, 28), 16) % 2 ** upperPositionBits;
  return above * lowerPosition + Number.parseInt(id.slice(28), 16);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
