// The requests of a BatchAppend call, put together: an append may come in several messages, and
// what is wrong with one is the answer to it alone.

import { fromBinary } from "@bufbuild/protobuf";
import { eventObjectBytes } from "../../../domain/append.ts";
import { defaultLimits } from "../../../domain/limits.ts";
import { Effort, type Steps } from "../../../domain/steps.ts";
import { WireReader } from "../../../domain/wire.ts";
import {
  BatchAppendReq_OptionsSchema,
  type BatchAppendReq_Options,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import { expectedRevisionOf } from "./append.ts";
import type { ExpectedRevision } from "./append-rules.ts";
import type { LogContext } from "../mapping/context.ts";
import { appendTooLarge, invalidArgument, tooManyEvents } from "../mapping/errors.ts";
import { checkedName, nameOf } from "../mapping/names.ts";
import { readProposed, type Proposed } from "./proposed-event.ts";
import { bufferOf } from "../mapping/bytes.ts";

/** How many appends of a call may be incomplete at a time. */
const incompleteMax = 1_000;
/** Their bytes, at most. */
const incompleteBytesMax = 32 * 1024 * 1024;

/** Events of one request. */
const proposedMax = defaultLimits.commitEventsMax;

/** An append, while its messages come in. */
export interface BatchedAppend {
  /** The id that the client sent, which the answer repeats. */
  readonly correlation: Uint8Array;
  readonly identifier: Uint8Array;
  readonly stream: string;
  readonly expected: ExpectedRevision;
  /** Milliseconds since 1970. */
  readonly deadline: number;
  readonly events: Proposed[];
  bytes: number;
  /** Drawn for it from the budget, until it is answered. */
  heldBytes: number;
  /** Why it will be refused, when all of it has come. */
  refusal: unknown;
}

interface Message {
  correlation: Uint8Array;
  options: Uint8Array | undefined;
  readonly proposed: Uint8Array[];
  /** It has more events than that. */
  hasTooMany: boolean;
  isFinal: boolean;
}

export class Incomplete {
  private readonly batches = new Map<string, BatchedAppend>();
  private bytes = 0;

  /** The append that is complete with this message. Throws OVERLOADED. */
  *add(
    context: LogContext,
    request: Buffer,
    hold: (bytes: number) => void,
  ): Steps<BatchedAppend | undefined> {
    const message = messageIn(request);
    const heldBytes = request.length + (1 + message.proposed.length) * eventObjectBytes;
    hold(heldBytes);
    const isAlone = message.isFinal && this.batches.size === 0;
    const key = isAlone ? "" : bufferOf(message.correlation).toString("latin1");
    const known = isAlone ? undefined : this.batches.get(key);
    const batch = known ?? begin(context, message);
    batch.bytes += request.length;
    batch.heldBytes += heldBytes;
    this.bytes += known === undefined && message.isFinal ? 0 : request.length;
    try {
      if (batch.refusal === undefined) yield* take(context, batch, message);
    } catch (error) {
      batch.refusal = error;
    }
    if (batch.refusal !== undefined) batch.events.length = 0;
    if (message.isFinal) {
      this.batches.delete(key);
      if (known !== undefined) this.bytes -= batch.bytes;
      return batch;
    }
    this.batches.set(key, batch);
    if (this.batches.size > incompleteMax || this.bytes > incompleteBytesMax) {
      throw invalidArgument("too many appends of this call are not complete");
    }
    return undefined;
  }
}

/** What it costs to read an event: see domain/steps.ts. */
const eventCost = 256;

/** Throws if the options are not valid. */
function* take({ limits }: LogContext, batch: BatchedAppend, message: Message): Steps<void> {
  const { proposed, hasTooMany } = message;
  if (batch.bytes > limits.appendBytesMax) throw appendTooLarge(limits.appendBytesMax);
  if (hasTooMany) throw tooManyEvents(proposedMax, limits.appendBytesMax);
  const effort = new Effort();
  for (const bytes of proposed) {
    batch.events.push(readProposed(bytes, limits));
    if (effort.spend(eventCost)) yield effort.take();
  }
}

function begin(context: LogContext, { correlation, options }: Message): BatchedAppend {
  const nothing = new Uint8Array();
  const common = { correlation, events: [], bytes: 0, heldBytes: 0, refusal: undefined };
  try {
    if (options === undefined) throw invalidArgument("the options are missing");
    return { ...common, ...optionsIn(context, options) };
  } catch (refusal) {
    const expected = { kind: "any" } as const;
    return { ...common, identifier: nothing, stream: "", expected, deadline: Infinity, refusal };
  }
}

type BatchOptions = Pick<BatchedAppend, "identifier" | "stream" | "expected" | "deadline">;

/** The usual options are walked; what is unusual in them is left to the generated codec. */
function optionsIn(context: LogContext, bytes: Uint8Array): BatchOptions {
  try {
    const options = walkOptions(context, new WireReader(bytes));
    if (options !== undefined) return options;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return decodedOptions(context, bytes);
}

const expectations: Readonly<Record<number, ExpectedRevision>> = {
  0x1a: { kind: "none" },
  0x22: { kind: "any" },
  0x2a: { kind: "exists" },
};

/** Undefined: something is missing or not known. Throws `RangeError` for malformed bytes. */
function walkOptions({ limits }: LogContext, reader: WireReader): BatchOptions | undefined {
  let identifier: Uint8Array | undefined;
  let expected: ExpectedRevision | undefined;
  let deadline = Infinity;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x0a) {
      const end = reader.lengthEnd();
      if (reader.varint() !== 0x1a) return undefined;
      identifier = reader.view();
      if (reader.offset !== end) return undefined;
    } else if (tag === 0x10) expected = { kind: "revision", revision: BigInt(reader.varint()) };
    else if (tag === 0x32) deadline = msIn(reader);
    else if (tag === 0x3a) deadline = Date.now() + msIn(reader);
    else if (tag in expectations && reader.varint() === 0) expected = expectations[tag];
    else return undefined;
  }
  if (identifier === undefined || expected === undefined) return undefined;
  return { identifier, stream: checkedName(identifier, limits), expected, deadline };
}

/** A `Timestamp` or `Duration` that is not negative. */
function msIn(reader: WireReader): number {
  const end = reader.lengthEnd();
  let ms = 0;
  while (reader.offset < end) {
    const tag = reader.varint();
    if (tag === 0x08) ms += reader.varint() * 1_000;
    else if (tag === 0x10) ms += reader.varint() / 1e6;
    else reader.passOver(tag & 7);
  }
  return ms;
}

function decodedOptions({ limits }: LogContext, bytes: Uint8Array): BatchOptions {
  const wire: BatchAppendReq_Options = fromBinary(BatchAppendReq_OptionsSchema, bytes);
  const stream = nameOf(wire.streamIdentifier, limits);
  const identifier = wire.streamIdentifier?.streamName ?? new Uint8Array();
  const expected = expectedRevisionOf(wire.expectedStreamPosition);
  return { identifier, stream, expected, deadline: deadlineOf(wire) };
}

/**
 * Some clients send the time since 1970, or ten thousand years, as the duration: such a deadline
 * never passes.
 */
function deadlineOf({ deadlineOption }: BatchAppendReq_Options): number {
  switch (deadlineOption.case) {
    case "deadline21100": {
      const { seconds, nanos } = deadlineOption.value;
      return Number(seconds) * 1_000 + nanos / 1e6;
    }
    case "deadline": {
      const { seconds, nanos } = deadlineOption.value;
      return Date.now() + Number(seconds) * 1_000 + nanos / 1e6;
    }
    default:
      return Infinity;
  }
}

function messageIn(request: Buffer): Message {
  const message: Message = {
    correlation: new Uint8Array(),
    options: undefined,
    proposed: [],
    hasTooMany: false,
    isFinal: false,
  };
  try {
    const reader = new WireReader(request);
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === 0x0a) message.correlation = reader.view();
      else if (tag === 0x12) message.options = reader.view();
      else if (tag === 0x1a) keep(message, reader.view());
      else if (tag === 0x20) message.isFinal = reader.varint() !== 0;
      else reader.passOver(tag & 7);
    }
  } catch (error) {
    if (error instanceof RangeError) throw invalidArgument("the request is malformed");
    throw error;
  }
  return message;
}

function keep(message: Message, event: Uint8Array): void {
  if (message.proposed.length < proposedMax) message.proposed.push(event);
  else message.hasTooMany = true;
}
