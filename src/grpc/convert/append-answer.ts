// Composes the answer to an append by hand, because it is sent very often. A test proves it equal
// to the generated codec.
//
//   AppendResponse = 0x08 first_position, 0x10 last_position,
//     0x1a { 0x0a stream, 0x10 first_version, 0x18 last_version }*, 0x20 head, 0x28 deduplicated,
//     0x32 { 0x08 seconds, 0x10 nanos }, (0x3a event_id)*, 0x42 epoch

import type { Appended, AppendedStream } from "../../domain/append.ts";
import { varintBytes, writeField, writeVarint } from "../../domain/wire.ts";

const microsPerSecond = 1_000_000;
/** The tag of `AppendResponse.epoch`. */
export const tagAppendEpoch = 0x42;
const noIds: readonly string[] = [];

/** The longest fields of numbers and of the time, and those of each stream beside its name. */
const numbersBytesMax = 3 * 9 + 2 + (2 + 2 * 6);
const streamBytesMax = 3 + 3 + 2 * 9;

/** `epoch` is the field with its tag: see `epochField`. */
export function appendResponse(appended: Appended, head: number, epoch: Buffer): Buffer {
  const { ids = noIds, streams } = appended;
  const seconds = Math.floor(appended.recordedAt / microsPerSecond);
  const nanos = (appended.recordedAt - seconds * microsPerSecond) * 1_000;
  let bytesMax = numbersBytesMax + epoch.length;
  for (const { stream } of streams) bytesMax += streamBytesMax + Buffer.byteLength(stream);
  for (const id of ids) bytesMax += 2 + id.length;

  const into = Buffer.allocUnsafe(bytesMax);
  let offset = writeField(into, 0, 0x08, appended.firstPosition);
  offset = writeField(into, offset, 0x10, appended.lastPosition);
  for (const stream of streams) offset = writeStream(into, offset, stream);
  offset = writeField(into, offset, 0x20, head);
  offset = writeField(into, offset, 0x28, appended.deduplicated ? 1 : 0);
  const time = offset + 2;
  offset = writeField(into, time, 0x08, seconds);
  offset = writeField(into, offset, 0x10, nanos);
  into[time - 2] = 0x32;
  into[time - 1] = offset - time;
  for (const id of ids) {
    into[offset] = 0x3a;
    into[offset + 1] = id.length;
    offset += 2 + into.write(id, offset + 2, "latin1");
  }
  into.set(epoch, offset);
  return into.subarray(0, offset + epoch.length);
}

/** `AppendPipeResponse` around an answer or a failure: 0x08 sequence, tag, length, message. */
export function pipeResponse(sequence: number, tag: 0x12 | 0x1a, message: Uint8Array): Buffer {
  const headBytes = 2 + varintBytes(sequence) + varintBytes(message.length);
  const into = Buffer.allocUnsafe(headBytes + message.length);
  const offset = writeField(into, 0, 0x08, sequence);
  into[offset] = tag;
  into.set(message, writeVarint(into, offset + 1, message.length));
  return into;
}

/** Versions are never 0 here, so all three fields are written. */
function writeStream(
  into: Buffer,
  offset: number,
  { stream, firstVersion, lastVersion }: AppendedStream,
): number {
  const nameBytes = Buffer.byteLength(stream);
  const numbersBytes = 2 + varintBytes(firstVersion) + varintBytes(lastVersion);
  into[offset] = 0x1a;
  offset = writeVarint(into, offset + 1, 1 + varintBytes(nameBytes) + nameBytes + numbersBytes);
  into[offset] = 0x0a;
  offset = writeVarint(into, offset + 1, nameBytes);
  offset += into.write(stream, offset, "utf8");
  offset = writeField(into, offset, 0x10, firstVersion);
  return writeField(into, offset, 0x18, lastVersion);
}
