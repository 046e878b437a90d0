// One event on the fast path of an append: its bytes are checked where they lie and become the
// record's beginning, see append-wire.ts.

import type { NewEvent } from "../../domain/event.ts";
import type { Limits } from "../../domain/limits.ts";
import { varintBytes, WireReader, writeVarint } from "../../domain/wire.ts";
import type { Conversion } from "./event.ts";
import { defaultContentType } from "./metadata.ts";
import { asciiIn, leave, nameIn, passPrintableAscii, textIn, uuidIn } from "./wire-fields.ts";

const tagId = 0x0a;
const tagStream = 0x12;
const tagType = 0x1a;
const tagTags = 0x22;
const tagMetadata = 0x2a;
const tagContentType = 0x32;
const tagData = 0x3a;

const noTags: readonly string[] = Object.freeze([]);
const contentTypeField = Buffer.concat([
  Buffer.from([tagContentType, defaultContentType.data.length]),
  Buffer.from(defaultContentType.data),
]);

/** The event between two offsets. Throws `LeaveIt`, or `RangeError` on what is cut off. */
export function eventFromWire(
  bytes: Buffer,
  start: number,
  end: number,
  defaultStream: string,
  { limits, newId }: Conversion,
): NewEvent {
  if (end - start > limits.eventBytesMax) leave();
  const reader = new WireReader(bytes, start, end);
  let id = "";
  let stream = "";
  let type = "";
  let tags: string[] | undefined;
  let metadata: MetadataScan | undefined;
  let hasContentType = false;
  let hasData = false;
  while (reader.offset < end) {
    switch (bytes[reader.offset++]) {
      case tagId:
        if (id !== "") leave();
        id = uuidIn(reader);
        break;
      case tagStream:
        if (stream !== "") leave();
        stream = nameIn(reader, limits.streamNameBytesMax);
        break;
      case tagType:
        if (type !== "") leave();
        type = nameIn(reader, limits.typeBytesMax);
        break;
      case tagTags:
        tags ??= [];
        addTag(tags, nameIn(reader, limits.tagBytesMax), limits);
        break;
      case tagMetadata:
        metadata ??= { keys: new Set(), bytes: 0 };
        scanEntry(metadata, reader, limits);
        break;
      case tagContentType:
        if (hasContentType) leave();
        hasContentType = true;
        passPrintableAscii(reader, limits.contentTypeBytesMax);
        break;
      case tagData:
        if (hasData) leave();
        hasData = true;
        reader.offset = reader.lengthEnd();
        break;
      default:
        leave();
    }
  }
  const settledStream = stream === "" ? defaultStream : stream;
  if (type === "" || settledStream === "") leave();
  const idFromClient = id !== "";
  const settledId = idFromClient ? id : newId();
  const missingId = idFromClient ? "" : settledId;
  const missingStream = stream === "" ? defaultStream : "";
  const body = composeBody(bytes.subarray(start, end), missingId, missingStream, hasContentType);
  return { id: settledId, stream: settledStream, type, tags: tags ?? noTags, idFromClient, body };
}

function addTag(tags: string[], tag: string, limits: Limits): void {
  if (tags.length === limits.tagsMax || tags.includes(tag)) leave();
  tags.push(tag);
}

interface MetadataScan {
  readonly keys: Set<string>;
  bytes: number;
}

/** A map entry: a key and a value, each at most once. */
function scanEntry(scan: MetadataScan, reader: WireReader, limits: Limits): void {
  const end = reader.lengthEnd();
  let key: Uint8Array | undefined;
  let value: Uint8Array | undefined;
  while (reader.offset < end) {
    const tag = reader.bytes[reader.offset++];
    if (tag === 0x0a && key === undefined) key = textIn(reader);
    else if (tag === 0x12 && value === undefined) value = textIn(reader);
    else leave();
  }
  if (reader.offset !== end || key === undefined || key.length === 0 || key[0] === 0x24) leave();
  scan.bytes += key.length + (value?.length ?? 0);
  const entries = scan.keys.size;
  // Equal bytes are equal keys, whatever text they are.
  scan.keys.add(asciiIn(key, 0, key.length));
  if (scan.keys.size === entries || entries === limits.metadataEntriesMax) leave();
  if (scan.bytes > limits.metadataBytesMax) leave();
}

/** The client's bytes and what is missing; the same bytes where nothing is. */
function composeBody(client: Buffer, id: string, stream: string, hasContentType: boolean): Buffer {
  const streamBytes = stream === "" ? 0 : Buffer.byteLength(stream);
  const missing =
    (id === "" ? 0 : 2 + id.length) +
    (streamBytes === 0 ? 0 : 1 + varintBytes(streamBytes) + streamBytes) +
    (hasContentType ? 0 : contentTypeField.length);
  if (missing === 0) return client;
  const body = Buffer.allocUnsafe(client.length + missing);
  body.set(client);
  let offset = client.length;
  if (id !== "") {
    body[offset] = tagId;
    body[offset + 1] = id.length;
    offset += 2 + body.write(id, offset + 2, "latin1");
  }
  if (streamBytes > 0) {
    body[offset] = tagStream;
    offset = writeVarint(body, offset + 1, streamBytes);
    offset += body.write(stream, offset, "utf8");
  }
  if (!hasContentType) body.set(contentTypeField, offset);
  return body;
}
