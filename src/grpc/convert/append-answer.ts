// Composes the answer to an append by hand, because it is sent very often. A test proves it equal
// to the generated codec.
//
//   AppendResponse = 0x08 first_position, 0x10 last_position,
//     0x1a { 0x0a stream, 0x10 first_version, 0x18 last_version }*, 0x20 head, 0x28 deduplicated,
//     0x32 { 0x08 seconds, 0x10 nanos }, (0x3a event_id)*, 0x42 epoch

import type { Appended, AppendedStream } from "../../domain/append.ts";
import { varintBytes, writeVarint } from "../../domain/wire.ts";

const microsPerSecond = 1_000_000;
/** The tag of `AppendResponse.epoch`. */
export const tagAppendEpoch = 0x42;
const noIds: readonly string[] = [];

/** `epoch` is the field with its tag: see `epochField`. */
export function appendResponse(appended: Appended, head: number, epoch: Buffer): Buffer {
  const { ids = noIds } = appended;
  const seconds = Math.floor(appended.recordedAt / microsPerSecond);
  const nanos = (appended.recordedAt - seconds * microsPerSecond) * 1_000;
  const timeBytes = fieldBytes(seconds) + fieldBytes(nanos);
  let size =
    fieldBytes(appended.firstPosition) +
    fieldBytes(appended.lastPosition) +
    fieldBytes(head) +
    (appended.deduplicated ? 2 : 0) +
    (2 + timeBytes) +
    epoch.length;
  for (const stream of appended.streams) size += delimitedBytes(streamBytes(stream));
  for (const id of ids) size += 2 + id.length;

  const into = Buffer.allocUnsafe(size);
  let offset = writeField(into, 0, 0x08, appended.firstPosition);
  offset = writeField(into, offset, 0x10, appended.lastPosition);
  for (const stream of appended.streams) offset = writeStream(into, offset, stream);
  offset = writeField(into, offset, 0x20, head);
  offset = writeField(into, offset, 0x28, appended.deduplicated ? 1 : 0);
  into[offset] = 0x32;
  into[offset + 1] = timeBytes;
  offset = writeField(into, offset + 2, 0x08, seconds);
  offset = writeField(into, offset, 0x10, nanos);
  for (const id of ids) {
    into[offset] = 0x3a;
    into[offset + 1] = id.length;
    offset += 2 + into.write(id, offset + 2, "latin1");
  }
  into.set(epoch, offset);
  return into;
}

/** `AppendPipeResponse` around an answer or a failure: 0x08 sequence, tag, length, message. */
export function pipeResponse(sequence: number, tag: 0x12 | 0x1a, message: Uint8Array): Buffer {
  const into = Buffer.allocUnsafe(fieldBytes(sequence) + delimitedBytes(message.length));
  let offset = writeField(into, 0, 0x08, sequence);
  into[offset] = tag;
  offset = writeVarint(into, offset + 1, message.length);
  into.set(message, offset);
  return into;
}

function streamBytes({ stream, firstVersion, lastVersion }: AppendedStream): number {
  const name = delimitedBytes(Buffer.byteLength(stream));
  return name + fieldBytes(firstVersion) + fieldBytes(lastVersion);
}

function writeStream(into: Buffer, offset: number, stream: AppendedStream): number {
  into[offset] = 0x1a;
  offset = writeVarint(into, offset + 1, streamBytes(stream));
  into[offset] = 0x0a;
  offset = writeVarint(into, offset + 1, Buffer.byteLength(stream.stream));
  offset += into.write(stream.stream, offset, "utf8");
  offset = writeField(into, offset, 0x10, stream.firstVersion);
  return writeField(into, offset, 0x18, stream.lastVersion);
}

/** Bytes of a varint field with a tag of one byte. A zero is not written. */
function fieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

function writeField(into: Buffer, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  into[offset] = tag;
  return writeVarint(into, offset + 1, value);
}

function delimitedBytes(length: number): number {
  return 1 + varintBytes(length) + length;
}
