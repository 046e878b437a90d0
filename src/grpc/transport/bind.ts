// Binds a service's handlers to grpc-js, straight from the generated descriptor: no service
// definition is written by hand. Messages cross grpc-js as bytes; they are decoded and encoded
// here, inside the wrapper that ends every call with an answer or a status (unary.ts,
// streaming.ts).

import {
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescService,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Server,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { Call } from "./call.ts";
import type { TakeOne } from "./direct-one.ts";
import type { TakePipe } from "./direct-pipe.ts";
import { decodeRequest } from "./decode.ts";
import type { CallEnvironment } from "./call-environment.ts";
import { MessageParts, type Message } from "./message-parts.ts";
import { bidi, directBidi, directStreaming, serverStreaming } from "./streaming.ts";
import { UnfinishedRequests } from "./unfinished-requests.ts";
import { directUnary, unary, type UnaryBytes } from "./unary.ts";

declare const shape: unique symbol;

/**
 * The bytes of a message that is sent on as it is: stored events are never decoded on the way out.
 */
export type Encoded<M> = Buffer & { readonly [shape]?: M };

/** What a handler answers with. */
export type Answer<M> = M | Encoded<M>;

/** A handler that takes its request's bytes, and decodes them itself. */
export interface TakesBytes<H> {
  readonly bytes: H;
}

type Input<M> = M extends { input: infer I extends DescMessage } ? MessageShape<I> : never;
type Output<M> = M extends { output: infer O extends DescMessage } ? MessageShape<O> : never;
type Unary<I, O> = (request: I, call: Call) => Promise<Answer<O>> | Answer<O>;
type Streaming<I, O> = (request: I, call: Call) => AsyncIterable<Answer<O> | MessageParts>;
/** Messages that came together are taken together, and so are answers that are ready. */
type PipeOfBytes<O> = (
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
) => AsyncIterable<readonly Encoded<O>[]>;
type UnaryHandler<I, O> = Unary<I, O> | TakesBytes<Unary<Buffer, O>>;

type Handler<M> = M extends { methodKind: "unary" }
  ? UnaryHandler<Input<M>, Output<M>>
  : M extends { methodKind: "server_streaming" }
    ? Streaming<Input<M>, Output<M>>
    : M extends { methodKind: "bidi_streaming" }
      ? Streaming<AsyncIterable<Input<M>>, Output<M>> | TakesBytes<PipeOfBytes<Output<M>>>
      : never;

/** One handler for each method of a service, by its local name. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof S["method"]]: Handler<S["method"][K]>;
};

/** How a method's calls are taken from their HTTP/2 stream: by one request, or as pipes. */
export type DirectMethod = { readonly one: TakeOne } | { readonly pipe: TakePipe };

/** Methods by their path. */
export type Methods = ReadonlyMap<string, DirectMethod>;

export interface BoundServer {
  readonly server: Server;
  /** By their paths, as `/package.Service/Method`. */
  readonly methods: Methods;
  readonly receiveBytesMax: number;
  readonly unfinished: UnfinishedRequests;
}

export interface TransportOptions {
  /** Bytes of one request message. */
  readonly receiveBytesMax: number;
  /** Bytes of requests that are not complete yet, over all calls but pipes. */
  readonly unfinishedBytesMax: number;
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Calls one connection may have open at a time. */
  readonly concurrentCallsMax: number;
}

/** A service and a handler for each of its methods. */
export interface BoundService {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
}

export function handling<S extends DescService>(service: S, handlers: Handlers<S>): BoundService {
  return { service, handlers };
}

/** Megabytes one connection may make the server hold beyond its messages' own buffers. */
const sessionMemoryMegabytes = 256;

/** A server for these services, which does not listen yet. */
export function bindServer(
  services: readonly BoundService[],
  options: TransportOptions,
  environment: CallEnvironment,
): BoundServer {
  const { receiveBytesMax, unfinishedBytesMax } = options;
  const server = new Server({
    "grpc.max_receive_message_length": receiveBytesMax,
    "grpc.max_concurrent_streams": options.concurrentCallsMax,
    "grpc.keepalive_time_ms": options.keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs,
    "grpc-node.max_session_memory": sessionMemoryMegabytes,
    "grpc.enable_channelz": 0,
  });
  const methods = new Map(services.flatMap((each) => [...bindService(server, each, environment)]));
  return {
    server,
    methods,
    receiveBytesMax,
    unfinished: new UnfinishedRequests(unfinishedBytesMax),
  };
}

/** Adds the service to the server; answers its methods. */
function bindService(
  server: Server,
  { service, handlers }: BoundService,
  environment: CallEnvironment,
): Methods {
  const methods = new Map<string, DirectMethod>();
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const { localName } = method;
    const path = `/${service.typeName}/${method.name}`;
    definition[localName] = bytesDefinition(method, path);
    const handler = handlers[localName] as AnyHandler;
    const { underGrpcJs, direct } = adapt(environment, method, path, handler);
    implementation[localName] = underGrpcJs;
    methods.set(path, direct);
  }
  server.addService(definition, implementation);
  return methods;
}

/** What a handler is once its types have done their work. */
// oxlint-disable-next-line typescript/no-explicit-any
type Run = (request: unknown, call: Call) => any;
type AnyHandler = Run | TakesBytes<Run>;

interface Adapted {
  readonly underGrpcJs: UntypedHandleCall;
  readonly direct: DirectMethod;
}

function adapt(
  environment: CallEnvironment,
  method: DescMethod,
  path: string,
  handler: AnyHandler,
): Adapted {
  const takesBytes = typeof handler !== "function";
  const run = takesBytes ? handler.bytes : handler;
  const decode = (bytes: Buffer): unknown =>
    takesBytes ? bytes : decodeRequest(method.input, bytes);
  const encode = (answer: unknown): Message =>
    answer instanceof MessageParts ? answer : encodeAnswer(method.output, answer);
  switch (method.methodKind) {
    case "unary": {
      const bytes: UnaryBytes = async (request, call) =>
        encodeAnswer(method.output, await run(decode(request), call));
      return {
        underGrpcJs: unary(environment, path, bytes),
        direct: { one: directUnary(environment, path, bytes) },
      };
    }
    case "server_streaming": {
      const stream = (request: Buffer, call: Call) => run(decode(request), call);
      return {
        underGrpcJs: serverStreaming(environment, path, encode, stream),
        direct: { one: directStreaming(environment, path, encode, stream) },
      };
    }
    case "bidi_streaming": {
      const pipe = (requests: AsyncIterable<readonly Buffer[]>, call: Call) =>
        run(takesBytes ? requests : decodeEach(requests, decode), call);
      return {
        underGrpcJs: bidi(environment, path, encode, pipe),
        direct: { pipe: directBidi(environment, path, encode, pipe) },
      };
    }
    case "client_streaming":
      throw new Error(`${path}: client streaming is not bound; no service has it`);
  }
}

async function* decodeEach(
  requests: AsyncIterable<readonly Buffer[]>,
  decode: (bytes: Buffer) => unknown,
) {
  for await (const some of requests) {
    for (const bytes of some) yield decode(bytes);
  }
}

/** grpc-js takes nothing but a `Buffer`: a plain `Uint8Array` would end the call with INTERNAL. */
function encodeAnswer(schema: DescMessage, answer: unknown): Buffer {
  if (answer instanceof Buffer) return answer;
  const bytes = toBinary(schema, answer as MessageShape<DescMessage>);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

const asItIs = (bytes: Buffer): Buffer => bytes;

function bytesDefinition(method: DescMethod, path: string): ServiceDefinition[string] {
  const streams = method.methodKind;
  return {
    path,
    requestStream: streams === "bidi_streaming" || streams === "client_streaming",
    responseStream: streams === "bidi_streaming" || streams === "server_streaming",
    requestSerialize: asItIs,
    requestDeserialize: asItIs,
    responseSerialize: asItIs,
    responseDeserialize: asItIs,
  };
}
