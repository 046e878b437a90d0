// Converts batches for clients. In the full view stored frames are sent unchanged. The other views
// rewrite each record on the wire: `headers` leaves the payload out, `json` replaces it by the
// decoded value. A batch that grows is split, so that every message fits the default limit of 4
// MiB.

import { isJsonContentType } from "../../domain/json.ts";
import type { Limits } from "../../domain/limits.ts";
import { recordsIn } from "../../domain/record.ts";
import { varintBytes, WireReader, writeVarint } from "../../domain/wire.ts";
import type { Batch, RereadableBatch } from "../../log/verbs.ts";
import {
  MessageParts,
  prefixed,
  PrefixedMessages,
  RepeatableMessage,
  type Message,
} from "../transport/message-parts.ts";
import { valueBytesOfText } from "./json-value.ts";
import type { EventView } from "./read-request.ts";

/** The tag of `EventBatch.events`, with which every stored frame begins. */
const tagEvents = 0x0a;
const tagContentType = 0x32;
const tagData = 0x3a;
const tagJson = 0x42;

/** Below the 4 MiB that clients accept by default. */
const messageBytesMax = 4 * 1024 * 1024 - 16 * 1024;

/**
 * Frames of at least this average size are sent unchanged, because copying them costs more than
 * separate writes.
 */
const partBytesMin = 4 * 1024;

/**
 * The batch as messages whose field `tag` is an `EventBatch`, such as `ReadResponse.batch`. Usually
 * one message; more if a view or a large batch requires it.
 */
export function batchMessages(
  batch: Batch,
  tag: number,
  view: EventView,
  limits: Limits,
): Buffer[] {
  if (batch.count === 0) return [];
  if (view === "full" && batch.bytes <= messageBytesMax) return [wrap(tag, batch.frames)];
  const messages: Buffer[] = [];
  let frames: Uint8Array[] = [];
  let bytes = 0;
  for (const batchFrames of batch.frames) {
    for (const record of recordsIn(batchFrames)) {
      const frame = wrap(tagEvents, inView(record, view, limits));
      if (bytes > 0 && bytes + frame.length > limits.batchBytesMax) {
        messages.push(wrap(tag, frames));
        frames = [];
        bytes = 0;
      }
      frames.push(frame);
      bytes += frame.length;
    }
  }
  messages.push(wrap(tag, frames));
  return messages;
}

/**
 * As `batchMessages`, but records that were read in large parts are sent in these parts. For one
 * client only.
 */
export function batchInParts(
  batch: Batch,
  tag: number,
  view: EventView,
  limits: Limits,
): readonly Message[] {
  const { frames, bytes } = batch;
  // A small frame that waits for its client would keep its whole chunk in memory.
  const isCoarse = bytes >= frames.length * partBytesMin;
  if (batch.count === 0 || !isCoarse || view !== "full" || bytes > messageBytesMax) {
    return batchMessages(batch, tag, view, limits);
  }
  return [new MessageParts([tagAndLength(tag, bytes), ...frames])];
}

/**
 * What subscribers with the same view get of a batch. `prefixed`: its messages together. Undefined:
 * there are none, or they are too many bytes for one piece.
 */
interface Encoded {
  readonly messages: readonly Buffer[];
  readonly prefixed: PrefixedMessages | undefined;
}
/** How many times as many bytes a view of a batch has that is still one piece. */
const viewGrowth = 4;
const encodedBatches = new WeakMap<Batch, Partial<Record<EventView, Encoded>>>();

/**
 * As `batchMessages`, computed once for all subscribers that get the same batch. Always with the
 * same tag.
 */
export function batchMessagesOnce(
  batch: Batch | RereadableBatch,
  tag: number,
  view: EventView,
  limits: Limits,
): Encoded {
  const origin = "origin" in batch ? batch.origin : batch;
  let encoded = encodedBatches.get(origin);
  if (encoded === undefined) encodedBatches.set(origin, (encoded = {}));
  return (encoded[view] ??= encodedOf(batchMessages(origin, tag, view, limits), limits));
}

function encodedOf(messages: readonly Buffer[], { batchBytesMax }: Limits): Encoded {
  let bytes = 0;
  for (const { length } of messages) bytes += length;
  const isOnePiece = messages.length === 1 || bytes <= batchBytesMax * viewGrowth;
  const isThere = messages.length > 0 && isOnePiece;
  return { messages, prefixed: isThere ? new PrefixedMessages(prefixed(messages)) : undefined };
}

/**
 * The messages of a batch, which `make` makes. They can be made again, and nothing of the batch is
 * kept for that.
 */
export function repeatable(
  batch: Batch | RereadableBatch,
  make: () => readonly Message[],
): (Message | RepeatableMessage)[] {
  if (!("again" in batch)) return [...make()];
  const messages = make().map((message, i) => {
    const again = async (): Promise<Message | undefined> => {
      await batch.again();
      const made = make()[i];
      batch.letGo();
      return made;
    };
    return new RepeatableMessage(message, { rest: () => batch.rest(), again });
  });
  batch.letGo();
  return messages;
}

/** A record in the view, as the parts of a `RecordedEvent`. */
export function inView(record: Uint8Array, view: EventView, limits: Limits): Uint8Array[] {
  switch (view) {
    case "full":
      return [record];
    case "headers":
      return withoutData(record);
    case "json":
      return withJson(record, limits);
  }
}

/** A length-delimited field that contains the parts, concatenated. */
export function wrap(tag: number, parts: readonly Uint8Array[]): Buffer {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  const field = Buffer.allocUnsafe(1 + varintBytes(bytes) + bytes);
  field[0] = tag;
  let offset = writeVarint(field, 1, bytes);
  for (const part of parts) {
    field.set(part, offset);
    offset += part.length;
  }
  return field;
}

function tagAndLength(tag: number, bytes: number): Buffer {
  const head = Buffer.allocUnsafe(1 + varintBytes(bytes));
  head[0] = tag;
  writeVarint(head, 1, bytes);
  return head;
}

function withoutData(record: Uint8Array): Uint8Array[] {
  const { start, end } = scanPayload(record);
  return [record.subarray(0, start), record.subarray(end)];
}

/**
 * Decodes JSON payloads. A payload that is not JSON, or does not fit a message when decoded, stays
 * as bytes.
 */
function withJson(record: Uint8Array, { eventBytesMax }: Limits): Uint8Array[] {
  const { start, end, data, contentType } = scanPayload(record);
  if (data === undefined || !isJsonContentType(contentType)) return [record];
  const value = valueBytesOfText(data, eventBytesMax);
  if (value === undefined) return [record];
  return [record.subarray(0, start), wrap(tagJson, [value]), record.subarray(end)];
}

interface Payload {
  /** The bounds of the payload's field. Both are the end of the record if it has none. */
  readonly start: number;
  readonly end: number;
  readonly data: Uint8Array | undefined;
  readonly contentType: string;
}

function scanPayload(record: Uint8Array): Payload {
  const reader = new WireReader(record);
  let start = record.length;
  let end = record.length;
  let data: Uint8Array | undefined;
  let contentType = "";
  while (!reader.done) {
    const { offset } = reader;
    const tag = reader.varint();
    if (tag === tagData) {
      data = reader.view();
      start = offset;
      end = reader.offset;
    } else if (tag === tagContentType) {
      contentType = Buffer.from(reader.view()).toString("latin1");
    } else reader.passOver(tag & 7);
  }
  return { start, end, data, contentType };
}
