// An append from its request bytes. Most take the wire path (append-wire.ts), which copies the
// client's bytes; whatever that will not take, this generated path converts or refuses by name.

import type { Append } from "../../domain/append.ts";
import type { NewEvent } from "../../domain/event.ts";
import { AppendRequestSchema, type AppendRequest } from "../../gen/annals/v1/append_pb.js";
import { decodeRequest } from "../transport/decode.ts";
import { appendFromWire } from "./append-wire.ts";
import { convertUpdate } from "./checkpoint.ts";
import { checkCount, checkOwnName } from "./checks.ts";
import { convertEvent, type Conversion } from "./event.ts";
import { convertCondition, convertExpectations } from "./expectation.ts";
import { Violations } from "./violations.ts";

/** Throws INVALID_FIELD with every violation. */
export function appendFromBytes(bytes: Buffer, conversion: Conversion): Append {
  return (
    appendFromWire(bytes, conversion) ??
    convertAppend(decodeRequest(AppendRequestSchema, bytes), conversion)
  );
}

/** The generated path. */
export function convertAppend(wire: AppendRequest, conversion: Conversion): Append {
  const { limits } = conversion;
  const v = new Violations();
  if (wire.stream !== "") {
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    checkOwnName(v, "stream", wire.stream, limit);
  }
  const { events, wireBytes } = convertEvents(v, wire, conversion);
  if (wireBytes > limits.appendBytesMax) {
    const limit = `append_bytes_max (${limits.appendBytesMax})`;
    v.add("events", `have ${wireBytes} bytes together, more than ${limit}`);
  }
  const expectations = convertExpectations(v, wire, limits);
  const { condition: wireCondition } = wire;
  const condition = wireCondition && convertCondition(v, wireCondition, limits);
  const { checkpoint: wireUpdate } = wire;
  const checkpoint = wireUpdate && convertUpdate(v, "checkpoint.", wireUpdate, limits);
  v.throwIfAny();
  const bytes = events.reduce((sum, event) => sum + event.body.length, 0);
  return { events, expectations, condition, checkpoint, bytes };
}

function convertEvents(
  v: Violations,
  wire: AppendRequest,
  conversion: Conversion,
): { events: NewEvent[]; wireBytes: number } {
  const { appendEventsMax } = conversion.limits;
  const { length } = wire.events;
  if (length === 0) v.add("events", "is required: an append has at least one event");
  checkCount(v, "events", length, "append_events_max", appendEventsMax);
  const events: NewEvent[] = [];
  const ids = new Map<string, number>();
  let wireBytes = 0;
  if (length > appendEventsMax) return { events, wireBytes };
  wire.events.forEach((wireEvent, i) => {
    const field = `events[${i}]`;
    const converted = convertEvent(v, field, wireEvent, wire.stream, conversion);
    const { id } = converted.event;
    const first = ids.get(id);
    if (first === undefined) ids.set(id, i);
    else v.add(`${field}.id`, `is the same id as that of events[${first}]`);
    events.push(converted.event);
    wireBytes += converted.wireBytes;
  });
  return { events, wireBytes };
}
