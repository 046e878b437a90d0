// A leader that sends what it likes: a grpc-js server whose answers to a copy are a script's.
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import {
  CopyRequestSchema,
  CopyResponseSchema,
  type CopyRequest,
} from "../../src/gen/annals/v1/backup_service_pb.js";

type Answer = MessageInitShape<typeof CopyResponseSchema>["message"];

/** Bytes are sent as they are. */
export type Script = (request: CopyRequest) => Iterable<Answer | Uint8Array>;

export interface HostileLeader {
  readonly address: string;
  script: Script;
  stop(): void;
}

export async function hostileLeader(): Promise<HostileLeader> {
  const server = new Server();
  const leader: HostileLeader = {
    address: "",
    script: () => [],
    stop: () => server.forceShutdown(),
  };
  const copy = {
    path: "/annals.v1.BackupService/Copy",
    requestStream: false,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => fromBinary(CopyRequestSchema, bytes),
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
  const send = async (call: ServerWritableStream<CopyRequest, Buffer>): Promise<void> => {
    for (const answer of leader.script(call.request)) {
      if (call.cancelled) return;
      if (!call.write(encoded(answer))) {
        await new Promise((resolve) => {
          call.once("drain", resolve);
          call.once("close", resolve);
          call.once("cancelled", resolve);
        });
      }
    }
    // The call stays open: a follower waits for more.
  };
  const handle = (call: ServerWritableStream<CopyRequest, Buffer>): void => void send(call);
  server.addService({ copy }, { copy: handle as never });
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return Object.assign(leader, { address: `127.0.0.1:${port}` });
}

function encoded(answer: Answer | Uint8Array): Buffer {
  if (answer instanceof Uint8Array) return Buffer.from(answer);
  const message = create(CopyResponseSchema, { message: answer as never });
  return Buffer.from(toBinary(CopyResponseSchema, message));
}
