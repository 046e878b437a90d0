// A typed client for a service, made from its generated descriptor: a method for each RPC, with
// plain objects as requests and async iterables as streams, which pull no faster than they are
// read.

import {
  create,
  toBinary,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import {
  Metadata,
  type CallOptions as GrpcOptions,
  type ClientReadableStream,
} from "@grpc/grpc-js";
import type { Connection } from "./connection.ts";
import { decoderOf } from "./recorded-events.ts";
import { exchange, receive, type Open } from "./streams.ts";
import { refuseLoneSurrogates } from "./well-formed.ts";

export interface CallOptions {
  /** Cancels the call; it then fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the call with `TIMED_OUT` after this time. Absent: never. */
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

/** Binds a service to a connection. The call of a stream begins with its iteration. */
export function clientOf<Methods extends GenServiceMethods>(
  service: GenService<Methods>,
  connection: Connection,
): ServiceClient<Methods> {
  const methods = Object.entries<DescMethod>(service.method);
  const bound = methods.map(([name, method]) => [name, bind(method, connection)]);
  return Object.fromEntries(bound) as ServiceClient<Methods>;
}

function bind(method: DescMethod, connection: Connection): unknown {
  const { channel } = connection;
  const path = `/${method.parent.typeName}/${method.name}`;
  const { input, output } = method;
  type Request = MessageInitShape<DescMessage>;
  const encode = (request: Request) => {
    const message = create(input, request);
    refuseLoneSurrogates(message);
    const bytes = toBinary(input, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const decode = decoderOf(output);
  switch (method.methodKind) {
    case "unary":
      return async (request: Request, options: CallOptions = {}) => {
        const bytes = encode(request);
        const answer = await settle<Buffer>(
          (done) => {
            const metadata = new Metadata();
            const grpc = grpcOptions(connection, options);
            return channel.makeUnaryRequest(path, same, same, bytes, metadata, grpc, done);
          },
          connection,
          options.signal,
        );
        return decode(answer);
      };
    case "server_streaming":
      return async function* (request: Request, options: CallOptions = {}) {
        const bytes = encode(request);
        const open: Open<ClientReadableStream<Buffer>> = (more) => {
          const grpc = grpcOptions(connection, options, more);
          return channel.makeServerStreamRequest(path, same, same, bytes, grpc);
        };
        yield* receive(open, decode, connection, options.signal);
      };
    case "bidi_streaming":
      return (requests: AsyncIterable<Request>, options: CallOptions = {}) =>
        exchange(
          (more) =>
            channel.makeBidiStreamRequest(path, same, same, grpcOptions(connection, options, more)),
          decode,
          encoded(requests, encode),
          connection,
          options.signal,
        );
    case "client_streaming":
      return () => {
        throw new TypeError(`${path}: client streaming is not part of the contract`);
      };
  }
}

/**
 * grpc-js passes bytes through, so that a request that cannot be encoded fails before the call
 * begins.
 */
const same = (bytes: Buffer): Buffer => bytes;

async function* encoded<Request>(
  requests: AsyncIterable<Request>,
  encode: (request: Request) => Buffer,
): AsyncGenerator<Buffer> {
  for await (const request of requests) yield encode(request);
}

function grpcOptions(
  connection: Connection,
  { timeoutMs }: CallOptions,
  more: GrpcOptions = {},
): GrpcOptions {
  const interceptors = [...connection.interceptors, ...(more.interceptors ?? [])];
  const deadline = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
  return { ...more, ...deadline, interceptors };
}

type Done<T> = (error: Error | null, value?: T) => void;

/** A unary call as a promise that a signal can reject. */
function settle<T>(
  open: (done: Done<T>) => { cancel(): void },
  connection: Connection,
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const call = open((error, value) => {
      signal?.removeEventListener("abort", cancel);
      if (error === null) resolve(value as T);
      else reject((signal?.aborted ? signal.reason : connection.failed(error)) as Error);
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}
