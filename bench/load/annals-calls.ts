// The calls of annals.v1, encoded once and patched. Fields whose length varies (a version, a
// position) are written after the template, because protobuf allows any order of fields.

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AppendRequestSchema,
  AppendPipeRequestSchema,
  AppendPipeResponseSchema,
} from "../../src/gen/annals/v1/append_pb.js";
import type { NewEventSchema } from "../../src/gen/annals/v1/event_pb.js";
import { QuerySchema } from "../../src/gen/annals/v1/query_pb.js";
import { ReadRequestSchema, SubscribeRequestSchema } from "../../src/gen/annals/v1/read_pb.js";
import { WireReader, writeVarint } from "../../src/domain/wire.ts";
import type { Call, Calls } from "./call.ts";
import {
  contentType,
  idPrefix,
  inTurn,
  otherTag,
  payload,
  plainMetadata,
  randomHex,
  streamOf,
  tagOf,
  typeOf,
  zipf,
} from "./events.ts";
import type { CallSpec } from "./job.ts";
import { framed } from "./messages.ts";
import { marker, patch, template, writeTime, type Template } from "./template.ts";

const service = "/annals.v1.EventStoreService";
/** The number of different requests in rotation, so that consecutive requests differ. */
const rotation = 128;
const bigRotation = 16;

type Spec<V extends CallSpec["verb"]> = Extract<CallSpec, { verb: V }>;

function newEvent(index: number, seed: number): MessageInitShape<typeof NewEventSchema> {
  return {
    stream: `account-${marker(index)}`,
    type: `Posted-${seed % 10}`,
    tags: [`card-${marker(index + 1)}`],
    metadata: { user: `clerk-${seed % 100}`, correlation: randomHex(seed + 7)(16) },
    contentType,
    payload: { case: "data", value: payload(seed) },
  };
}

/** What KurrentDB's protocol makes of its events. */
function plainEvent(index: number, seed: number): MessageInitShape<typeof NewEventSchema> {
  const metadata = { "kurrentdb-metadata": plainMetadata(marker(index + 1), seed) };
  return { ...newEvent(index, seed), tags: [], metadata };
}

/** Uses each template in turn. */
function rotating(count: number, make: (seed: number) => Template): () => Template {
  const templates = Array.from({ length: count }, (_, seed) => make(seed));
  let turn = 0;
  return () => templates[turn++ % count] as Template;
}

interface Wrapping {
  readonly path: string;
  /** Field 1 of an `AppendPipeRequest`, or the request itself. */
  readonly piped: boolean;
}

function encodeAppend(
  request: MessageInitShape<typeof AppendRequestSchema>,
  { piped }: Wrapping,
): Buffer {
  return framed(
    piped
      ? toBinary(AppendPipeRequestSchema, create(AppendPipeRequestSchema, { append: request }))
      : toBinary(AppendRequestSchema, create(AppendRequestSchema, request)),
  );
}

function append(spec: Spec<"append">, wrapping: Wrapping): Call {
  const prefix = idPrefix();
  const make = spec.plain ? plainEvent : newEvent;
  const perEvent = spec.ids ? 3 : 2;
  const next = rotating(spec.events > 1 ? bigRotation : rotation, (seed) => {
    const events = Array.from({ length: spec.events }, (_, i) => ({
      ...make(i * perEvent, seed * spec.events + i),
      ...(spec.ids ? { id: `${prefix}${marker(i * perEvent + 2)}` } : {}),
    }));
    return template(encodeAppend({ events }, wrapping), spec.events * perEvent);
  });
  let n = 0;
  return {
    path: wrapping.path,
    eventCount: spec.events,
    request() {
      const request = next();
      // All events of an append go to one stream, as those of an aggregate do.
      const stream = streamOf(n, spec.streams * 10);
      for (let i = 0; i < spec.events; i++) {
        patch(request, i * perEvent, stream);
        patch(request, i * perEvent + 1, tagOf(n, spec.streams * 10));
        if (spec.ids) patch(request, i * perEvent + 2, n);
        n++;
      }
      if (spec.timed) writeTime(request);
      return request.bytes;
    },
  };
}

function appendExpectingVersion(spec: Spec<"append-expecting-version">, wrapping: Wrapping): Call {
  const versions: number[] = [];
  const next = rotating(rotation, (seed) => {
    const event = { ...newEvent(0, seed), stream: "" };
    return template(
      framed(
        encodeAppend(
          {
            stream: `ledger-${spec.group}-${marker(0)}`,
            events: [{ ...event, tags: [`card-${marker(1)}`] }],
          },
          wrapping,
        ).subarray(5),
      ),
      2,
    );
  });
  return withTail(wrapping.path, (worker, tail) => {
    const request = next();
    const version = versions[worker] ?? 0;
    versions[worker] = version + 1;
    patch(request, 0, worker);
    patch(request, 1, version % 1e8);
    tail[0] = 0x18; // expected_version
    return [request.bytes, writeVarint(tail, 1, version)];
  });
}

function appendOnCondition(
  spec: Spec<"append-on-condition">,
  wrapping: Wrapping,
  after: number,
): Call {
  let head = after;
  let tag = 0;
  const { pair = false } = spec;
  const second = pair ? [`card-${marker(2)}`] : [];
  const next = rotating(rotation, (seed) => {
    const event = { ...newEvent(0, seed), type: "Posted-3" };
    const tags = [`card-${marker(1)}`, ...second];
    return template(encodeAppend({ events: [{ ...event, tags }] }, wrapping), pair ? 3 : 2);
  });
  const item = pair
    ? { tags: [`card-${marker(0)}`, `card-${marker(1)}`] }
    : { types: ["Posted-3"], tags: [`card-${marker(0)}`] };
  const query = toBinary(QuerySchema, create(QuerySchema, { items: [item] }));
  const condition = template(Buffer.from([0x0a, query.length, ...query]), pair ? 2 : 1);
  const conditioned = withTail(wrapping.path, (_, tail) => {
    const request = next();
    tag = (tag + 1) % spec.tags;
    patch(request, 0, tag);
    patch(request, 1, tag);
    patch(condition, 0, tag);
    if (pair) {
      patch(request, 2, otherTag(tag, spec.tags));
      patch(condition, 1, otherTag(tag, spec.tags));
    }
    tail[0] = 0x32; // condition, shorter than 128 bytes
    let end = 2 + condition.bytes.copy(tail, 2);
    tail[end++] = 0x10; // after
    end = writeVarint(tail, end, head);
    tail[1] = end - 2;
    return [request.bytes, end];
  });
  return {
    ...conditioned,
    answered(_, message) {
      const reader = new WireReader(message);
      while (!reader.done) {
        const field = reader.varint();
        if (field === 0x20) head = Math.max(head, reader.varint());
        else reader.passOver(field & 7);
      }
    },
  };
}

/** An append of one event, with bytes after the template. */
function withTail(
  path: string,
  compose: (worker: number, tail: Buffer) => [template: Buffer, tailBytes: number],
): Call {
  const tail = Buffer.alloc(128);
  const batch = Buffer.alloc(4_096);
  return {
    path,
    eventCount: 1,
    request(worker) {
      const [bytes, tailBytes] = compose(worker, tail);
      bytes.copy(batch);
      tail.copy(batch, bytes.length, 0, tailBytes);
      batch.writeUInt32BE(bytes.length + tailBytes - 5, 1);
      return batch.subarray(0, bytes.length + tailBytes);
    },
  };
}

function preload(spec: Spec<"preload">, wrapping: Wrapping): Call {
  const next = rotating(64, (seed) => {
    const events = Array.from({ length: spec.events }, (_, i) =>
      newEvent(i * 2, seed * spec.events + i),
    );
    return template(encodeAppend({ events }, wrapping), spec.events * 2);
  });
  const typeEnds = new Map<Buffer, number[]>();
  let n = spec.from;
  return {
    path: wrapping.path,
    eventCount: spec.events,
    request() {
      const request = next();
      const { bytes } = request;
      let ends = typeEnds.get(bytes);
      if (!ends) typeEnds.set(bytes, (ends = endsOf(bytes, "Posted-", spec.events)));
      for (let i = 0; i < spec.events; i++) {
        patch(request, i * 2, streamOf(n, spec.total));
        patch(request, i * 2 + 1, tagOf(n, spec.total));
        bytes.write(typeOf(n), ends[i] as number, "latin1");
        n++;
      }
      return bytes;
    },
  };
}

function endsOf(bytes: Buffer, text: string, count: number): number[] {
  const ends: number[] = [];
  for (let at = 0; ends.length < count;) {
    at = bytes.indexOf(text, at, "latin1") + text.length;
    if (at < text.length) throw new Error(`template: ${text} is not there ${count} times`);
    ends.push(at);
  }
  return ends;
}

/** A request that names one of many streams or tags. */
function naming(path: string, next: () => number, encoded: Uint8Array): Call {
  const request = template(framed(encoded), 1);
  return {
    path,
    eventCount: 0,
    request() {
      patch(request, 0, next());
      return request.bytes;
    },
  };
}

function same(path: string, encoded: Uint8Array): Call {
  const request = framed(encoded);
  return { path, eventCount: 0, request: () => request };
}

function read(init: MessageInitShape<typeof ReadRequestSchema>): Uint8Array {
  return toBinary(ReadRequestSchema, create(ReadRequestSchema, init));
}

function subscribe(init: MessageInitShape<typeof SubscribeRequestSchema>): Uint8Array {
  return toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, init));
}

function queryOf(item: { types?: string[]; tags?: string[] }) {
  return { case: "query" as const, value: { items: [item] } };
}

function call(spec: CallSpec, head: number, wrapping?: Wrapping): Call | undefined {
  const appending = wrapping ?? { path: `${service}/Append`, piped: false };
  const start = { case: "fromEnd" as const, value: {} };
  switch (spec.verb) {
    case "append":
      return append(spec, appending);
    case "preload":
      return preload(spec, appending);
    case "append-expecting-version":
      return appendExpectingVersion(spec, appending);
    case "append-on-condition":
      return appendOnCondition(spec, appending, head);
    case "read-all":
      return same(`${service}/Read`, read({}));
    case "read-stream": {
      const selection = { case: "stream" as const, value: `account-${marker(0)}` };
      const next = spec.zipf === true ? zipf(spec.streams) : inTurn(spec.streams);
      return naming(`${service}/Read`, next, read({ selection }));
    }
    case "read-tag": {
      const selection = queryOf({ tags: [`card-${marker(0)}`] });
      return naming(`${service}/Read`, inTurn(spec.tags), read({ selection }));
    }
    case "read-type":
      return same(`${service}/Read`, read({ selection: queryOf({ types: [spec.type] }) }));
    case "subscribe-all":
      return same(`${service}/Subscribe`, subscribe({ start }));
    case "subscribe-idle": {
      const selection = { case: "stream" as const, value: `quiet-${spec.group}-${marker(0)}` };
      const checkpointInterval = { seconds: 3_600n };
      const encoded = subscribe({ selection, start, checkpointInterval });
      return naming(`${service}/Subscribe`, inTurn(100_000), encoded);
    }
    // By HTTP only, and a stream of requests and answers: http-part.ts, consume-part.ts.
    case "read-page":
    case "consume":
      return undefined;
  }
}

export const annalsCalls: Calls = {
  call,
  head: { path: `${service}/GetInfo`, field: 3 },
  pipe: (spec) =>
    spec.verb === "append" || spec.verb === "preload"
      ? call(spec, 0, { path: `${service}/AppendPipe`, piped: true })
      : undefined,
  refusal(answer) {
    // sequence = 1, then appended = 2 or failure = 3.
    let at = 1;
    while ((answer[at] ?? 0) >= 0x80) at++;
    if (answer[0] === 0x08 && answer[at + 1] === 0x12) return undefined;
    const { outcome } = fromBinary(AppendPipeResponseSchema, answer);
    if (outcome.case === "appended") return undefined;
    return outcome.value?.message ?? "an answer without an outcome";
  },
  eventsInBatch: true,
  caughtUpField: 2,
  payloadOf(event) {
    const reader = new WireReader(event);
    while (!reader.done) {
      const field = reader.varint();
      if (field === 0x3a) return reader.view();
      reader.passOver(field & 7);
    }
    return undefined;
  },
};
