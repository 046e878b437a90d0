// The content of an event as one sequence of bytes. Two events with the same content have the same
// bytes. The hash of these bytes is kept of a removed event, so that a retry of its append is still
// recognised. This form is on disk (`RemovedEvent.content_sha256`).

import { ByteWriter } from "./byte-writer.ts";
import { decodeRecord } from "./record.ts";

/** The content of an event's body, or of its record: the bytes are the same. */
export function contentOf(body: Uint8Array): Uint8Array {
  const { type, contentType, tags, metadata, data } = decodeRecord(body);
  const content = new ByteWriter();
  content.text(type);
  content.text(contentType);
  content.varint(tags.length);
  for (const tag of tags) content.text(tag);
  const entries = Object.entries(metadata).map(
    ([key, value]) => [Buffer.from(key), value] as const,
  );
  content.varint(entries.length);
  for (const [key, value] of entries.toSorted(([a], [b]) => Buffer.compare(a, b))) {
    content.bytes(key);
    content.text(value);
  }
  content.bytes(data);
  return content.take();
}
