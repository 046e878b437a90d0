// A removed record is what remains of a removed event after its space was reclaimed. It is framed
// like any record. It keeps the header fields, so that the index still follows from the log; the
// version and position, so that both stay dense; and the hash of the event's content, so that a
// retry is recognised for ever. (The first builds left the hash out if the server had made the id.)
// The field `removed` replaces the longer fields, before the version and position:
//
//   record = id, stream, type, tags (fields 1 to 4), 0x82 0x01 `RemovedEvent`,
//            0x48 version, 0x50 position, 0x5a recorded_at, 0x62 principal: all but `RemovedEvent`
//            unchanged
//
// A client's event cannot look like a removed record, because its fields end with number 8.
//
// A lost record has the same form, with `lost` in place of `RemovedEvent`'s other fields. It takes
// the position (and the version) of an event that damage has lost: see leveldb/offline/salvage.ts.

import { hash } from "node:crypto";
import { contentOf } from "../domain/content.ts";
import { corruption } from "../domain/errors.ts";
import type { StoredEvent } from "../domain/event.ts";
import { storedEvent } from "../domain/record.ts";
import { varintBytes, WireReader, writeVarint } from "../domain/wire.ts";

const frameTag = 0x0a;
const removedField = 16;
const tagRemoved = (removedField << 3) | 2;
const tagContentHash = 0x0a;
const tagPolicy = 0x10;
const tagLost = 0x18;
const hashBytes = 32;
const lastHeaderField = 4;
const firstPlacementField = 9;
const noBytes = new Uint8Array();

/**
 * The framed removed record of an event. `policy` is the position of the lifecycle event that
 * removed it.
 */
export function composeRemovedRecord(
  record: Uint8Array,
  withHash: boolean,
  policy: number,
): Uint8Array {
  const hashed = withHash && !isLostRecord(record);
  const contentHash = hashed ? sha256(contentOf(record)) : new Uint8Array();
  const removed = Buffer.alloc((hashed ? 2 + hashBytes : 0) + 1 + varintBytes(policy));
  if (hashed) {
    removed.set([tagContentHash, hashBytes]);
    removed.set(contentHash, 2);
  }
  const policyStart = hashed ? 2 + hashBytes : 0;
  removed[policyStart] = tagPolicy;
  writeVarint(removed, policyStart + 1, policy);
  return composeEmptied(record, removed);
}

/** The position of the lifecycle event that removed a removed record's event. */
export function removalPolicyOf(record: Uint8Array): number {
  const removed = removedIn(record) ?? noBytes;
  const isHashed = removed[0] === tagContentHash;
  const reader = new WireReader(removed.subarray(isHashed ? 2 + hashBytes : 0));
  return reader.done || reader.varint() !== tagPolicy ? 0 : reader.varint();
}

/** The removed record, framed, as one of another lifecycle event. */
export function withRemovalPolicy(record: Uint8Array, policy: number): Uint8Array {
  const removed = removedIn(record);
  const kept = removed?.[0] === tagContentHash ? removed.subarray(0, 2 + hashBytes) : noBytes;
  const next = Buffer.alloc(kept.length + 1 + varintBytes(policy));
  next.set(kept);
  next[kept.length] = tagPolicy;
  writeVarint(next, kept.length + 1, policy);
  return composeEmptied(record, next);
}

/** The framed lost record in place of an event, of which `record` holds what is known. */
export function composeLostRecord(record: Uint8Array): Uint8Array {
  return composeEmptied(record, Buffer.from([tagLost, 1]));
}

/** The record with a `RemovedEvent` in place of its longer fields, framed. */
function composeEmptied(record: Uint8Array, removed: Uint8Array): Uint8Array {
  const [header, placement] = partsOf(record);
  const length = (parts: readonly Uint8Array[]) =>
    parts.reduce((bytes, part) => bytes + part.length, 0);
  const recordBytes =
    length(header) + 2 + varintBytes(removed.length) + removed.length + length(placement);
  const frame = Buffer.allocUnsafe(1 + varintBytes(recordBytes) + recordBytes);
  frame[0] = frameTag;
  let offset = writeVarint(frame, 1, recordBytes);
  const put = (part: Uint8Array): void => {
    frame.set(part, offset);
    offset += part.length;
  };
  for (const part of header) put(part);
  offset = writeVarint(frame, offset, tagRemoved);
  offset = writeVarint(frame, offset, removed.length);
  put(removed);
  for (const part of placement) put(part);
  return frame;
}

/** The fields of a record that are kept: those before and those after the dropped ones. */
function partsOf(record: Uint8Array): [Uint8Array[], Uint8Array[]] {
  const header: Uint8Array[] = [];
  const placement: Uint8Array[] = [];
  const reader = new WireReader(record);
  while (!reader.done) {
    const start = reader.offset;
    const tag = reader.varint();
    reader.passOver(tag & 7);
    const field = tag >> 3;
    const part = record.subarray(start, reader.offset);
    if (field <= lastHeaderField) header.push(part);
    else if (field >= firstPlacementField && field < removedField) placement.push(part);
  }
  return [header, placement];
}

/** Whether the record is of an event that was removed. A lost record is not. */
export function isRemovedRecord(record: Uint8Array): boolean {
  const removed = removedIn(record);
  return removed !== undefined && removed[0] !== tagLost;
}

export function isLostRecord(record: Uint8Array): boolean {
  return removedIn(record)?.[0] === tagLost;
}

/** The `RemovedEvent` of a removed record. Undefined: the record is not one. */
function removedIn(record: Uint8Array): Uint8Array | undefined {
  const reader = new WireReader(record);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === tagRemoved) return reader.view();
    reader.passOver(tag & 7);
  }
  return undefined;
}

/**
 * As `storedEvent`; of a removed record it also tells what it held. Throws CORRUPTION. A lost
 * record has an id of its own, so that the event that was lost can be appended again.
 */
export function storedEventOf(record: Uint8Array, idFromClient: boolean): StoredEvent {
  const event = storedEvent(record);
  const removed = removedIn(record);
  if (removed === undefined) return event;
  const held = removed[0] === tagContentHash ? removed.subarray(2, 2 + hashBytes) : undefined;
  // Nobody can tell what it held.
  if (held === undefined && !idFromClient) return { ...event, didHold: () => false };
  if (held?.length !== hashBytes) {
    const at = { first: event.position };
    throw corruption("a removed event whose id a client chose has lost its hash", at);
  }
  return { ...event, didHold: (content) => Buffer.compare(sha256(content), held) === 0 };
}

/** What a read says that needs an event that damage has lost. */
export function lostEvent({ position, stream }: { position: number; stream: string }): Error {
  const what = `the event at position ${position} was lost before this store was salvaged`;
  return corruption(what, { first: position, last: position, ...(stream && { stream }) });
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}
