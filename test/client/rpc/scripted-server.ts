// A gRPC server that answers with what a test tells it to: for what the real server does only when
// something goes wrong, and for counting what it managed to send.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import { Connection, type ConnectionOptions } from "../../../src/client/rpc/connection.ts";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { ErrorInfoSchema } from "../../../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../../src/gen/google/rpc/status_pb.js";

function definitionOf(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    Object.entries<DescMethod>(service.method).map(([name, method]) => [
      name,
      {
        path: `/${method.parent.typeName}/${method.name}`,
        requestStream: method.methodKind === "bidi_streaming",
        responseStream: method.methodKind !== "unary",
        requestSerialize: () => Buffer.alloc(0),
        responseDeserialize: () => undefined,
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: Message) => Buffer.from(toBinary(method.output, message)),
      },
    ]),
  );
}

export interface Scripted {
  connect(options?: Partial<ConnectionOptions>): Connection;
  stop(): void;
}

/** Listens on a free port of the loopback with these handlers. */
export async function scripted(
  handlers: UntypedServiceImplementation,
  service: DescService = EventStoreService,
): Promise<Scripted> {
  const server = new Server();
  server.addService(definitionOf(service), handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const connections: Connection[] = [];
  return {
    connect(options = {}) {
      const connection = new Connection({ address: `127.0.0.1:${port}`, ...options });
      connections.push(connection);
      return connection;
    },
    stop() {
      for (const connection of connections) connection.close();
      server.forceShutdown();
    },
  };
}

/** An `ErrorInfo` of this product, packed. */
export function errorInfo(reason: string, domain = "annals"): Any {
  return anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain }));
}

/** What a handler fails with so that the details arrive in `grpc-status-details-bin`. */
export function failureWith(code: number, message: string, details: Any[]) {
  const metadata = new Metadata();
  const status = create(StatusSchema, { code, message, details });
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  return { code, details: message, metadata };
}
