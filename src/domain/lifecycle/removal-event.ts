// The system event that records how the space of removed events was reclaimed: which chunks of the
// log were rewritten, and their new hashes. The event is in the hash chain, so that its statements
// are as reliable as the chain itself. Its JSON is on disk: members are only ever added.
//
//   chunks   for each: [first position, last position, SHA-256 of the rewritten chunk (base64)]
//   events   how many events became removed records
//   bytes    how much shorter the chunks have become
//   streams  the streams of these events, the first hundred by name:
//            { stream, events, before, policy }
//            all events before version `before` are removed; `policy` is the position of the event
//            that says who asked for it, and why
//   streamCount  the number of streams

import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { corruption } from "../errors.ts";
import type { NewEvent } from "../event.ts";
import { canonicalJson, isJsonObject, parseJson, type Json } from "../json.ts";
import { decodeRecord } from "../record.ts";

const removalStream = "$removals";
export const removalType = "$EventsRemoved";

const streamsToldMax = 100;

export interface RewrittenChunk {
  readonly first: number;
  readonly last: number;
  /** Of the chunk's complete value. */
  readonly sha256: Uint8Array;
}

export interface RemovedOfStream {
  readonly stream: string;
  readonly events: number;
  /** Every event before this version is removed. */
  readonly before: number;
  /** The position of the lifecycle event in force. */
  readonly policy: number;
}

export interface Removal {
  readonly chunks: readonly RewrittenChunk[];
  readonly events: number;
  readonly bytes: number;
  readonly streams: readonly RemovedOfStream[];
}

/** Only the store itself writes these. */
export function removalEvent(removal: Removal): NewEvent {
  const { chunks, events, bytes, streams } = removal;
  const told = streams.toSorted((a, b) => (a.stream < b.stream ? -1 : 1)).slice(0, streamsToldMax);
  const json: Json = {
    chunks: chunks.map(({ first, last, sha256 }) => [first, last, base64(sha256)]),
    events,
    bytes,
    streams: told.map((each) => ({ ...each })),
    streamCount: streams.length,
  };
  const header = { id: "", stream: removalStream, type: removalType, tags: [] };
  const data = new TextEncoder().encode(canonicalJson(json));
  const fields = { ...header, contentType: "application/json", data };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  return { ...header, idFromClient: false, body };
}

/**
 * The chunks that a removal event says were rewritten, by their last positions. Throws CORRUPTION.
 */
export function chunksRewrittenBy(record: Uint8Array): Map<number, Uint8Array> {
  const { data, stream, type, position } = decodeRecord(record);
  const at = { first: Number(position), stream };
  if (stream !== removalStream || type !== removalType) {
    throw corruption("the event is not the record of a removal", at);
  }
  const json = parseJson(data);
  const chunks = json !== undefined && isJsonObject(json) ? json["chunks"] : undefined;
  if (!Array.isArray(chunks)) throw corruption("the record of a removal cannot be read", at);
  const rewritten = new Map<number, Uint8Array>();
  for (const chunk of chunks) {
    const [first, last, sha256] = Array.isArray(chunk) ? chunk : [];
    const isChunk = typeof first === "number" && typeof last === "number" && first <= last;
    if (!isChunk || typeof sha256 !== "string") {
      throw corruption("the record of a removal cannot be read", at);
    }
    rewritten.set(last, new Uint8Array(Buffer.from(sha256, "base64")));
  }
  return rewritten;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
