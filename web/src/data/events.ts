// Events as the console keeps them, and pages of events. Large payloads are not kept in lists: they
// are read again when an event is opened, so that a page of large events costs no more than another.

import type { RecordedEventJson } from "../../../src/gen/annals/v1/event_pb.js";
import type { ReadEndJson, ReadRequestJson } from "../../../src/gen/annals/v1/read_pb.js";
import { api } from "../wire/api.ts";
import { CallFailure } from "../wire/call-failure.ts";
import { byteLengthOf } from "./payload.ts";

export interface ShownEvent {
  readonly id: string;
  /** Empty: the event has no stream. */
  readonly stream: string;
  readonly type: string;
  readonly tags: readonly string[];
  readonly metadata: readonly (readonly [string, string])[];
  readonly contentType: string;
  readonly version: string;
  readonly position: string;
  readonly recordedAt: string;
  readonly principal: string;
  readonly traceParent: string;
  readonly removed: RecordedEventJson["removed"];
  /** Base64: all of it, or only its beginning. */
  readonly data: string;
  /** Bytes of the payload. Undefined: it was not asked for. */
  readonly size: number | undefined;
  readonly isWhole: boolean;
}

export interface EventPage {
  readonly events: readonly ShownEvent[];
  readonly end: ReadEndJson;
  readonly epoch: string;
}

/** The most base64 of a payload that is kept in a list. */
const keptMax = 48 * 1024;
const beginningMax = 1_024;
/** Beyond so many bytes of payload, the rest of a page comes without payloads. */
const pageBytesMax = 4 * 1024 * 1024;

/** `keepsAll`: the payload is kept whatever its size. */
export function shownEvent(
  event: RecordedEventJson,
  hasPayload = true,
  keepsAll = false,
): ShownEvent {
  const { data = "" } = event;
  const isWhole = hasPayload && (keepsAll || data.length <= keptMax);
  return {
    id: event.id ?? "",
    stream: event.stream ?? "",
    type: event.type ?? "",
    tags: event.tags ?? [],
    metadata: Object.entries(event.metadata ?? {}),
    contentType: event.contentType ?? "",
    version: event.version ?? "0",
    position: event.position ?? "0",
    recordedAt: event.recordedAt ?? "",
    principal: event.principal ?? "",
    traceParent: event.traceParent ?? "",
    removed: event.removed,
    data: isWhole ? data : data.slice(0, beginningMax),
    size: hasPayload ? byteLengthOf(data) : undefined,
    isWhole,
  };
}

/** Reads at most `limit` events, and not much more than 4 MiB of payloads. */
export async function readPage(
  request: ReadRequestJson & { readonly limit: string },
  signal: AbortSignal,
): Promise<EventPage> {
  const events: ShownEvent[] = [];
  let bytes = 0;
  let epoch = "";
  for await (const message of api.read(request, signal)) {
    epoch = message.epoch ?? epoch;
    for (const event of message.batch?.events ?? []) {
      events.push(shownEvent(event, request.view !== "VIEW_HEADERS"));
      bytes += event.data?.length ?? 0;
    }
    if (message.end !== undefined) return { events, end: message.end, epoch };
    if (bytes > pageBytesMax && request.view !== "VIEW_HEADERS") {
      const rest = await readPage(restOf(request, events), signal);
      return { ...rest, events: [...events, ...rest.events] };
    }
  }
  throw new CallFailure("internal", "the read ended without its end");
}

/** What is still to be read, without payloads. */
function restOf(
  request: ReadRequestJson & { readonly limit: string },
  events: readonly ShownEvent[],
): ReadRequestJson & { readonly limit: string } {
  const { fromVersion: _, fromTime: __, fromPosition: ___, ...same } = request;
  const step = request.direction === "DIRECTION_BACKWARDS" ? -1n : 1n;
  const next = BigInt(events.at(-1)?.position ?? "0") + step;
  const limit = Math.max(1, Number(request.limit) - events.length);
  const from = { fromPosition: `${next < 1n ? 1n : next}` };
  return { ...same, ...from, limit: `${limit}`, view: "VIEW_HEADERS" };
}

/** The event at a position, with all of its payload. Undefined: none that may be seen is there. */
export async function readEvent(
  position: string,
  epoch: string,
  signal: AbortSignal,
): Promise<{ event: ShownEvent | undefined; epoch: string }> {
  const at = { fromPosition: position, toPosition: position, withRemoved: true };
  const request = { ...at, ...(epoch !== "" && { epoch }) };
  const found = await readOne(request, signal);
  if (found.event !== undefined) return found;
  // Events of the system are returned only where a query names their stream, and not to everybody.
  const query = { items: [{ streamPrefixes: ["$"] }] };
  return readOne({ ...request, query }, signal).catch((error: unknown) => {
    if (error instanceof CallFailure && error.code === "permission_denied") return found;
    throw error;
  });
}

async function readOne(request: ReadRequestJson, signal: AbortSignal) {
  let event: ShownEvent | undefined;
  let epoch = "";
  for await (const message of api.read(request, signal)) {
    epoch = message.epoch ?? epoch;
    const [first] = message.batch?.events ?? [];
    if (first !== undefined) event = shownEvent(first, true, true);
    if (message.end !== undefined) break;
  }
  return { event, epoch };
}
