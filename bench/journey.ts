// Measures how far one warm call travels: which functions of src/ (without generated code and the
// SDK) run for one unary append, one read of a stream of ten events, one delivery to a live
// subscription, and a whole subscription (the call, its message that it has caught up, and one
// delivery). V8's precise coverage counts them. The figures say how many functions in how many
// files a reader of the code has to follow. They do not depend on the machine.
//
//   node bench/journey.ts            the figures, and those of each room of src/
//   node bench/journey.ts --list     and every function with its offset, by file

import { mkdtempSync, rmSync } from "node:fs";
import { Session } from "node:inspector";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { Client, credentials, type ClientReadableStream } from "@grpc/grpc-js";
import { loadConfig } from "../src/config.ts";
import { composeFrame } from "../src/domain/record.ts";
import { AppendRequestSchema } from "../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema, SubscribeRequestSchema } from "../src/gen/annals/v1/read_pb.js";
import { createLogger } from "../src/logger.ts";
import { startServer } from "../src/server.ts";
import { openLevelStorage } from "../src/storage/leveldb/open.ts";
import type { Storage, StorageWatcher } from "../src/storage/storage.ts";

const warmCalls = 200;
const warmDeliveries = 20;
/**
 * The shortest of this many counts is used: a timer that fires meanwhile does not belong to a
 * journey.
 */
const rounds = 7;
const service = "/annals.v1.EventStoreService";
const source = fileURLToPath(new URL("../src/", import.meta.url));
const excluded = ["gen/", "client/"];

/** Functions that ran, by file, as `name:offset`. */
type Journey = Map<string, string[]>;

class Coverage {
  private readonly session = new Session();

  start(): void {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  }

  /** The functions that ran since the last call. The inspector answers in the same turn. */
  take(): Journey {
    const journey: Journey = new Map();
    this.session.post("Profiler.takePreciseCoverage", (error, coverage) => {
      if (error !== null) throw error;
      for (const { url, functions } of coverage.result) {
        if (!url.startsWith("file:")) continue;
        const path = fileURLToPath(url);
        if (!path.startsWith(source)) continue;
        const file = path.slice(source.length);
        if (excluded.some((folder) => file.startsWith(folder))) continue;
        for (const { functionName, ranges } of functions) {
          const [range] = ranges;
          if (range === undefined || range.count === 0) continue;
          const ran = journey.get(file) ?? [];
          ran.push(`${functionName === "" ? "(anonymous)" : functionName}:${range.startOffset}`);
          journey.set(file, ran);
        }
      }
    });
    return journey;
  }
}

function functionCount(journey: Journey): number {
  let count = 0;
  for (const ran of journey.values()) count += ran.length;
  return count;
}

function union(one: Journey, other: Journey): Journey {
  const files = new Set([...one.keys(), ...other.keys()]);
  const both = (file: string) => new Set([...(one.get(file) ?? []), ...(other.get(file) ?? [])]);
  return new Map([...files].map((file) => [file, [...both(file)]]));
}

async function shortest(measure: () => Promise<Journey>): Promise<Journey> {
  let best = await measure();
  for (let i = 1; i < rounds; i++) {
    const next = await measure();
    if (functionCount(next) < functionCount(best)) best = next;
  }
  return best;
}

const asItIs = (bytes: Buffer): Buffer => bytes;

function encode<S extends DescMessage>(schema: S, init: MessageInitShape<S>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

/** A client without the SDK: bytes in, bytes out. */
class Calls {
  private readonly client: Client;

  constructor(address: string) {
    this.client = new Client(address, credentials.createInsecure());
  }

  append(stream: string, count: number): Promise<Buffer> {
    const event = { type: "Deposited", tags: ["card-1"], payload };
    const request = encode(AppendRequestSchema, {
      stream,
      events: Array.from({ length: count }, () => event),
    });
    return new Promise((resolve, reject) => {
      const answered = (error: Error | null, answer?: Buffer): void =>
        error === null ? resolve(answer as Buffer) : reject(error);
      this.client.makeUnaryRequest(`${service}/Append`, asItIs, asItIs, request, answered);
    });
  }

  async read(stream: string): Promise<void> {
    const request = encode(ReadRequestSchema, { selection: { case: "stream", value: stream } });
    const answers = this.stream(`${service}/Read`, request);
    for await (const _ of answers);
  }

  subscribe(): ClientReadableStream<Buffer> {
    const request = encode(SubscribeRequestSchema, { start: { case: "fromEnd", value: {} } });
    return this.stream(`${service}/Subscribe`, request);
  }

  close(): void {
    this.client.close();
  }

  private stream(path: string, request: Buffer): ClientReadableStream<Buffer> {
    return this.client.makeServerStreamRequest(path, asItIs, asItIs, request);
  }
}

const payload = { case: "data", value: Buffer.alloc(200, "x") } as const;

function nextMessage(stream: ClientReadableStream<Buffer>): Promise<void> {
  return new Promise((resolve) => stream.once("data", () => resolve()));
}

/** Resolves when both sides have processed every answer. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Stores an event as another writer would, so that no call of it is counted. */
async function commitBeside(storage: Storage): Promise<void> {
  const after = storage.head();
  const [position, recordedAt] = [
    after.position + 1,
    Math.max(after.recordedAt, Date.now() * 1_000),
  ];
  const names = { id: crypto.randomUUID(), stream: "", type: "Deposited", tags: [] };
  const frame = composeFrame(Buffer.from([0x1a, 1, 0x61]), 0, position, recordedAt);
  const event = { ...names, version: 0, position, idFromClient: false, frame };
  await storage.commit({ after, recordedAt, events: [event] });
}

/** The part of a journey in each room. */
function byRoom(journey: Journey): Map<string, Journey> {
  const rooms = new Map<string, Journey>();
  for (const [file, ran] of journey) {
    const name = dirname(file);
    const room = rooms.get(name) ?? new Map<string, string[]>();
    rooms.set(name, room.set(file, ran));
  }
  return rooms;
}

function show(name: string, journey: Journey, list: boolean): void {
  console.log(`${name}: ${functionCount(journey)} functions in ${journey.size} files`);
  const rooms = [...byRoom(journey)].map(([room, part]) => {
    return `${room} ${functionCount(part)} in ${part.size}`;
  });
  console.log(`  ${rooms.toSorted().join(", ")}`);
  if (!list) return;
  for (const file of [...journey.keys()].toSorted()) {
    console.log(`  ${file}: ${(journey.get(file) ?? []).join(" ")}`);
  }
}

async function main(list: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "annals-journey-"));
  const { config } = loadConfig({ flags: ["--port", "0"], environment: {} });
  const logger = createLogger({
    level: "error",
    format: "text",
    write: console.error,
    now: () => new Date(),
  });
  const coverage = new Coverage();
  let storage: Storage | undefined;
  let onAdvance: (() => void) | undefined;
  const watcher: StorageWatcher = {
    advanced: () => onAdvance?.(),
  };
  const openStorage = async (): Promise<Storage> => {
    const opened = await openLevelStorage({ folder: join(folder, "store"), warn: () => {} });
    // Registered before the log watches, because a delivery begins as the head moves.
    opened.watch(watcher);
    storage = opened;
    return opened;
  };
  const server = await startServer(config, logger, { openStorage });
  const calls = new Calls(server.addresses[0] ?? "");
  try {
    const subscription = calls.subscribe();
    // The message that the subscription has caught up.
    await nextMessage(subscription);
    await calls.append("account-1", 10);
    for (let i = 0; i < warmCalls; i++) {
      await calls.append("account-2", 1);
      await calls.read("account-1");
    }
    /**
     * The functions that run from the moment an event is durable until the subscription has
     * received it.
     */
    const delivered = async (call: ClientReadableStream<Buffer>): Promise<Journey> => {
      if (storage === undefined) throw new Error("the store is open");
      await settled();
      const message = nextMessage(call);
      onAdvance = () => void coverage.take();
      await commitBeside(storage);
      onAdvance = undefined;
      await message;
      await settled();
      return coverage.take();
    };
    coverage.start();
    for (let i = 0; i < warmDeliveries; i++) await delivered(subscription);
    const delivery = await shortest(() => delivered(subscription));
    subscription.on("error", () => {});
    subscription.cancel();
    const counted = (call: () => Promise<unknown>) => async (): Promise<Journey> => {
      await settled();
      coverage.take();
      await call();
      await settled();
      return coverage.take();
    };
    show("append", await shortest(counted(() => calls.append("account-2", 1))), list);
    show("read", await shortest(counted(() => calls.read("account-1"))), list);
    show("delivery", delivery, list);
    const subscribed = async (): Promise<Journey> => {
      await settled();
      coverage.take();
      const call = calls.subscribe();
      call.on("error", () => {});
      await nextMessage(call);
      const begun = coverage.take();
      const rest = await delivered(call);
      call.cancel();
      return union(begun, rest);
    };
    show("subscription", await shortest(subscribed), list);
  } finally {
    calls.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main(process.argv.includes("--list"));
