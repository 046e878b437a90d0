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
//
// A store that was salvaged has the same kind of record about the chunks that take the place of
// lost ones, `$EventsLost` in `$losses`: `chunks` and `events` as above, and the `store` that
// was salvaged.

import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { corruption } from "../errors.ts";
import type { NewEvent } from "../event.ts";
import { canonicalJson, isJsonObject, parseJson, type Json } from "../json.ts";
import { decodeRecord } from "../record.ts";

export const removalStream = "$removals";
export const removalType = "$EventsRemoved";

export const lossStream = "$losses";
export const lossType = "$EventsLost";

const streamsToldMax = 100;

export interface RewrittenChunk {
  readonly first: number;
  readonly last: number;
  /** The hash of the chunk's complete value. */
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
    chunks: chunks.map(chunkJson),
    events,
    bytes,
    streams: told.map((each) => ({ ...each })),
    streamCount: streams.length,
  };
  return systemEvent(removalStream, removalType, json);
}

/** What a removal event tells of streams: the first hundred. Throws CORRUPTION. */
export function streamsRemovedBy(record: Uint8Array): RemovedOfStream[] {
  const { data, position, stream: name } = decodeRecord(record);
  const json = parseJson(data);
  const streams = json !== undefined && isJsonObject(json) ? json["streams"] : undefined;
  if (!Array.isArray(streams)) {
    const at = { first: Number(position), stream: name };
    throw corruption("the record of a removal cannot be read", at);
  }
  return streams.flatMap((each) => {
    if (!isJsonObject(each)) return [];
    const { stream, events, before, policy } = each;
    const isTold = typeof stream === "string" && typeof events === "number";
    const isBounded = typeof before === "number" && typeof policy === "number";
    return isTold && isBounded ? [{ stream, events, before, policy }] : [];
  });
}

/** Records chunks in the place of lost ones. */
export function lossEvent(
  chunks: readonly RewrittenChunk[],
  events: number,
  store: string,
): NewEvent {
  return systemEvent(lossStream, lossType, { chunks: chunks.map(chunkJson), events, store });
}

function chunkJson({ first, last, sha256 }: RewrittenChunk): Json {
  return [first, last, base64(sha256)];
}

function systemEvent(stream: string, type: string, json: Json): NewEvent {
  const header = { id: "", stream, type, tags: [] };
  const data = new TextEncoder().encode(canonicalJson(json));
  const fields = { ...header, contentType: "application/json", data };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  return { ...header, idFromClient: false, body };
}

/**
 * The chunks that a removal or loss event says were rewritten, by their last positions. Throws
 * CORRUPTION.
 */
export function chunksRewrittenBy(record: Uint8Array): Map<number, Uint8Array> {
  const { data, stream, type, position } = decodeRecord(record);
  const at = { first: Number(position), stream };
  const isRemoval = stream === removalStream && type === removalType;
  if (!isRemoval && !(stream === lossStream && type === lossType)) {
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
