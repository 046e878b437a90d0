// Read, Subscribe and Load: converts the log's messages to wire messages in the requested view.

import { create } from "@bufbuild/protobuf";
import {
  ReadResponseSchema,
  SubscribeResponseSchema,
  type ReadRequest,
  type ReadResponse,
  type SubscribeRequest,
  type SubscribeResponse,
} from "../../gen/annals/v1/read_pb.js";
import {
  LoadResponseSchema,
  type LoadRequest,
  type LoadResponse,
} from "../../gen/annals/v1/snapshot_pb.js";
import type { LoadEnd, ReadEnd, SubscribeMessage } from "../../log/verbs.ts";
import type { Answer } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";
import { batchInParts, batchMessagesOnce, wrap } from "../convert/batches.ts";
import { convertLoad, convertRead, convertSubscribe } from "../convert/read-request.ts";
import { snapshotBytes } from "../convert/snapshot.ts";
import { timestamp } from "../convert/time.ts";
import type { MessageParts } from "../transport/message-parts.ts";

const tagReadBatch = 0x0a;
const tagSubscribeBatch = 0x0a;
const tagLoadSnapshot = 0x0a;
const tagLoadBatch = 0x12;

export function readMethods(context: ServiceContext) {
  return {
    read: (request, call) => read(context, request, call),
    subscribe: (request, call) => subscribe(context, request, call),
    load: (request, call) => load(context, request, call),
  } satisfies EventStoreMethods;
}

async function* read(
  { log, limits }: ServiceContext,
  wire: ReadRequest,
  call: Call,
): AsyncGenerator<Answer<ReadResponse> | MessageParts> {
  const [request, view] = convertRead(wire, limits);
  for await (const message of log.read(request, call.signal, call.gate)) {
    if (message.kind === "batch") yield* batchInParts(message.batch, tagReadBatch, view, limits);
    else yield readEnd(message.end);
  }
}

function readEnd({ head, after, eventCount, streamVersion }: ReadEnd): ReadResponse {
  const end = {
    head: BigInt(head),
    after: BigInt(after),
    eventCount: BigInt(eventCount),
    streamVersion: BigInt(streamVersion ?? 0),
  };
  return create(ReadResponseSchema, { message: { case: "end", value: end } });
}

async function* subscribe(
  { log, limits }: ServiceContext,
  wire: SubscribeRequest,
  call: Call,
): AsyncGenerator<Answer<SubscribeResponse>> {
  const [request, view] = convertSubscribe(wire, limits);
  for await (const message of log.subscribe(request, call.signal, call.gate)) {
    if (message.kind !== "batch") yield progress(message);
    else yield* batchMessagesOnce(message.batch, tagSubscribeBatch, view, limits);
  }
}

const progressCases = {
  "caught-up": "caughtUp",
  "fell-behind": "fellBehind",
  checkpoint: "checkpoint",
} as const;

function progress(message: Exclude<SubscribeMessage, { kind: "batch" }>): SubscribeResponse {
  const value = { position: BigInt(message.position), time: timestamp(message.time) };
  const which = progressCases[message.kind];
  return create(SubscribeResponseSchema, { message: { case: which, value } });
}

async function* load(
  { log, limits }: ServiceContext,
  wire: LoadRequest,
  call: Call,
): AsyncGenerator<Answer<LoadResponse> | MessageParts> {
  const [request, view] = convertLoad(wire, limits);
  for await (const message of log.load(request, call.signal, call.gate)) {
    switch (message.kind) {
      case "snapshot":
        yield wrap(tagLoadSnapshot, [snapshotBytes(message.snapshot, view, limits)]);
        break;
      case "batch":
        yield* batchInParts(message.batch, tagLoadBatch, view, limits);
        break;
      case "end":
        yield loadEnd(message.end);
    }
  }
}

function loadEnd({ version, head, after, eventCount, missingThrough }: LoadEnd): LoadResponse {
  const end = {
    version: BigInt(version),
    head: BigInt(head),
    after: BigInt(after),
    eventCount: BigInt(eventCount),
    missingThrough: BigInt(missingThrough),
  };
  return create(LoadResponseSchema, { message: { case: "end", value: end } });
}
