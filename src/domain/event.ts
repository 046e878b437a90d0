// Events as the domain sees them. A proposed event carries its header (what is indexed and decided
// on) beside its body (its wire form, complete but for what the store adds); a recorded event is
// the framed record that goes to disk and, unchanged, to the reader.

/** An id, stream, type and tags: what conditions, queries and the index look at. */
export interface EventHeader {
  /** UUID, lower-case text form. */
  readonly id: string;
  /** Empty: the event has no stream. */
  readonly stream: string;
  readonly type: string;
  readonly tags: readonly string[];
}

/** An event as a client proposes it: checked against every limit, not yet decided on. */
export interface NewEvent extends EventHeader {
  /** False where the server made the id: then it is neither looked up nor indexed. */
  readonly idFromClient: boolean;
  /**
   * The fields of `RecordedEvent` that come from the client, in wire form and complete (id, stream,
   * content type included); without version, position and recorded_at.
   */
  readonly body: Uint8Array;
}

/** Where an event is in its stream and in the log. */
export interface Placement {
  /** From 1, dense in the stream; 0 where the event has no stream. */
  readonly version: number;
  /** From 1, dense in the store. */
  readonly position: number;
}

export interface PlacedEvent extends EventHeader, Placement {}

/** An event on its way to disk. */
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
  /** Of a removed event whose space was reclaimed: whether this is what it held (content.ts). */
  readonly didHold?: (content: Uint8Array) => boolean;
}

/**
 * The category of a stream: its name up to the first `-`, the whole name where there is none. The
 * index keeps one term for each, so that stream prefixes need not merge every stream.
 */
export function categoryOf(stream: string): string {
  const dash = stream.indexOf("-");
  return dash < 0 ? stream : stream.slice(0, dash);
}

/** System streams, types, tags and metadata keys begin with `$`; clients may not write them. */
export function isSystemName(name: string): boolean {
  return name.charCodeAt(0) === 0x24;
}
