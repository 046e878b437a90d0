// As test/grpc/services/untaken-answers.test.ts, by the other protocols: what waits for a client
// that takes nothing is let go of, and made again when it goes on, byte for byte.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, describe, test } from "vitest";
import { defaultLimits } from "../../src/domain/limits.ts";
import {
  ReadReqSchema,
  ReadRespSchema,
  type ReadReq_OptionsSchema,
} from "../../src/gen/event_store/client/streams/streams_pb.js";
import {
  ReadRequestSchema,
  ReadResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../src/gen/umadb/v1/umadb_pb.js";
import type { BoundService } from "../../src/grpc/transport/methods.ts";
import { kurrentdbServices } from "../../src/protocols/kurrentdb/kurrentdb.ts";
import type { KurrentContext } from "../../src/protocols/kurrentdb/mapping/context.ts";
import { umadbServices } from "../../src/protocols/umadb/umadb.ts";
import { appendAll, openLog } from "../log/harness.ts";
import { startBareServices, type BareServer } from "../support/bare-server.ts";
import { encode } from "../support/calls.ts";
import { expectNoneLost, StandingClient } from "../support/standing-client.ts";

const eventCount = 60;
const eventBytes = 10_000;
const empty = {};

type Options = Exclude<MessageInitShape<typeof ReadReq_OptionsSchema>, { $typeName: string }>;

/** Path, request, what is looked at of an answer, and how many of these there are. */
type Case = readonly [string, Buffer, (message: Buffer) => string[], number];

function kurrent(options: Partial<Options>, count = eventCount): Case {
  const request = encode(ReadReqSchema, {
    options: {
      streamOption: { case: "all", value: { allOption: { case: "start", value: empty } } },
      countOption: { case: "count", value: 1_000n },
      filterOption: { case: "noFilter", value: empty },
      uuidOption: { content: { case: "string", value: empty } },
      ...options,
    },
  });
  return ["/event_store.client.streams.Streams/Read", request, ofKurrent, count];
}

/** Events and checkpoints as they came, without what no two subscriptions have in common. */
function ofKurrent(message: Buffer): string[] {
  const { content } = fromBinary(ReadRespSchema, message);
  const isSame = content.case === "event" || content.case === "checkpoint";
  return isSame ? [message.toString("latin1")] : [];
}

const stream: Partial<Options> = {
  streamOption: {
    case: "stream",
    value: {
      streamIdentifier: { streamName: Buffer.from("s") },
      revisionOption: { case: "start", value: empty },
    },
  },
};
const subscription: Partial<Options> = { countOption: { case: "subscription", value: empty } };
const filter: Partial<Options> = {
  filterOption: {
    case: "filter",
    value: {
      filter: { case: "streamIdentifier", value: { prefix: ["s"] } },
      window: { case: "max", value: 3 },
      checkpointIntervalMultiplier: 1,
    },
  },
};

const cases: Readonly<Record<string, Case>> = {
  "KurrentDB: a read of a stream": kurrent(stream),
  "KurrentDB: a read of everything, with links resolved": kurrent({ resolveLinks: true }),
  "KurrentDB: a limited read": kurrent({ countOption: { case: "count", value: 37n } }, 37),
  "KurrentDB: a filtered read": kurrent(
    { ...filter, countOption: { case: "count", value: 41n } },
    41,
  ),
  "KurrentDB: a subscription to a stream": kurrent({ ...stream, ...subscription }),
  "KurrentDB: a subscription to everything": kurrent(subscription),
  "KurrentDB: a subscription with checkpoints": kurrent(
    { ...subscription, ...filter },
    eventCount + eventCount / 3,
  ),
  "UmaDB: a read": [
    "/umadb.v1.DCB/Read",
    encode(ReadRequestSchema, { batchSize: 2 }),
    ofRead,
    eventCount,
  ],
  "UmaDB: a read backwards": [
    "/umadb.v1.DCB/Read",
    encode(ReadRequestSchema, { backwards: true, limit: 37 }),
    ofRead,
    37,
  ],
  "UmaDB: a subscription": [
    "/umadb.v1.DCB/Subscribe",
    encode(SubscribeRequestSchema, { after: 3n, batchSize: 2 }),
    ofSubscribe,
    eventCount - 3,
  ],
};

function ofRead(message: Buffer): string[] {
  const { events, head } = fromBinary(ReadResponseSchema, message);
  return events.map(({ position, event }) => `${head} ${position} ${event?.eventType}`);
}

function ofSubscribe(message: Buffer): string[] {
  const { events } = fromBinary(SubscribeResponseSchema, message);
  return events.map(({ position, event }) => `${position} ${event?.eventType}`);
}

let server: BareServer;
const clients: StandingClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.raw.destroy();
  await server.stop();
});

async function started(): Promise<void> {
  const { log } = openLog();
  for (let i = 0; i < eventCount; i++) {
    await appendAll(log, { stream: "s", data: Buffer.alloc(eventBytes, i) });
  }
  const context: KurrentContext = {
    log,
    limits: defaultLimits,
    get environment() {
      return server.environment;
    },
    advertised: () => ({ host: "127.0.0.1", port: server.port }),
  };
  const services: BoundService[] = [...kurrentdbServices(context), ...umadbServices(context)];
  server = await startBareServices(services);
}

function connected(): StandingClient {
  const made = new StandingClient(server);
  clients.push(made);
  return made;
}

describe("a client that takes nothing for a while", () => {
  test.each(Object.entries(cases))(
    "gets all of %s",
    { timeout: 60_000 },
    async (_, [path, request, of, count]) => {
      await started();
      const asks = (client: StandingClient) => client.ask(path, request);
      const got = (client: StandingClient) => client.messages().flatMap(of);
      await expectNoneLost(connected, asks, got, count);
    },
  );
});
