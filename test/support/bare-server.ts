// The transport alone: a gRPC server with handlers of the test's own behind the real call router.
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { GrpcServer, type TransportOptions } from "../../src/grpc/transport/grpc-server.ts";
import {
  handling,
  methodsOf,
  type BoundService,
  type Handlers,
} from "../../src/grpc/transport/methods.ts";
import { Stopping, type CallEnvironment } from "../../src/grpc/transport/call-environment.ts";
import { LargeAnswers } from "../../src/grpc/transport/large-answers.ts";
import { Turns } from "../../src/grpc/transport/turns.ts";
import { ClientMemory, type ClientMemoryOptions } from "../../src/log/scheduling/client-memory.ts";
import { Scheduler } from "../../src/log/scheduling/scheduler.ts";
import { nodeTimers } from "../../src/log/timers.ts";
import { Calls } from "./calls.ts";
import { recordingLogger, type LogLine } from "./running-server.ts";

export type StoreHandlers = Handlers<typeof EventStoreService>;

export interface BareServer {
  readonly address: string;
  readonly port: number;
  readonly calls: Calls;
  readonly environment: CallEnvironment;
  readonly memory: ClientMemory;
  readonly lines: LogLine[];
  stop(): Promise<void>;
}

function notScripted(): never {
  throw new Error("not scripted");
}

const unscripted: StoreHandlers = {
  append: notScripted,
  appendPipe: notScripted,
  read: notScripted,
  subscribe: notScripted,
  saveSnapshot: notScripted,
  getSnapshot: notScripted,
  listSnapshots: notScripted,
  deleteSnapshots: notScripted,
  load: notScripted,
  getState: notScripted,
  getEvent: notScripted,
  getStream: notScripted,
  listStreams: notScripted,
  listEventTypes: notScripted,
  getInfo: notScripted,
};

const transportOptions = {
  receiveBytesMax: 65_536,
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  concurrentCallsMax: 16_384,
  connectionsMax: 1_000,
  connectionsPerAddressMax: 1_000,
  connectionAgeMs: 0,
  requestTimes: { idleMs: 10_000, wholeMs: 60_000 },
  timers: nodeTimers,
};
/** From half of it on, calls hold little. */
export const clientMemory: ClientMemoryOptions = {
  bytesMax: 16 * 1024 * 1024,
  sureBytes: 128 * 1024,
  timers: nodeTimers,
};

export function startBareServer(
  handlers: Partial<StoreHandlers>,
  options: Partial<TransportOptions> = {},
  memoryOptions: Partial<ClientMemoryOptions> = {},
): Promise<BareServer> {
  const service = handling(EventStoreService, { ...unscripted, ...handlers });
  return startBareServices([service], options, memoryOptions);
}

/** Of any protocol. */
export async function startBareServices(
  services: readonly BoundService[],
  options: Partial<TransportOptions> = {},
  memoryOptions: Partial<ClientMemoryOptions> = {},
): Promise<BareServer> {
  const { logger, lines } = recordingLogger();
  const memory = new ClientMemory({ ...clientMemory, ...memoryOptions });
  const largeAnswers = new LargeAnswers();
  const longMessages = new Turns(2);
  const scheduler = new Scheduler();
  const environment = {
    logger,
    stopping: new Stopping(),
    memory,
    largeAnswers,
    inflations: new Turns(4),
    longMessages,
    scheduler,
  };
  const grpc = new GrpcServer({ ...transportOptions, ...options }, environment);
  grpc.begin(methodsOf(services));
  const address = await grpc.listenOnTcp("127.0.0.1", 0);
  const calls = new Calls(address);
  const stop = async (): Promise<void> => {
    calls.close();
    environment.stopping.begin();
    await grpc.stop(100);
  };
  return {
    memory,
    address,
    port: Number(address.split(":")[1]),
    calls,
    environment,
    lines,
    stop,
  };
}
