// What greedy clients of the other protocols send: the same kinds of greed as over annals.v1.
import { create, toBinary } from "@bufbuild/protobuf";
import {
  BatchAppendReqSchema,
  ReadReqSchema,
} from "../../../src/gen/event_store/client/streams/streams_pb.js";
import {
  AppendRequestSchema,
  ReadRequestSchema,
  SubscribeRequestSchema,
} from "../../../src/gen/umadb/v1/umadb_pb.js";
import { messageFrame } from "../../support/raw-connection.ts";

const MiB = 1024 * 1024;
const kurrentPath = "/event_store.client.streams.Streams";
const umadbPath = "/umadb.v1.DCB";
const empty = {};

/** A crowd of calls: see attacks.ts. */
export interface OtherAttack {
  readonly path: string;
  readonly calls: number;
  readonly connections: number;
  /** What each call sends, and whether it ends there. */
  readonly frames: readonly Buffer[];
  readonly isEnded: boolean;
  readonly window?: number;
  /** Instead of gRPC's. */
  readonly headers?: Readonly<Record<string, string>>;
}

function kurrentRead(stream: string, isSubscription: boolean): Buffer {
  const request = create(ReadReqSchema, {
    options: {
      streamOption: {
        case: "stream",
        value: {
          streamIdentifier: { streamName: Buffer.from(stream) },
          revisionOption: { case: "start", value: empty },
        },
      },
      countOption: isSubscription
        ? { case: "subscription", value: empty }
        : { case: "count", value: 1_000n },
      filterOption: { case: "noFilter", value: empty },
      uuidOption: { content: { case: "string", value: empty } },
    },
  });
  return messageFrame(Buffer.from(toBinary(ReadReqSchema, request)));
}

/** A part of a batch whose last part never comes. */
const unfinishedBatch = messageFrame(
  Buffer.from(
    toBinary(
      BatchAppendReqSchema,
      create(BatchAppendReqSchema, {
        correlationId: { value: { case: "string", value: "0190b000-0000-7000-8000-000000000001" } },
        options: {
          streamIdentifier: { streamName: Buffer.from("greedy-batch") },
          expectedStreamPosition: { case: "any", value: empty },
        },
        proposedMessages: [
          {
            id: { value: { case: "string", value: "0190b000-0000-7000-8000-000000000002" } },
            metadata: { type: "Greed", "content-type": "application/octet-stream" },
            data: Buffer.alloc(MiB),
          },
        ],
      }),
    ),
  ),
);

const umadbAppend = messageFrame(
  Buffer.from(
    toBinary(
      AppendRequestSchema,
      create(AppendRequestSchema, { events: [{ eventType: "Greed", data: Buffer.alloc(MiB) }] }),
    ),
  ),
);
const umadbRead = messageFrame(
  Buffer.from(toBinary(ReadRequestSchema, create(ReadRequestSchema, {}))),
);
const umadbSubscribe = messageFrame(
  Buffer.from(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, {}))),
);

/** Connect and Server-Sent Events, which say events as JSON. */
function webAttacks(stream: string): Readonly<Record<string, OtherAttack>> {
  const each = { calls: 500, connections: 2, isEnded: true, window: 1 };
  return {
    "Connect: subscriptions nobody takes": {
      ...each,
      path: "/annals.v1.EventStoreService/Subscribe",
      frames: [messageFrame(Buffer.from(JSON.stringify({ stream })))],
      headers: { "content-type": "application/connect+json" },
    },
    "SSE: subscriptions nobody takes": {
      ...each,
      path: `/v1/subscribe?stream=${stream}`,
      frames: [],
      headers: { ":method": "GET" },
    },
  };
}

/** `stream` has events as large as they may be. */
export function otherAttacks(stream: string): Readonly<Record<string, OtherAttack>> {
  return {
    ...webAttacks(stream),
    "KurrentDB: reads nobody takes": {
      path: `${kurrentPath}/Read`,
      calls: 500,
      connections: 2,
      frames: [kurrentRead(stream, false)],
      isEnded: true,
    },
    "KurrentDB: subscriptions nobody takes": {
      path: `${kurrentPath}/Read`,
      calls: 500,
      connections: 2,
      frames: [kurrentRead(stream, true)],
      isEnded: true,
      window: 1,
    },
    "KurrentDB: batches without end": {
      path: `${kurrentPath}/BatchAppend`,
      calls: 400,
      connections: 4,
      frames: Array.from({ length: 3 }, () => unfinishedBatch),
      isEnded: false,
      window: 65_535,
    },
    "KurrentDB: batches that say nothing": {
      path: `${kurrentPath}/BatchAppend`,
      calls: 4_000,
      connections: 4,
      frames: [],
      isEnded: false,
    },
    "UmaDB: reads nobody takes": {
      path: `${umadbPath}/Read`,
      calls: 500,
      connections: 2,
      frames: [umadbRead],
      isEnded: true,
    },
    "UmaDB: subscriptions nobody takes": {
      path: `${umadbPath}/Subscribe`,
      calls: 500,
      connections: 2,
      frames: [umadbSubscribe],
      isEnded: true,
      window: 1,
    },
    "UmaDB: large appends": {
      path: `${umadbPath}/Append`,
      calls: 500,
      connections: 8,
      frames: [umadbAppend],
      isEnded: true,
      window: 65_535,
    },
  };
}
