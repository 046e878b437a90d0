// A grpc-js server with the same handlers as a bare server of ours: what a client may expect of any
// gRPC server.
import { Metadata, Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { statusFields, statusOf } from "../../src/grpc/transport/status.ts";

/** Of bytes: what they are decoded to and encoded from is not of interest here. */
export interface ReferenceHandlers {
  readonly getInfo?: () => Buffer;
  readonly read?: () => AsyncIterable<Buffer>;
}

export interface ReferenceServer {
  readonly port: number;
  stop(): void;
}

const asItIs = (bytes: Buffer): Buffer => bytes;

export async function startReferenceServer(handlers: ReferenceHandlers): Promise<ReferenceServer> {
  const server = new Server({
    "grpc.enable_channelz": 0,
    "grpc.max_receive_message_length": 65_536,
  });
  const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
    path: `/annals.v1.EventStoreService/${name}`,
    requestStream,
    responseStream,
    requestSerialize: asItIs,
    requestDeserialize: asItIs,
    responseSerialize: asItIs,
    responseDeserialize: asItIs,
  });
  const definition = {
    getInfo: method("GetInfo", false, false),
    read: method("Read", false, true),
    appendPipe: method("AppendPipe", true, true),
  };
  server.addService(definition, {
    getInfo: (_: unknown, callback: (error: null, answer: Buffer) => void) => {
      callback(null, handlers.getInfo?.() ?? Buffer.alloc(0));
    },
    read: (call: ServerWritableStream<Buffer, Buffer>) => void stream(call, handlers),
    appendPipe: (call: NodeJS.ReadWriteStream) => void call.pipe(call),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return { port, stop: () => server.forceShutdown() };
}

async function stream(
  call: ServerWritableStream<Buffer, Buffer>,
  handlers: ReferenceHandlers,
): Promise<void> {
  try {
    for await (const message of handlers.read?.() ?? []) call.write(message);
    call.end();
  } catch (error) {
    const metadata = new Metadata();
    for (const [name, value] of statusFields(statusOf(error))) {
      if (name.endsWith("-bin")) metadata.set(name, Buffer.from(value, "base64"));
    }
    const { code, message: details } = statusOf(error);
    call.emit("error", { code, details, metadata });
  }
}
