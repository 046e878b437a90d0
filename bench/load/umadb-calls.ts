// The calls of UmaDB's public protocol (service umadb.v1.DCB), with its few fields written by hand.
// It has no streams: a stream becomes a tag, as its documentation proposes. Calls that it does not
// offer (a pipe, expected versions) are undefined.

import { WireReader, writeVarint } from "../../src/domain/wire.ts";
import type { Call, Calls } from "./call.ts";
import { inTurn, otherTag, payload, streamOf, tagOf, zipf } from "./events.ts";
import type { CallSpec } from "./job.ts";
import { framed } from "./messages.ts";
import { marker, patch, template, writeTime, type Template } from "./template.ts";

const service = "/umadb.v1.DCB";

/** A length-delimited field. */
function field(fieldNumber: number, value: string | Uint8Array): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  const head = Buffer.alloc(11);
  head[0] = (fieldNumber << 3) | 2;
  return Buffer.concat([head.subarray(0, writeVarint(head, 1, bytes.length)), bytes]);
}

function number(fieldNumber: number, value: number): Buffer {
  const bytes = Buffer.alloc(11);
  bytes[0] = fieldNumber << 3;
  return bytes.subarray(0, writeVarint(bytes, 1, value));
}

/** Event: event_type 1, tags 2, data 3. */
function newEvent(index: number, seed: number, type: string): Buffer {
  return Buffer.concat([
    field(1, `Posted-${type}`),
    field(2, `stream:account-${marker(index)}`),
    field(2, `card-${marker(index + 1)}`),
    field(3, payload(seed)),
  ]);
}

/** Query: items 1; QueryItem: types 1, tags 2. */
function query(types: readonly string[], tags: readonly string[]): Buffer {
  return field(
    1,
    Buffer.concat([...types.map((type) => field(1, type)), ...tags.map((tag) => field(2, tag))]),
  );
}

function appending(spec: Extract<CallSpec, { verb: "append" | "preload" }>): Call {
  const total = spec.verb === "append" ? spec.streams * 10 : spec.total;
  let n = spec.verb === "append" ? 0 : spec.from;
  // Types cannot be patched in place: there are ten rotations, one for each common type.
  const templates = Array.from({ length: 40 }, (_, seed) => {
    const events = Array.from({ length: spec.events }, (_unused, i) => {
      const rare = spec.verb === "preload" && seed === 0 && i === 0;
      const type = rare ? "r" : String((seed * spec.events + i) % 10);
      return field(1, newEvent(i * 2, seed * spec.events + i, type));
    });
    return template(framed(Buffer.concat(events)), spec.events * 2);
  });
  let turn = 0;
  return {
    path: `${service}/Append`,
    eventCount: spec.events,
    request() {
      const request = templates[turn++ % templates.length] as Template;
      const one = streamOf(n, total);
      for (let i = 0; i < spec.events; i++) {
        patch(request, i * 2, spec.verb === "append" ? one : streamOf(n, total));
        patch(request, i * 2 + 1, tagOf(n, total));
        n++;
      }
      if (spec.verb === "append" && spec.timed) writeTime(request);
      return request.bytes;
    },
  };
}

/** AppendRequest: events 1, condition 2 { fail_if_events_match 1, after 2 }. */
function onCondition(tags: number, pair: boolean, after: number): Call {
  let head = after;
  let tag = 0;
  const second = pair ? field(2, `card-${marker(2)}`) : Buffer.alloc(0);
  const one = Buffer.concat([newEvent(0, 1, "3"), second]);
  const event = template(field(1, one), pair ? 3 : 2);
  const asked = pair
    ? query([], [`card-${marker(0)}`, `card-${marker(1)}`])
    : query(["Posted-3"], [`card-${marker(0)}`]);
  const conflicts = template(field(1, asked), pair ? 2 : 1);
  return {
    path: `${service}/Append`,
    eventCount: 1,
    request() {
      tag = (tag + 1) % tags;
      patch(event, 0, tag);
      patch(event, 1, tag);
      patch(conflicts, 0, tag);
      if (pair) {
        patch(event, 2, otherTag(tag, tags));
        patch(conflicts, 1, otherTag(tag, tags));
      }
      const condition = field(2, Buffer.concat([conflicts.bytes, number(2, head)]));
      return framed(Buffer.concat([event.bytes, condition]));
    },
    answered(_, message) {
      const reader = new WireReader(message);
      if (!reader.done && reader.varint() === 0x08) head = Math.max(head, reader.varint());
    },
  };
}

/** ReadRequest: query 1. */
function reading(encoded: Buffer, next?: () => number): Call {
  const request = next === undefined ? undefined : template(framed(encoded), 1);
  const fixed = framed(encoded);
  return {
    path: `${service}/Read`,
    eventCount: 0,
    request() {
      if (request === undefined || next === undefined) return fixed;
      patch(request, 0, next());
      return request.bytes;
    },
  };
}

/** SubscribeRequest: query 1, after 2. */
function subscribing(encoded: Buffer, next?: () => number): Call {
  return { ...reading(encoded, next), path: `${service}/Subscribe` };
}

function call(spec: CallSpec, head: number): Call | undefined {
  switch (spec.verb) {
    case "append":
      return spec.ids ? undefined : appending(spec);
    case "preload":
      return appending(spec);
    case "append-on-condition":
      return onCondition(spec.tags, spec.pair === true, head);
    case "append-expecting-version":
      return undefined;
    case "read-all":
      return reading(Buffer.alloc(0));
    case "read-stream":
      return reading(
        field(1, query([], [`stream:account-${marker(0)}`])),
        spec.zipf === true ? zipf(spec.streams) : inTurn(spec.streams),
      );
    case "read-tag":
      return reading(field(1, query([], [`card-${marker(0)}`])), inTurn(spec.tags));
    case "read-type":
      return reading(field(1, query([spec.type], [])));
    case "subscribe-all":
      return subscribing(number(2, head));
    case "subscribe-idle":
      return subscribing(
        Buffer.concat([field(1, query([], [`quiet-${spec.group}-${marker(0)}`])), number(2, head)]),
        inTurn(100_000),
      );
    case "read-page":
    case "consume":
      return undefined;
  }
}

export const umadbCalls: Calls = {
  call,
  head: { path: `${service}/Head`, field: 1 },
  pipe: () => undefined,
  refusal: () => undefined,
  eventsInBatch: false,
  caughtUpField: 0,
  payloadOf(sequenced) {
    // SequencedEvent: position 1, event 2.
    const outer = new WireReader(sequenced);
    while (!outer.done) {
      const tag = outer.varint();
      if (tag !== 0x12) {
        outer.passOver(tag & 7);
        continue;
      }
      const inner = new WireReader(outer.view());
      while (!inner.done) {
        const innerTag = inner.varint();
        if (innerTag === 0x1a) return inner.view();
        inner.passOver(innerTag & 7);
      }
    }
    return undefined;
  },
};
