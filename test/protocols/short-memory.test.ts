// Reads of UmaDB gather events for a message. While the memory for clients is short they wait for
// nothing that others of them hold, and what they held is given back with the end of the call.
import { setTimeout as pause } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import { defaultLimits } from "../../src/domain/limits.ts";
import { ReadRequestSchema, ReadResponseSchema } from "../../src/gen/umadb/v1/umadb_pb.js";
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, type } from "../../src/http2/protocol.ts";
import { umadbServices } from "../../src/protocols/umadb/umadb.ts";
import { data, frame, RawClient, uint32 } from "../http2/raw-client.ts";
import { appendAll, openLog } from "../log/harness.ts";
import { startBareServices, type BareServer } from "../support/bare-server.ts";
import { encode } from "../support/calls.ts";
import { messageFrame } from "../support/raw-connection.ts";

const path = "/umadb.v1.DCB/Read";
const request = messageFrame(encode(ReadRequestSchema, { batchSize: 4_096 }));
const headers = hpackOf([
  [":method", "POST"],
  [":scheme", "http"],
  [":path", path],
  [":authority", "here"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
]);

let server: BareServer;
let client: RawClient;
afterEach(async () => {
  client.destroy();
  await server.stop();
});

async function started(events: number, bytes: number): Promise<void> {
  const memory = {
    get isLarge(): boolean {
      return server.memory.isLarge;
    },
    room: (...who: Parameters<BareServer["memory"]["room"]>) => server.memory.room(...who),
  };
  const { log } = openLog({ memory });
  for (let i = 0; i < events; i++) {
    await appendAll(log, { stream: "s", data: Buffer.alloc(bytes, i) });
  }
  const context = {
    log,
    limits: defaultLimits,
    get environment() {
      return server.environment;
    },
  };
  server = await startBareServices(umadbServices(context));
  client = new RawClient(server.port);
}

function ask(count: number): number[] {
  const ids = Array.from({ length: count }, (_, i) => 2 * i + 1);
  for (const id of ids) {
    const head = frame(type.headers, flag.endHeaders, id, headers);
    client.send(head, data(id, request, flag.endStream));
  }
  return ids;
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(10);
}

test.each(["cancelled", "cut off"])("reads that are %s hold nothing any more", async (how) => {
  await started(9, 500_000);
  const ids = ask(6);
  await until(() => server.memory.bytes > 3_000_000);
  // Long enough for all of them to gather what they can.
  await pause(300);
  if (how === "cut off") client.destroy();
  else for (const id of ids) client.send(frame(type.resetStream, 0, id, uint32(8)));
  // A connection itself counts for 48 KiB.
  await until(() => server.memory.bytes <= 64 * 1024);
  expect(server.memory.isLarge).toBe(false);
});

test("reads that need more than there is are all answered", async () => {
  await started(60, 50_000);
  const ids = ask(20);
  await until(() => server.memory.bytes > 3_000_000);
  for (const id of ids) client.send(frame(type.windowUpdate, 0, id, uint32(10_000_000)));
  client.send(frame(type.windowUpdate, 0, 0, uint32(1_000_000_000)));
  const endsOf = (id: number) =>
    client.frames.some((each) => {
      return each.id === id && each.type === type.headers && (each.flags & flag.endStream) > 0;
    });
  await until(() => ids.every(endsOf));
  for (const id of ids) {
    const own = client.frames.filter((each) => each.id === id && each.type === type.data);
    let rest = Buffer.concat(own.map(({ payload }) => payload));
    const positions: bigint[] = [];
    while (rest.length > 0) {
      const end = 5 + rest.readUInt32BE(1);
      const { events } = fromBinary(ReadResponseSchema, rest.subarray(5, end));
      positions.push(...events.map(({ position }) => position));
      rest = rest.subarray(end);
    }
    expect(positions).toEqual(Array.from({ length: 60 }, (_, i) => BigInt(i + 1)));
  }
});
