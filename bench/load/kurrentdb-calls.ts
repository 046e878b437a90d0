// The calls of KurrentDB's protocol, encoded once by the generated codec and patched. Events are
// those of `plain` appends in annals.v1: the same ids, types, payloads and metadata, without tags.

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  BatchAppendReqSchema,
  type ReadReq_OptionsSchema,
  ReadReqSchema,
} from "../../src/gen/event_store/client/streams/streams_pb.js";
import { WireReader } from "../../src/domain/wire.ts";
import type { Call, Calls } from "./call.ts";
import { contentType, idPrefix, payload, plainMetadata, streamOf, tagOf } from "./events.ts";
import type { CallSpec } from "./job.ts";
import { framed } from "./messages.ts";
import { marker, patch, template, type Template } from "./template.ts";

const service = "/event_store.client.streams.Streams";
const rotation = 128;

type Append = Extract<CallSpec, { verb: "append" }>;

/** BatchAppend: one call for all appends. */
function batchAppend({ events, streams }: Append): Call {
  const prefix = idPrefix();
  const templates = Array.from({ length: rotation }, (_, seed) => {
    const proposedMessages = Array.from({ length: events }, (_unused, i) => ({
      id: { value: { case: "string" as const, value: `${prefix}${marker(i * 2 + 2)}` } },
      metadata: { type: `Posted-${(seed * events + i) % 10}`, "content-type": contentType },
      customMetadata: Buffer.from(plainMetadata(marker(i * 2 + 1), seed * events + i)),
      data: payload(seed * events + i),
    }));
    const request: MessageInitShape<typeof BatchAppendReqSchema> = {
      correlationId: { value: { case: "string", value: `${prefix}00000000` } },
      options: {
        streamIdentifier: { streamName: Buffer.from(`account-${marker(0)}`) },
        expectedStreamPosition: { case: "any", value: {} },
      },
      proposedMessages,
      isFinal: true,
    };
    const bytes = toBinary(BatchAppendReqSchema, create(BatchAppendReqSchema, request));
    return template(framed(bytes), 1 + events * 2);
  });
  let n = 0;
  let turn = 0;
  return {
    path: `${service}/BatchAppend`,
    eventCount: events,
    request() {
      const request = templates[turn++ % rotation] as Template;
      patch(request, 0, streamOf(n, streams * 10));
      for (let i = 0; i < events; i++) {
        patch(request, i * 2 + 1, tagOf(n, streams * 10));
        patch(request, i * 2 + 2, n++);
      }
      return request.bytes;
    },
  };
}

type Options = Exclude<MessageInitShape<typeof ReadReq_OptionsSchema>, { $typeName: string }>;

function read(options: Options): Call {
  const common = {
    uuidOption: { content: { case: "string", value: {} } },
    filterOption: { case: "noFilter", value: {} },
  } as const;
  const request = create(ReadReqSchema, { options: { ...common, ...options } });
  const bytes = framed(toBinary(ReadReqSchema, request));
  return { path: `${service}/Read`, eventCount: 0, request: () => bytes };
}

function call(spec: CallSpec): Call | undefined {
  switch (spec.verb) {
    case "read-all":
      return read({
        streamOption: { case: "all", value: { allOption: { case: "start", value: {} } } },
        countOption: { case: "count", value: 2n ** 53n - 1n },
      });
    case "subscribe-all":
      return read({
        streamOption: { case: "all", value: { allOption: { case: "end", value: {} } } },
        countOption: { case: "subscription", value: {} },
      });
    default:
      return undefined;
  }
}

export const kurrentdbCalls: Calls = {
  call,
  // It has no call for the head, and nothing that needs one.
  head: { path: "", field: 0 },
  pipe: (spec) => (spec.verb === "append" ? batchAppend(spec) : undefined),
  refusal(answer) {
    const reader = new WireReader(answer);
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === 0x12) return "the append was refused";
      reader.passOver(tag & 7);
    }
    return undefined;
  },
  eventsInBatch: false,
  caughtUpField: 8,
  payloadOf(event) {
    // ReadEvent: event 1; RecordedEvent: data 8.
    const outer = new WireReader(event);
    if (outer.done || outer.varint() !== 0x0a) return undefined;
    const inner = new WireReader(outer.view());
    while (!inner.done) {
      const tag = inner.varint();
      if (tag === 0x42) return inner.view();
      inner.passOver(tag & 7);
    }
    return undefined;
  },
};
