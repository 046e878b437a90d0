// The limit of grpc-js: a server that answers the calls of annals.v1 with bytes of a given size and
// does nothing else. Its parent tells it what to answer. It ends with its parent.

import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../src/gen/annals/v1/event_pb.js";
import { ReadResponseSchema } from "../../src/gen/annals/v1/read_pb.js";
import { writeVarint } from "../../src/domain/wire.ts";
import { payload } from "../load/events.ts";

export interface NoopShape {
  /** Bytes of every unary and bidirectional answer. */
  readonly answerBytes: number;
  /** Bytes of a unary answer that imitates a read of one message. */
  readonly readBytes: number;
  /** Events in a message of a stream. */
  readonly messageEvents: number;
  /** Bytes of one event in a message. */
  readonly eventBytes: number;
  /** Messages after which a read ends. A subscription has no end. */
  readonly messagesPerCall: number;
}

let shape: NoopShape = {
  answerBytes: 64,
  readBytes: 64,
  messageEvents: 1,
  eventBytes: 400,
  messagesPerCall: 1,
};
let unaryAnswer: Buffer = Buffer.alloc(0);
let readAnswer: Buffer = Buffer.alloc(0);
let pipeAnswer: Buffer = Buffer.alloc(0);
let message: Buffer = Buffer.alloc(0);

function take(next: NoopShape): void {
  shape = next;
  unaryAnswer = padded([], 0x3a, shape.answerBytes);
  readAnswer = padded([], 0x3a, shape.readBytes);
  // The client parses an answer of a pipe: sequence, then an outcome, which is appended.
  pipeAnswer = padded([0x08, 0x01], 0x12, shape.answerBytes);
  message = batchOf(shape);
}

/** A valid message: some bytes, then a field (0x3a: event ids; 0x12: appended) of padding. */
function padded(before: readonly number[], tag: number, bytes: number): Buffer {
  const room = Math.max(4, bytes - before.length);
  const inner = tag === 0x12 ? padded([], 0x3a, room - lengthBytes(room) - 1) : undefined;
  const filler = inner ?? Buffer.alloc(room - lengthBytes(room) - 1, 0x61);
  const head = Buffer.alloc(6);
  head[0] = tag;
  const headBytes = writeVarint(head, 1, filler.length);
  return Buffer.concat([Buffer.from(before), head.subarray(0, headBytes), filler]);
}

function lengthBytes(room: number): number {
  return room < 130 ? 1 : 2;
}

/** A message whose events have the wanted size, as closely as whole events allow. */
function batchOf({ messageEvents, eventBytes }: NoopShape): Buffer {
  const init = (dataBytes: number) => ({
    type: "Posted-0",
    data: Buffer.concat([payload(1), Buffer.alloc(eventBytes)]).subarray(0, dataBytes),
  });
  const bare = toBinary(RecordedEventSchema, create(RecordedEventSchema, init(1))).length + 4;
  const events = Array.from({ length: messageEvents }, () => init(Math.max(1, eventBytes - bare)));
  const batch = { message: { case: "batch" as const, value: { events } } };
  return Buffer.from(toBinary(ReadResponseSchema, create(ReadResponseSchema, batch)));
}

type Bytes = Buffer;
const identity = (bytes: Bytes) => bytes;

function method(name: string, requestStream: boolean, responseStream: boolean) {
  return {
    path: `/annals.v1.EventStoreService/${name}`,
    requestStream,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
}

async function stream(call: ServerWritableStream<Bytes, Bytes>, messages: number): Promise<void> {
  let wake = () => {};
  call.on("drain", () => wake());
  call.on("cancelled", () => wake());
  for (let i = 0; i < messages && !call.cancelled; i++) {
    if (!call.write(message)) await new Promise<void>((resolve) => (wake = resolve));
  }
  if (!call.cancelled) call.end();
}

const handlers: Record<string, UntypedHandleCall> = {
  append: (_: unknown, done: sendUnaryData<Bytes>) => done(null, unaryAnswer),
  getStream: (_: unknown, done: sendUnaryData<Bytes>) => done(null, readAnswer),
  appendPipe(call: ServerDuplexStream<Bytes, Bytes>) {
    call.on("data", () => call.write(pipeAnswer));
    call.on("end", () => call.end());
    call.on("error", () => {});
  },
  read: (call: ServerWritableStream<Bytes, Bytes>) => void stream(call, shape.messagesPerCall),
  subscribe: (call: ServerWritableStream<Bytes, Bytes>) => void stream(call, Infinity),
};

const server = new Server({ "grpc.max_receive_message_length": 8 * 1024 * 1024 });
server.addService(
  {
    append: method("Append", false, false),
    getStream: method("GetStream", false, false),
    appendPipe: method("AppendPipe", true, true),
    read: method("Read", false, true),
    subscribe: method("Subscribe", false, true),
  },
  handlers,
);
take(shape);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.on("message", (next: NoopShape) => {
    take(next);
    process.send?.({ taken: true });
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ port });
});
