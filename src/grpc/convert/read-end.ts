// Composes the end of a read by hand, because most reads are short. A test proves it equal to the
// generated codec.
//
//   ReadResponse =
//     0x12 { 0x08 head, 0x10 after, 0x18 event_count, 0x20 stream_version }, 0x1a epoch

import { writeField } from "../../domain/wire.ts";
import type { ReadEnd } from "../../log/verbs.ts";

const tagEnd = 0x12;
/** Four numbers, each behind its tag: their length takes one byte. */
const numbersBytesMax = 4 * 9;

/** `epoch` is the field with its tag: see `epochField`. */
export function readEndResponse(end: ReadEnd, epoch: Buffer): Buffer {
  const { head, after, eventCount, streamVersion = 0 } = end;
  const into = Buffer.allocUnsafe(2 + numbersBytesMax + epoch.length);
  let offset = writeField(into, 2, 0x08, head);
  offset = writeField(into, offset, 0x10, after);
  offset = writeField(into, offset, 0x18, eventCount);
  offset = writeField(into, offset, 0x20, streamVersion);
  into[0] = tagEnd;
  into[1] = offset - 2;
  into.set(epoch, offset);
  return into.subarray(0, offset + epoch.length);
}
