// A typed client for a service, made from its generated descriptor alone: a method for each RPC,
// requests as plain objects, streams as async iterables that pull no faster than they are read.

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { Metadata, type CallOptions as GrpcOptions } from "@grpc/grpc-js";
import { callError } from "./call-error.ts";
import type { Connection } from "./connection.ts";
import { exchange, receive } from "./streams.ts";

export interface CallOptions {
  /** Cancels the call; it then fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Gives up (`TIMED_OUT`) after so long. Absent: never. */
  readonly timeoutMs?: number | undefined;
}

type Call<M> = M extends { input: infer I extends DescMessage; output: infer O extends DescMessage }
  ? M extends { methodKind: "unary" }
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends { methodKind: "server_streaming" }
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : (
          requests: AsyncIterable<MessageInitShape<I>>,
          options?: CallOptions,
        ) => AsyncIterable<MessageShape<O>>
  : never;

/** A method for each RPC of a service. Every one fails with a `CallError`. */
export type ServiceClient<Methods> = { readonly [Name in keyof Methods]: Call<Methods[Name]> };

/** Binds a service to a connection. A stream's call begins when its iteration does. */
export function clientOf<Methods extends GenServiceMethods>(
  service: GenService<Methods>,
  connection: Connection,
): ServiceClient<Methods> {
  const methods = Object.entries<DescMethod>(service.method);
  const bound = methods.map(([name, method]) => [name, bind(method, connection)]);
  return Object.fromEntries(bound) as ServiceClient<Methods>;
}

function bind(method: DescMethod, { channel }: Connection): unknown {
  const path = `/${method.parent.typeName}/${method.name}`;
  const { input, output } = method;
  const encode = (request: MessageInitShape<DescMessage>) => {
    const bytes = toBinary(input, create(input, request));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const decode = (bytes: Buffer) => fromBinary(output, bytes);
  switch (method.methodKind) {
    case "unary":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        settle((done) => {
          const metadata = new Metadata();
          const grpc = grpcOptions(options);
          return channel.makeUnaryRequest(path, encode, decode, request, metadata, grpc, done);
        }, options.signal);
    case "server_streaming":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        receive(
          () =>
            channel.makeServerStreamRequest(path, encode, decode, request, grpcOptions(options)),
          options.signal,
        );
    case "bidi_streaming":
      return (requests: AsyncIterable<MessageInitShape<DescMessage>>, options: CallOptions = {}) =>
        exchange(
          () => channel.makeBidiStreamRequest(path, encode, decode, grpcOptions(options)),
          requests,
          options.signal,
        );
    case "client_streaming":
      throw new TypeError(`${path}: client streaming is not part of the contract`);
  }
}

function grpcOptions({ timeoutMs }: CallOptions): GrpcOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

type Done<T> = (error: Error | null, value?: T) => void;

/** A unary call as a promise that a signal can reject. */
function settle<T>(
  open: (done: Done<T>) => { cancel(): void },
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const call = open((error, value) => {
      signal?.removeEventListener("abort", cancel);
      if (error === null) resolve(value as T);
      else reject((signal?.aborted ? signal.reason : callError(error)) as Error);
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}
