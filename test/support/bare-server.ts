// The edge alone: a gRPC server with handlers of the test's own behind the real wrapper and door.
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { bindService, type Handlers } from "../../src/grpc/transport/bind.ts";
import { Stopping, type CallEnvironment } from "../../src/grpc/transport/call-environment.ts";
import { UnfinishedRequests } from "../../src/grpc/transport/unfinished-requests.ts";
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

const receiveBytesMax = 65_536;
export const unfinishedBytesMax = 512 * 1024;
export const unsentBytesMax = 4 * 1024 * 1024;

export async function startBareServer(handlers: Partial<StoreHandlers>): Promise<BareServer> {
  const { logger, lines } = recordingLogger();
  const unsentBytes = new UnsentBytes(unsentBytesMax);
  const environment = { logger, stopping: new Stopping(), unsentBytes };
  const server = new Server({
    "grpc.enable_channelz": 0,
    "grpc.max_receive_message_length": receiveBytesMax,
  });
  const methods = bindService(
    server,
    EventStoreService,
    { ...unscripted, ...handlers },
    environment,
  );
  const unfinished = new UnfinishedRequests(unfinishedBytesMax);
  const bound = { server, methods, receiveBytesMax, unfinished };
  const credentials = ServerCredentials.createInsecure();
  const address = await listenOnTcp(bound, "127.0.0.1", 0, credentials, environment);
  const calls = new Calls(address);
  const stop = async (): Promise<void> => {
    calls.close();
    environment.stopping.begin();
    await shutDown(server, 100);
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
