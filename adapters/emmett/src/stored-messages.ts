// Emmett's messages as events of Annals, and back.

import type * as Emmett from "@event-driven-io/emmett";
import { packMetadata, unpackMetadata, type NewEvent, type RecordedEvent } from "annals-client";

export interface StoredMessage {
  readonly type: string;
  readonly data: unknown;
}

export type ReadMetadata = Emmett.ReadEventMetadataWithGlobalPosition;
export type AnnalsReadEvent<E extends Emmett.Event = Emmett.Event> = Emmett.ReadEvent<
  E,
  ReadMetadata
>;

/** The entry with metadata that is not text under a name. */
const metadataEntry = "emmett-metadata";

export function newEvent(
  { type, data, metadata = {} }: Emmett.Event & { readonly metadata?: object },
  tags: readonly string[],
): NewEvent<StoredMessage> {
  // A message that was read before has its old place.
  const { messageId, streamName, streamPosition, globalPosition, ...own } =
    metadata as Partial<ReadMetadata>;
  return { type, data, tags, metadata: packMetadata(metadataEntry, own) };
}

export function readEvent(event: RecordedEvent<StoredMessage>): AnnalsReadEvent {
  const { type, data } = event;
  const own = unpackMetadata(metadataEntry, event.metadata);
  // Emmett's processors would take this for the message's place, and might pass over the message.
  const checkpoint = "checkpoint" in own && { checkpoint: BigInt(event.position) };
  const metadata = { ...own, ...checkpoint, ...placeOf(event) };
  return { kind: "Event", type, data, metadata } as AnnalsReadEvent;
}

/** The message that was appended, as its projections and hooks get it. */
export function appendedEvent(
  message: Emmett.Event,
  event: RecordedEvent<StoredMessage>,
): AnnalsReadEvent {
  const { kind = "Event", metadata } = message as Emmett.Event & { metadata?: object };
  return { ...message, kind, metadata: { ...metadata, ...placeOf(event) } } as AnnalsReadEvent;
}

function placeOf({ id, stream, version, position }: RecordedEvent<StoredMessage>): ReadMetadata {
  const [streamPosition, globalPosition] = [BigInt(version), BigInt(position)];
  return { messageId: id, streamName: stream, streamPosition, globalPosition };
}
