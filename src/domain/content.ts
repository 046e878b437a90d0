// What an event holds, as one run of bytes: the same for two events that say the same. What is kept
// of a removed event is the hash of these, so that a retry of its append is still recognised. The
// form is on disk (`RemovedEvent.content_sha256`).

import { ByteWriter } from "./byte-writer.ts";
import { decodeRecord } from "./record.ts";

/** Of an event's body, or of its record: the same bytes. */
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
