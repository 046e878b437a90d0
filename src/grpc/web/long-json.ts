// Long requests in JSON, read in steps, so that none of them keeps others from the main thread: the
// events of an append are read one by one. Shorter ones are read at once (message-json.ts).

import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import { jsonShape, JsonScan, jsonValuesMax, stringEnds } from "../../domain/json.ts";
import { defaultLimits } from "../../domain/limits.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { varintBytes, writeVarint } from "../../domain/wire.ts";
import { AppendRequestSchema } from "../../gen/annals/v1/append_pb.js";
import { NewEventSchema } from "../../gen/annals/v1/event_pb.js";
import { grown } from "../transport/message-parts.ts";
import { bodyDepthMax, bodyValuesMax, requestOfJson } from "./message-json.ts";
import { plainBytesMax } from "./plain-request.ts";

/** Bytes that are looked over in one step, and what each of them costs. */
const scannedBytes = 128 * 1024;
const scannedShare = 1 / 8;
/** What a byte of an event costs, and the event itself. */
const readShare = 1 / 4;
const eventCost = 256;
/** Values of a long request that is no append. */
const otherValuesMax = 10_000;
/** Bytes beside strings in one event, or around it, and of the request without its events. */
const besideBytesMax = 2 * 1024 * 1024;
const eventsName = Buffer.from('"events"');
const { appendEventsMax } = defaultLimits;
const tooMany = `has more entries than append_events_max (${appendEventsMax})`;
/** No event with as many is within its limits. */
const eventValuesMax = jsonValuesMax + 1_000;
const tagEvents = AppendRequestSchema.field.events.number * 8 + 2;

/** As `requestOfJson`. */
export function* requestInSteps(schema: DescMessage, body: Buffer): Steps<Buffer> {
  if (body.length <= plainBytesMax) return requestOfJson(schema, body);
  const isAppend = schema === AppendRequestSchema;
  yield* looked(body, isAppend ? bodyValuesMax : otherValuesMax);
  if (!isAppend) return requestOfJson(schema, body);
  const { rest, events } = yield* split(body);
  const first = requestOfJson(schema, rest);
  // One buffer: each event comes in one of at least 1 KiB.
  let made: Buffer = Buffer.allocUnsafeSlow(Math.max(body.length, first.length));
  let at = first.copy(made);
  const effort = new Effort();
  for (const [start, end] of events) {
    const text = body.subarray(start, end);
    if (text.length > eventValuesMax && jsonShape(text).values > eventValuesMax) {
      throw tooMuch(`has an event of more than ${eventValuesMax} values`);
    }
    const event = requestOfJson(NewEventSchema, text);
    const needed = at + 1 + varintBytes(event.length) + event.length;
    if (needed > made.length) made = grown(made, Math.max(needed, 2 * made.length));
    made[at] = tagEvents;
    at = writeVarint(made, at + 1, event.length);
    at += event.copy(made, at);
    if (effort.spend(eventCost + (end - start) * readShare)) yield effort.take();
  }
  return made.subarray(0, at);
}

/** Throws INVALID_FIELD where there is too much of something. */
function* looked(body: Buffer, valuesMax: number): Steps<void> {
  const scan = new JsonScan(body);
  for (let until = scannedBytes; scan.run(until); until += scannedBytes) {
    const { depth, values } = scan.shape;
    if (depth > bodyDepthMax) throw tooMuch(`nests deeper than ${bodyDepthMax} levels`);
    if (values > valuesMax) throw tooMuch(`has more than ${valuesMax} values`);
    yield scannedBytes * scannedShare;
  }
  if (scan.shape.values > valuesMax) throw tooMuch(`has more than ${valuesMax} values`);
}

function tooMuch(what: string) {
  return invalidField("body", `the JSON ${what}`);
}

interface Split {
  /** The request with an empty list. */
  readonly rest: Buffer;
  /** Where each event begins and ends. */
  readonly events: readonly (readonly [number, number])[];
}

/** Finds the events of a request. Throws INVALID_FIELD where it is no object. */
function* split(body: Buffer): Steps<Split> {
  const walk = new Walk(body);
  const events: [number, number][] = [];
  let list: [number, number] | undefined;
  const effort = new Effort();
  let seen = 0;
  walk.expect(0x7b);
  for (let isFirst = true; !walk.passes(0x7d); isFirst = false) {
    if (!isFirst) walk.expect(0x2c);
    const key = walk.value();
    walk.expect(0x3a);
    const isEvents = body.subarray(...key).equals(eventsName);
    if (!isEvents || !walk.isNext(0x5b)) {
      walk.value();
      continue;
    }
    // Two of them are refused when the rest is read.
    events.length = 0;
    walk.expect(0x5b);
    const start = walk.at;
    for (let isFirstEvent = true; !walk.passes(0x5d); isFirstEvent = false) {
      if (!isFirstEvent) walk.expect(0x2c);
      if (events.length >= appendEventsMax) throw invalidField("events", tooMany);
      events.push(walk.value());
      if (effort.spend(eventCost + (walk.at - seen) * scannedShare)) yield effort.take();
      seen = walk.at;
    }
    list = [start, walk.at - 1];
  }
  walk.end();
  const [from, to] = list ?? [body.length, body.length];
  const rest = Buffer.concat([body.subarray(0, from), body.subarray(to)]);
  if (rest.length <= besideBytesMax) return { rest, events };
  throw tooMuch(`has more than ${besideBytesMax} bytes beside its events`);
}

/** Walks over a JSON text without parsing it. */
class Walk {
  at = 0;
  private readonly body: Buffer;
  private readonly endOf: (start: number) => number;

  constructor(body: Buffer) {
    this.body = body;
    this.endOf = stringEnds(body);
  }

  isNext(byte: number): boolean {
    const { body, at: start } = this;
    let { at } = this;
    while (isSpace(body[at])) at++;
    this.at = at;
    assertShort(at - start);
    return body[at] === byte;
  }

  passes(byte: number): boolean {
    const isNext = this.isNext(byte);
    if (isNext) this.at++;
    return isNext;
  }

  expect(byte: number): void {
    if (!this.passes(byte)) throw invalidField("body", `is not JSON: see byte ${this.at}`);
  }

  /** Where the next value begins and ends. */
  value(): [number, number] {
    const { body, endOf } = this;
    this.isNext(0);
    const start = this.at;
    let depth = 0;
    let count = 0;
    for (; this.at < body.length && count <= besideBytesMax; this.at++, count++) {
      const byte = body[this.at] as number;
      if (byte === 0x22) this.at = endOf(this.at);
      else if (byte === 0x7b || byte === 0x5b) depth++;
      else if (byte === 0x7d || byte === 0x5d) depth--;
      const isOver =
        depth < 0 || (depth === 0 && (byte === 0x2c || byte === 0x3a || isSpace(byte)));
      if (isOver) break;
    }
    assertShort(count);
    if (this.at === start) this.expect(-1);
    return [start, this.at];
  }

  end(): void {
    this.isNext(0);
    if (this.at < this.body.length) this.expect(-1);
  }
}

function assertShort(bytes: number): void {
  if (bytes > besideBytesMax) throw tooMuch(`has ${besideBytesMax} bytes of no string in a row`);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
