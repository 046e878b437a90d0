// The fast path of an append: one walk over the request's bytes, by hand. An event that holds known
// fields only, each scalar once, all of them within limits, is taken as it came: its bytes are the
// record's beginning, and only what is missing (id, stream, content type) is put behind them.
//
//   body = the client's NewEvent bytes, [0x0a id], [0x12 stream], [0x32 content type]
//
// The client's bytes are untrusted and will be served to others for ever: whatever is not plainly
// valid here is left to the generated path, which refuses it by name or takes it in another shape.
// A test proves that both paths mean the same.

import type { Append, AppendCondition, Expected, StreamExpectation } from "../../domain/append.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { NewEvent } from "../../domain/event.ts";
import type { Limits } from "../../domain/limits.ts";
import { WireReader } from "../../domain/wire.ts";
import {
  AppendConditionSchema,
  StreamExpectationSchema,
  StreamState,
} from "../../gen/annals/v1/append_pb.js";
import { decodeRequest } from "../transport/decode.ts";
import { eventFromWire } from "./event-wire.ts";
import type { Conversion } from "./event.ts";
import { convertCondition, convertExpectations } from "./expectation.ts";
import { Violations } from "./violations.ts";
import { leave, LeaveIt, nameIn } from "./wire-fields.ts";

/** Undefined: the generated path must look at it. Never throws for what the bytes hold. */
export function appendFromWire(bytes: Buffer, conversion: Conversion): Append | undefined {
  try {
    return readAppend(bytes, conversion);
  } catch (error) {
    const expected = [LeaveIt, RangeError, AnnalsError].some((kind) => error instanceof kind);
    if (expected) return undefined;
    throw error;
  }
}

interface Parts {
  stream: string;
  expected: Expected | undefined;
  expectsOfStream: boolean;
  readonly spans: number[];
  readonly expectations: Uint8Array[];
  condition: Uint8Array | undefined;
}

function readAppend(bytes: Buffer, conversion: Conversion): Append {
  const { limits } = conversion;
  const reader = new WireReader(bytes);
  const parts = readParts(reader, limits);
  const { spans, stream } = parts;
  const events: NewEvent[] = [];
  let bodyBytes = 0;
  let wireBytes = 0;
  for (let i = 0; i < spans.length; i += 2) {
    const start = spans[i] as number;
    const end = spans[i + 1] as number;
    wireBytes += end - start;
    const event = eventFromWire(bytes, start, end, stream, conversion);
    bodyBytes += event.body.length;
    events.push(event);
  }
  if (events.length === 0 || wireBytes > limits.appendBytesMax) leave();
  if (events.length > 1 && hasTwins(events)) leave();
  if (parts.expectsOfStream && stream === "") leave();
  return {
    events,
    expectations: expectationsOf(parts, limits),
    condition: conditionOf(parts.condition, limits),
    bytes: bodyBytes,
  };
}

/** The fields of `AppendRequest`: events as pairs of offsets, the rest as they are. */
function readParts(reader: WireReader, limits: Limits): Parts {
  const parts: Parts = {
    stream: "",
    expected: undefined,
    expectsOfStream: false,
    spans: [],
    expectations: [],
    condition: undefined,
  };
  while (!reader.done) {
    switch (reader.bytes[reader.offset++]) {
      case 0x0a:
        if (parts.stream !== "") leave();
        parts.stream = nameIn(reader, limits.streamNameBytesMax);
        break;
      case 0x12: {
        const end = reader.lengthEnd();
        parts.spans.push(reader.offset, end);
        reader.offset = end;
        if (parts.spans.length > 2 * limits.appendEventsMax) leave();
        break;
      }
      case 0x18:
        if (parts.expectsOfStream) leave();
        parts.expectsOfStream = true;
        parts.expected = { kind: "version", version: reader.varint() };
        break;
      case 0x20:
        if (parts.expectsOfStream) leave();
        parts.expected = stateOf(reader.varint());
        parts.expectsOfStream = parts.expected !== undefined;
        break;
      case 0x2a:
        parts.expectations.push(reader.view());
        if (parts.expectations.length > limits.expectationsMax) leave();
        break;
      case 0x32:
        if (parts.condition !== undefined) leave();
        parts.condition = reader.view();
        break;
      default:
        leave();
    }
  }
  return parts;
}

function stateOf(state: number): Expected | undefined {
  switch (state as StreamState) {
    case StreamState.EXISTS:
      return { kind: "exists" };
    case StreamState.ABSENT:
      return { kind: "absent" };
    case StreamState.ANY:
    case StreamState.UNSPECIFIED:
      return undefined;
    default:
      return leave();
  }
}

function expectationsOf(parts: Parts, limits: Limits): StreamExpectation[] {
  const { stream, expected } = parts;
  const own = expected === undefined ? [] : [{ stream, expected }];
  if (parts.expectations.length === 0) return own;
  const v = new Violations();
  const expectations = parts.expectations.map((view) =>
    decodeRequest(StreamExpectationSchema, view),
  );
  const nothing = { case: undefined };
  const others = convertExpectations(v, { stream: "", expected: nothing, expectations }, limits);
  const alsoOwn = expected !== undefined && expectations.some((other) => other.stream === stream);
  if (!v.none || alsoOwn) leave();
  return [...own, ...others];
}

function conditionOf(view: Uint8Array | undefined, limits: Limits): AppendCondition | undefined {
  if (view === undefined) return undefined;
  const v = new Violations();
  const condition = convertCondition(v, decodeRequest(AppendConditionSchema, view), limits);
  if (!v.none) leave();
  return condition;
}

/** Whether two events have one id. Those the server made differ. */
function hasTwins(events: readonly NewEvent[]): boolean {
  const ids = new Set<string>();
  let fromClient = 0;
  for (const event of events) {
    if (!event.idFromClient) continue;
    fromClient++;
    ids.add(event.id);
  }
  return ids.size < fromClient;
}
