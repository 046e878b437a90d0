// Turns a `ProposedMessage` into an event of the log: the client's bytes are walked once, and the
// record's body is composed from views of them.

import { isUtf8 } from "node:buffer";
import type { NewEvent } from "../../../domain/event.ts";
import type { Limits } from "../../../domain/limits.ts";
import { WireReader, writeVarint } from "../../../domain/wire.ts";
import { fromBinary } from "@bufbuild/protobuf";
import { UUIDSchema } from "../../../gen/event_store/client/shared_pb.js";
import { clientIdKey, metadataBase64Key, metadataKey } from "../mapping/content.ts";
import { appendTooLarge, invalidArgument, missingProperty } from "../mapping/errors.ts";
import { idOf } from "../mapping/ids.ts";
import { isReservedType } from "../mapping/names.ts";
import { bufferOf, fieldSize, isPlainAscii, writeBytesField } from "../mapping/bytes.ts";

/** An event as this protocol's clients propose it. */
export interface Proposed {
  /** Lower-case text. */
  readonly id: string;
  readonly type: string;
  readonly contentType: string;
  readonly metadata: Uint8Array;
  readonly data: Uint8Array;
}

const nothing: Uint8Array = new Uint8Array();
const binaryType = "application/octet-stream";

/**
 * A `ProposedMessage` of Append or BatchAppend. Throws INVALID_ARGUMENT, also for malformed bytes.
 */
export function readProposed(bytes: Uint8Array, limits: Limits): Proposed {
  try {
    return proposedIn(new WireReader(bufferOf(bytes)), limits);
  } catch (error) {
    if (error instanceof RangeError) throw invalidArgument("the proposed message is malformed");
    throw error;
  }
}

function proposedIn(reader: WireReader, limits: Limits): Proposed {
  let id: string | undefined;
  let type: string | undefined;
  let contentType: string | undefined;
  let metadata = nothing;
  let data = nothing;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x0a) id = idIn(reader.view());
    else if (tag === 0x12) {
      const end = reader.lengthEnd();
      const [key, value] = entryIn(new WireReader(reader.bytes, reader.offset, end));
      reader.offset = end;
      if (key === "type") type = value;
      else if (key === "content-type") contentType = value;
    } else if (tag === 0x1a) metadata = reader.view();
    else if (tag === 0x22) data = reader.view();
    else reader.passOver(tag & 7);
  }
  if (type === undefined || type === "" || contentType === undefined) throw missingProperty();
  if (id === undefined) throw invalidArgument("the event id is missing, or is not a UUID");
  return checked({ id, type, contentType, metadata, data }, limits);
}

const printable = /^[\x20-\x7e]+$/;
const control = /\p{Cc}/u;

/** Throws INVALID_ARGUMENT. */
export function checked(proposed: Proposed, limits: Limits): Proposed {
  const { id, type, contentType, metadata, data } = proposed;
  if (isNil(id)) throw invalidArgument("the event id is empty");
  if (Buffer.byteLength(type) > limits.typeBytesMax) {
    throw invalidArgument(`the event type has more than ${limits.typeBytesMax} bytes`);
  }
  if (control.test(type)) throw invalidArgument("the event type has a control character");
  if (isReservedType(type)) throw invalidArgument(`only the server writes events of type ${type}`);
  // With the largest envelope, the record still fits a message of this server.
  if (metadata.length * 1.4 + data.length > limits.eventBytesMax) {
    throw appendTooLarge(limits.eventBytesMax);
  }
  const isKept = contentType.length <= limits.contentTypeBytesMax && printable.test(contentType);
  return isKept ? proposed : { ...proposed, contentType: binaryType };
}

function isNil(id: string): boolean {
  if (id.charCodeAt(0) !== 0x30 && id.charCodeAt(0) !== 0x66) return false;
  return /^(0{8}-0{4}-0{4}-0{4}-0{12}|f{8}-f{4}-f{4}-f{4}-f{12})$/.test(id);
}

function idIn(bytes: Uint8Array): string | undefined {
  const isText = bytes.length === 38 && bytes[0] === 0x12 && bytes[1] === 36;
  if (!isText) return parsedId(bytes);
  const id = bufferOf(bytes).toString("latin1", 2, 38);
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id)
    ? id
    : parsedId(bytes);
}

function parsedId(bytes: Uint8Array): string | undefined {
  try {
    return idOf(fromBinary(UUIDSchema, bytes));
  } catch {
    return undefined;
  }
}

function entryIn(entry: WireReader): [key: string, value: string] {
  let key = "";
  let value = "";
  while (!entry.done) {
    const tag = entry.varint();
    if (tag === 0x0a) key = textIn(entry.view());
    else if (tag === 0x12) value = textIn(entry.view());
    else entry.passOver(tag & 7);
  }
  return [key, value];
}

function textIn(bytes: Uint8Array): string {
  if (isPlainAscii(bytes)) return bufferOf(bytes).toString("latin1");
  if (!isUtf8(bytes)) throw invalidArgument("metadata is not valid UTF-8");
  return bufferOf(bytes).toString("utf8", 0, bytes.length);
}

const nameBytes = new Map<string, Buffer>();

/** The bytes of a name that many events have. */
function bytesOf(name: string): Buffer {
  let bytes = nameBytes.get(name);
  if (bytes === undefined) {
    bytes = Buffer.from(name);
    if (nameBytes.size >= 1_000) nameBytes.clear();
    nameBytes.set(name, bytes);
  }
  return bytes;
}

/**
 * The event for the log. `storedId`: an id that the log can use, where it cannot use the client's;
 * that is kept in the event's metadata.
 */
export function eventForLog(proposed: Proposed, stream: string, storedId = proposed.id): NewEvent {
  const { type, contentType, metadata, data } = proposed;
  const isText = isUtf8(metadata);
  const key = bytesOf(isText ? metadataKey : metadataBase64Key);
  const value = isText ? metadata : Buffer.from(bufferOf(metadata).toString("base64"));
  const entry = fieldSize(key.length) + fieldSize(value.length);
  const streamBytes = bytesOf(stream);
  const typeBytes = bytesOf(type);
  const contentBytes = bytesOf(contentType);
  const isOwnId = storedId === proposed.id;
  const idEntry = fieldSize(clientIdKey.length) + fieldSize(36);
  const length =
    fieldSize(36) +
    fieldSize(streamBytes.length) +
    fieldSize(typeBytes.length) +
    (value.length === 0 ? 0 : fieldSize(entry)) +
    (isOwnId ? 0 : fieldSize(idEntry)) +
    fieldSize(contentBytes.length) +
    (data.length === 0 ? 0 : fieldSize(data.length));
  const body = Buffer.allocUnsafe(length);
  body[0] = 0x0a;
  body[1] = 36;
  let at = 2 + body.write(storedId, 2, "latin1");
  at = writeBytesField(body, at, 0x12, streamBytes);
  at = writeBytesField(body, at, 0x1a, typeBytes);
  if (value.length > 0) at = writeEntry(body, at, entry, key, value);
  if (!isOwnId) at = writeEntry(body, at, idEntry, bytesOf(clientIdKey), Buffer.from(proposed.id));
  at = writeBytesField(body, at, 0x32, contentBytes);
  if (data.length > 0) writeBytesField(body, at, 0x3a, data);
  return { id: storedId, stream, type, tags: noTags, idFromClient: true, body };
}

const noTags: readonly string[] = Object.freeze([]);

function writeEntry(
  into: Buffer,
  at: number,
  bytes: number,
  key: Uint8Array,
  value: Uint8Array,
): number {
  into[at] = 0x2a;
  const start = writeVarint(into, at + 1, bytes);
  return writeBytesField(into, writeBytesField(into, start, 0x0a, key), 0x12, value);
}
