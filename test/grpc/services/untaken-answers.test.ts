// A client that takes nothing for a while, with raw frames over a real socket: what waits for it is
// let go of, and read again when it goes on. It gets every event, without a gap or a duplicate.
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import {
  Direction,
  ReadRequestSchema,
  ReadResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import { LoadRequestSchema, LoadResponseSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import type { ServiceContext } from "../../../src/grpc/services/context.ts";
import { readMethods } from "../../../src/grpc/services/read.ts";
import { appendAll, openLog, type Opened } from "../../log/harness.ts";
import { startBareServer, type BareServer } from "../../support/bare-server.ts";
import { encode } from "../../support/calls.ts";
import { initialWindow, StandingClient } from "../../support/standing-client.ts";

const eventCount = 60;
const eventBytes = 10_000;
const service = "/annals.v1.EventStoreService";

let opened: Opened;
let server: BareServer;
let client: StandingClient;
afterEach(async () => {
  client.raw.destroy();
  await server.stop();
});

async function started(): Promise<void> {
  opened = openLog();
  for (let i = 0; i < eventCount; i++) {
    await appendAll(opened.log, { stream: "s", data: Buffer.alloc(eventBytes, i) });
  }
  const methods = () => {
    const { environment } = server;
    return readMethods({ log: opened.log, limits: defaultLimits, environment } as ServiceContext);
  };
  server = await startBareServer({
    read: (request, call) => methods().read(request, call),
    subscribe: (request, call) => methods().subscribe(request, call),
    load: (request, call) => methods().load(request, call),
  });
  client = new StandingClient(server);
}

interface Got {
  readonly position: bigint;
  readonly data: Uint8Array;
}

const forwards = Array.from({ length: eventCount }, (_, i) => i + 1);
const ofRead = (message: Buffer): readonly Got[] => {
  const { message: said } = fromBinary(ReadResponseSchema, message);
  return said.case === "batch" ? said.value.events : [];
};
const ofSubscribe = (message: Buffer): readonly Got[] => {
  const { message: said } = fromBinary(SubscribeResponseSchema, message);
  return said.case === "batch" ? said.value.events : [];
};
const ofLoad = (message: Buffer): readonly Got[] => {
  const { message: said } = fromBinary(LoadResponseSchema, message);
  return said.case === "batch" ? said.value.events : [];
};

const cases = [
  ["Read", encode(ReadRequestSchema, {}), ofRead, forwards],
  [
    "Read",
    encode(ReadRequestSchema, { direction: Direction.BACKWARDS }),
    ofRead,
    forwards.toReversed(),
  ],
  ["Read", encode(ReadRequestSchema, { limit: 37n }), ofRead, forwards.slice(0, 37)],
  [
    "Subscribe",
    encode(SubscribeRequestSchema, { start: { case: "afterPosition", value: 0n } }),
    ofSubscribe,
    forwards,
  ],
  ["Load", encode(LoadRequestSchema, { stream: "s" }), ofLoad, forwards],
] as const;

describe("a client that takes nothing for a while", () => {
  test.each(cases)(
    "gets all of %s (%#)",
    { timeout: 60_000 },
    async (method, request, of, wanted) => {
      await started();
      client.ask(`${service}/${method}`, request);
      await client.takesLate();
      const events = () => client.messages().flatMap(of);
      await expect.poll(() => events().length, { timeout: 20_000 }).toBe(wanted.length);
      expect(events().map(({ position }) => Number(position))).toEqual(wanted);
      for (const { position, data: bytes } of events()) {
        const own = Buffer.alloc(eventBytes, Number(position) - 1);
        expect(Buffer.compare(bytes, own)).toBe(0);
      }
    },
  );

  test("is told where what was on its way is there no longer", { timeout: 60_000 }, async () => {
    await started();
    client.ask(
      `${service}/Subscribe`,
      encode(SubscribeRequestSchema, { start: { case: "afterPosition", value: 0n } }),
    );
    await client.dropped(initialWindow);
    await opened.log.streams.remove({
      stream: "s",
      expected: undefined,
      permanent: false,
      actor: "",
      reason: "",
    });
    client.widen(100_000_000);
    // Between messages it would be a status; a message of which a part was sent cannot go on.
    await client.raw.resetCode(1);
    const events = client.messages().flatMap(ofSubscribe);
    for (const { position, data: bytes } of events) {
      const own = Buffer.alloc(eventBytes, Number(position) - 1);
      expect(Buffer.compare(bytes, own)).toBe(0);
    }
    expect(client.raw.dataBytes(1)).toBe(initialWindow);
  });
});
