// Long requests in JSON, read in steps, so that none of them keeps others from the main thread: the
// events of an append are read one by one. Shorter ones are read at once (message-json.ts).

import { grown } from "../../domain/byte-writer.ts";
import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import { jsonShape, jsonValuesMax } from "../../domain/json.ts";
import { defaultLimits } from "../../domain/limits.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { varintBytes, writeVarint } from "../../domain/wire.ts";
import { AppendRequestSchema } from "../../gen/annals/v1/append_pb.js";
import { NewEventSchema } from "../../gen/annals/v1/event_pb.js";
import { JsonWalk, looked, scannedShare, tooMuch, type Span } from "./json-walk.ts";
import { messageInSteps } from "./long-payload.ts";
import { bodyDepthMax, bodyValuesMax, requestOfJson } from "./message-json.ts";
import { plainBytesMax } from "./plain-request.ts";

/** What a byte of an event costs, and the event itself. */
const readShare = 3 / 4;
const eventCost = 256;
/** Values of a long request that is no append, or of an append beside its events. */
const otherValuesMax = 10_000;
/** Of a request: as many values of a query as there may be. */
const requestRest = { bytesMax: 1_280 * 1024, beside: "its events and its payload" };
const eventRest = { bytesMax: 256 * 1024, beside: "the payload of an event" };
const eventsName = Buffer.from('"events"');
const { appendEventsMax } = defaultLimits;
/** No event with as many is within its limits. */
const eventValuesMax = jsonValuesMax + 1_000;
const tagEvents = AppendRequestSchema.field.events.number * 8 + 2;

/** No body of so few bytes has more values. */
const fewValuesBytes = otherValuesMax;

/** As `requestOfJson`, with every limit. */
export function* requestInSteps(schema: DescMessage, body: Buffer): Steps<Buffer> {
  if (body.length <= plainBytesMax && hasFewValues(body)) return requestOfJson(schema, body);
  const isAppend = schema === AppendRequestSchema;
  const bounds = { depthMax: bodyDepthMax, refusesExactNumbers: true };
  yield* looked(body, { ...bounds, valuesMax: isAppend ? bodyValuesMax : otherValuesMax });
  if (!isAppend) return yield* messageInSteps(schema, body, [0, body.length], requestRest);
  const { rest, events } = yield* split(body);
  yield* looked(rest, { ...bounds, valuesMax: otherValuesMax });
  const first = yield* messageInSteps(schema, rest, [0, rest.length], requestRest);
  const made = new MadeAppend(first, body.length);
  const effort = new Effort();
  for (const [start, end] of events) {
    const length = end - start;
    if (length > plainBytesMax) {
      const ofEvent = { ...bounds, valuesMax: eventValuesMax, where: "an event of " };
      yield* looked(body.subarray(start, end), ofEvent);
      made.add(yield* messageInSteps(NewEventSchema, body, [start, end], eventRest));
    } else made.add(shortEvent(body.subarray(start, end)));
    if (effort.spend(eventCost + Math.min(length, plainBytesMax) * readShare)) yield effort.take();
  }
  return made.bytes();
}

function hasFewValues(body: Buffer): boolean {
  return body.length <= fewValuesBytes || jsonShape(body).values <= otherValuesMax;
}

function shortEvent(text: Buffer): Buffer {
  if (text.length > eventValuesMax && jsonShape(text).values > eventValuesMax) {
    throw tooMuch(`has an event of more than ${eventValuesMax} values`);
  }
  return requestOfJson(NewEventSchema, text);
}

/** An append that gets its events. One buffer: each event comes in one of at least 1 KiB. */
export class MadeAppend {
  private made: Buffer;
  private at: number;

  constructor(rest: Buffer, bytes: number) {
    this.made = Buffer.allocUnsafeSlow(Math.max(bytes, rest.length));
    this.at = rest.copy(this.made);
  }

  add(event: Uint8Array): void {
    const needed = this.at + 1 + varintBytes(event.length) + event.length;
    if (needed > this.made.length) {
      this.made = grown(this.made, Math.max(needed, 2 * this.made.length));
    }
    this.made[this.at] = tagEvents;
    this.at = writeVarint(this.made, this.at + 1, event.length);
    this.made.set(event, this.at);
    this.at += event.length;
  }

  bytes(): Buffer {
    return this.made.subarray(0, this.at);
  }
}

function tooManyEvents() {
  const tooMany = `has more entries than append_events_max (${appendEventsMax})`;
  return invalidField("events", tooMany);
}

interface Split {
  /** The request with an empty list. */
  readonly rest: Buffer;
  /** Where each event begins and ends. */
  readonly events: readonly Span[];
}

/** Finds the events of a request. Throws INVALID_FIELD where it is no object. */
function* split(body: Buffer): Steps<Split> {
  const walk = new JsonWalk(body);
  const events: Span[] = [];
  let list: Span | undefined;
  const effort = new Effort();
  let seen = 0;
  walk.expect(0x7b);
  for (let isFirst = true; !walk.passes(0x7d); isFirst = false) {
    if (!isFirst) walk.expect(0x2c);
    const key = yield* walk.value();
    walk.expect(0x3a);
    const isEvents = body.subarray(...key).equals(eventsName);
    if (!isEvents || !walk.isNext(0x5b)) {
      yield* walk.value();
      if (effort.spend(eventCost)) yield effort.take();
      continue;
    }
    // Two of them are refused when the rest is read.
    events.length = 0;
    walk.expect(0x5b);
    const start = walk.at;
    for (let isFirstEvent = true; !walk.passes(0x5d); isFirstEvent = false) {
      if (!isFirstEvent) walk.expect(0x2c);
      if (events.length >= appendEventsMax) throw tooManyEvents();
      events.push(yield* walk.value());
      // A longer one was passed in steps.
      const passed = Math.min(walk.at - seen, plainBytesMax);
      if (effort.spend(eventCost + passed * scannedShare)) yield effort.take();
      seen = walk.at;
    }
    list = [start, walk.at - 1];
  }
  walk.end();
  const [from, to] = list ?? [body.length, body.length];
  return { rest: Buffer.concat([body.subarray(0, from), body.subarray(to)]), events };
}
