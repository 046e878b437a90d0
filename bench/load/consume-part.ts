// Members of a consumer group by the light client. Each delivery is acknowledged as it arrives,
// with one message of acknowledgements for each message of deliveries. The first event of a message
// says when it was sent; the others waited less. A delivery counts once the member has acknowledged
// it.

import { create, toBinary } from "@bufbuild/protobuf";
import { WireReader, writeVarint } from "../../src/domain/wire.ts";
import {
  ConsumeRequestSchema,
  CreateGroupRequestSchema,
} from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import type { Calls } from "./call.ts";
import { timeIn } from "./follow-part.ts";
import { Http2Connection } from "./http2-connection.ts";
import type { ConsumePart } from "./job.ts";
import { latch } from "./latch.ts";
import { framed, MessageReader } from "./messages.ts";
import { type PartContext, type RunningPart } from "./part.ts";

const service = "/annals.v1.ConsumerGroupService";
const windowBytes = 1024 * 1024;
const tagJoined = 0x0a;
const tagDeliveries = 0x12;
const tagRefused = 0x22;
const tagToken = 0x0a;
const tagEvent = 0x22;
const tagAck = 0x1a;

export async function runConsume(part: ConsumePart, context: PartContext): Promise<RunningPart> {
  const { job } = context;
  if (job.protocol !== "annals") throw new Error(`${job.protocol} has no consumer groups`);
  const connections = await Promise.all(
    Array.from({ length: part.connections }, () =>
      Http2Connection.open(job.host, job.port, windowBytes),
    ),
  );
  const [first] = connections as [Http2Connection];
  const group = `bench-${Date.now()}`;
  await createGroup(first, group, part.inFlightMax);
  const ready = latch();
  const done = latch();
  const state = { stopped: false, waiting: part.members, ready, done };
  for (let i = 0; i < part.members; i++) {
    join(connections[i % connections.length] as Http2Connection, group, part, context, state);
  }
  for (const connection of connections) connection.flush();
  return {
    ready: ready.promise,
    done: part.events === undefined ? undefined : done.promise,
    stop() {
      state.stopped = true;
      for (const connection of connections) connection.close();
    },
  };
}

function createGroup(connection: Http2Connection, name: string, inFlightMax: number) {
  const start = { start: { case: "fromEnd", value: {} } } as const;
  const request = create(CreateGroupRequestSchema, { name, start, settings: { inFlightMax } });
  return new Promise<void>((resolve, reject) => {
    const bytes = framed(toBinary(CreateGroupRequestSchema, request));
    connection.call(`${service}/CreateGroup`, bytes, true, {
      received() {},
      ended: (status, message) =>
        status === 0 ? resolve() : reject(new Error(`no group: ${message}`)),
    });
    connection.flush();
  });
}

interface State {
  stopped: boolean;
  waiting: number;
  readonly ready: ReturnType<typeof latch>;
  /** Resolves when the number of events that bounds the part was acknowledged. */
  readonly done: ReturnType<typeof latch>;
}

function join(
  connection: Http2Connection,
  group: string,
  { permits, events: eventsMax = Infinity }: ConsumePart,
  { calls, meter }: PartContext,
  state: State,
): void {
  const message = { case: "join", value: { group, permits } } as const;
  const request = create(ConsumeRequestSchema, { message });
  const deal = (deliveries: Buffer) => {
    const { tokens, sentAt } = takenFrom(deliveries, calls);
    connection.send(id, acknowledgement(tokens), false);
    meter.messages++;
    meter.events += tokens.length;
    if (meter.events >= eventsMax) state.done.open();
    if (sentAt === undefined) return;
    const now = performance.timeOrigin + performance.now();
    meter.latency.record(now - sentAt, tokens.length);
  };
  const reader = new MessageReader((bytes) => {
    const outer = new WireReader(bytes);
    const tag = outer.varint();
    if (tag === tagJoined && --state.waiting === 0) state.ready.open();
    if (tag === tagRefused) meter.fail("an acknowledgement was refused");
    if (tag === tagDeliveries) deal(outer.view() as Buffer);
  });
  const id = connection.call(
    `${service}/Consume`,
    framed(toBinary(ConsumeRequestSchema, request)),
    false,
    {
      received(bytes, start, end) {
        meter.receivedBytes += end - start;
        reader.received(bytes, start, end);
      },
      ended(status, text) {
        if (state.stopped) return;
        meter.fail(`a member ended with status ${status}: ${text}`);
        state.ready.fail(new Error(text));
        state.done.open();
      },
    },
  );
}

interface Taken {
  /** Each with its tag and length, which an acknowledgement has as well. */
  readonly tokens: readonly Buffer[];
  /** The time at which the first event was sent. Undefined if its payload does not say. */
  readonly sentAt: number | undefined;
}

function takenFrom(message: Buffer, calls: Calls): Taken {
  const tokens: Buffer[] = [];
  let sentAt: number | undefined;
  const deliveries = new WireReader(message);
  while (!deliveries.done) {
    deliveries.varint();
    const delivery = deliveries.view();
    const fields = new WireReader(delivery);
    while (!fields.done) {
      const { offset } = fields;
      const tag = fields.varint();
      if (tag === tagToken) {
        fields.view();
        tokens.push(Buffer.from(delivery.subarray(offset, fields.offset)));
      } else if (tag === tagEvent && tokens.length === 1) {
        const payload = calls.payloadOf(fields.view() as Buffer);
        sentAt = payload === undefined ? undefined : timeIn(payload);
      } else fields.passOver(tag & 7);
    }
  }
  return { tokens, sentAt };
}

/** A framed `ConsumeRequest` whose `ack` has these tokens. */
function acknowledgement(tokens: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(8);
  head[0] = tagAck;
  const length = tokens.reduce((sum, token) => sum + token.length, 0);
  return framed(Buffer.concat([head.subarray(0, writeVarint(head, 1, length)), ...tokens]));
}
