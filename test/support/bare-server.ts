// The transport alone: a gRPC server with handlers of the test's own behind the real call router.
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { bindServer, handling, type Handlers } from "../../src/grpc/transport/bind.ts";
import { Stopping, type CallEnvironment } from "../../src/grpc/transport/call-environment.ts";
import type { UnfinishedRequests } from "../../src/grpc/transport/unfinished-requests.ts";
import { listenOnTcp, shutDown } from "../../src/grpc/transport/listen.ts";
import { UnsentBytes } from "../../src/log/scheduling/unsent-bytes.ts";
import { Calls } from "./calls.ts";
import { recordingLogger, type LogLine } from "./running-server.ts";

export type StoreHandlers = Handlers<typeof EventStoreService>;

export interface BareServer {
  readonly address: string;
  readonly port: number;
  readonly calls: Calls;
  readonly environment: CallEnvironment;
  readonly unfinished: UnfinishedRequests;
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
  getStream: notScripted,
  listStreams: notScripted,
  listEventTypes: notScripted,
  getInfo: notScripted,
};

export const unfinishedBytesMax = 512 * 1024;
const transportOptions = {
  receiveBytesMax: 65_536,
  unfinishedBytesMax,
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  concurrentCallsMax: 16_384,
};
export const unsentBytesMax = 4 * 1024 * 1024;

export async function startBareServer(handlers: Partial<StoreHandlers>): Promise<BareServer> {
  const { logger, lines } = recordingLogger();
  const unsentBytes = new UnsentBytes(unsentBytesMax);
  const environment = { logger, stopping: new Stopping(), unsentBytes };
  const service = handling(EventStoreService, { ...unscripted, ...handlers });
  const bound = bindServer([service], transportOptions, environment);
  const { unfinished } = bound;
  const address = await listenOnTcp(bound, "127.0.0.1", 0, undefined, environment);
  const calls = new Calls(address);
  const stop = async (): Promise<void> => {
    calls.close();
    environment.stopping.begin();
    await shutDown(bound, 100);
  };
  return {
    unfinished,
    address,
    port: Number(address.split(":")[1]),
    calls,
    environment,
    lines,
    stop,
  };
}
