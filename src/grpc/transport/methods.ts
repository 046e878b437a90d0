// The methods of services, derived from their generated descriptors, so that no service definition
// is written by hand. A method decodes a request, runs the handler, and encodes the answer.

import {
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescService,
  type MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { requirements, type Requirement } from "../../access/requirements.ts";
import type { Call } from "./call-environment.ts";
import { decodeInSteps } from "./decode.ts";
import { MessageParts, PrefixedMessages, RepeatableMessage } from "./message-parts.ts";
import type { CallStatus } from "./status.ts";

declare const shape: unique symbol;

/**
 * An encoded message, which is sent as it is. Stored events are not decoded on the way out.
 */
export type Encoded<M> = Buffer & { readonly [shape]?: M };

/** A handler's answer. */
export type Answer<M> = M | Encoded<M>;

/** A handler that decodes its request itself, and calls `call.permit`. */
export interface TakesBytes<H> {
  readonly bytes: H;
}

type Input<M> = M extends { input: infer I extends DescMessage } ? MessageShape<I> : never;
type Output<M> = M extends { output: infer O extends DescMessage } ? MessageShape<O> : never;
type Unary<I, O> = (request: I, call: Call) => Promise<Answer<O>> | Answer<O>;
type Streamed<O> = Answer<O> | MessageParts | PrefixedMessages | RepeatableMessage;
/** Answers that are ready together are yielded together. */
type Streaming<I, O> = (
  request: I,
  call: Call,
) => AsyncIterable<Streamed<O> | readonly Streamed<O>[]>;
/** Each step takes the messages that wait, and yields the answers that are ready. */
type PipeOfBytes<O> = (
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
) => AsyncIterable<readonly (Encoded<O> | PrefixedMessages)[]>;
type UnaryHandler<I, O> = Unary<I, O> | TakesBytes<Unary<Buffer, O>>;

type Handler<M> = M extends { methodKind: "unary" }
  ? UnaryHandler<Input<M>, Output<M>>
  : M extends { methodKind: "client_streaming" }
    ? TakesBytes<Unary<AsyncIterable<readonly Buffer[]>, Output<M>>>
    : M extends { methodKind: "server_streaming" }
      ? Streaming<Input<M>, Output<M>>
      : M extends { methodKind: "bidi_streaming" }
        ? Streaming<AsyncIterable<Input<M>>, Output<M>> | TakesBytes<PipeOfBytes<Output<M>>>
        : never;

/** One handler for each method of a service, by its local name. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof S["method"]]: Handler<S["method"][K]>;
};

/** A service and a handler for each of its methods. */
export interface BoundService {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
  /** The requirements by local name. Absent: those of the table in src/access. */
  readonly requirements?: Readonly<Record<string, Requirement>>;
  /** Turns a failure into a status. Absent: the way of annals.v1. */
  readonly statusOf?: StatusOf;
}

export type StatusOf = (error: unknown) => CallStatus;

export function handling<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  own?: { readonly [K in keyof S["method"]]: Requirement },
): BoundService {
  return { service, handlers, ...(own && { requirements: own }) };
}

/** An encoded message. */
export type Bytes = Uint8Array | MessageParts | PrefixedMessages | RepeatableMessage;

interface Common {
  /** The path, as in `/package.Service/Method`. */
  readonly path: string;
  readonly input: DescMessage;
  readonly output: DescMessage;
  /** The contract says that it changes nothing. */
  readonly isSafe: boolean;
  readonly requirement: Requirement;
  /** Whether the handler takes decoded messages, and not bytes. */
  readonly isDecoded: boolean;
  readonly statusOf: StatusOf | undefined;
  encode(answer: unknown): Bytes;
}

/** `run` may throw instead of returning a promise or an iterable. */
export type Method =
  | (Common & { readonly kind: "unary"; run(request: Buffer, call: Call): unknown })
  | (Common & {
      readonly kind: "server_streaming";
      run(request: Buffer, call: Call): AsyncIterable<unknown>;
    })
  | (Common & {
      readonly kind: "client_streaming";
      run(requests: AsyncIterable<readonly Buffer[]>, call: Call): unknown;
    })
  | (Common & {
      readonly kind: "bidi_streaming";
      run(requests: AsyncIterable<readonly Buffer[]>, call: Call): AsyncIterable<unknown>;
    });

/** The methods of all services by their paths. */
export type Methods = ReadonlyMap<string, Method>;

/** Throws if a method has no requirement. */
export function methodsOf(services: readonly BoundService[]): Methods {
  const methods = services.flatMap((bound) =>
    bound.service.methods.flatMap((method) => {
      const name = `${bound.service.typeName}/${method.name}`;
      const own = bound.requirements;
      const requirement = own === undefined ? requirements.get(name) : own[method.localName];
      const handler = bound.handlers[method.localName] as AnyHandler;
      if (requirement === undefined) return [];
      const common = { path: `/${name}`, requirement, statusOf: bound.statusOf };
      return [[common.path, methodOf(common, method, handler)] as const];
    }),
  );
  return new Map(methods);
}

/** A handler without its types, which were checked where it was given. */
// oxlint-disable-next-line typescript/no-explicit-any
type Run = (request: unknown, call: Call) => any;
type AnyHandler = Run | TakesBytes<Run>;

function methodOf(
  of: Pick<Common, "path" | "requirement" | "statusOf">,
  { methodKind: kind, input, output, idempotency }: DescMethod,
  handler: AnyHandler,
): Method {
  const takesBytes = typeof handler !== "function";
  const handle = takesBytes ? handler.bytes : handler;
  const encode = (answer: unknown): Bytes => {
    if (answer instanceof Buffer || answer instanceof MessageParts) return answer;
    if (answer instanceof PrefixedMessages || answer instanceof RepeatableMessage) return answer;
    return toBinary(output, answer as MessageShape<DescMessage>);
  };
  const isSafe = idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const common = { ...of, input, output, isSafe, isDecoded: !takesBytes, encode };
  if (takesBytes) return { ...common, kind, run: handle };
  switch (kind) {
    case "unary":
      return {
        ...common,
        kind,
        run: (bytes, call) => {
          const request = permitted(input, bytes, call);
          const isLater = request instanceof Promise;
          return isLater ? request.then((decoded) => handle(decoded, call)) : handle(request, call);
        },
      };
    case "server_streaming":
      return {
        ...common,
        kind,
        run: (bytes, call) => {
          const request = permitted(input, bytes, call);
          if (!(request instanceof Promise)) return handle(request, call);
          return later(request.then((decoded) => handle(decoded, call)));
        },
      };
    case "client_streaming":
    case "bidi_streaming":
      return {
        ...common,
        kind,
        run: (requests, call) => handle(permittedEach(input, requests, call), call),
      };
  }
}

/** The decoded request, after its permissions are checked. A large one comes in a later turn. */
function permitted(input: DescMessage, bytes: Buffer, call: Call): unknown {
  const decoded = call.inSteps(decodeInSteps(input, bytes));
  if (decoded instanceof Promise) {
    return decoded.then((request) => {
      call.permit(request);
      return request;
    });
  }
  call.permit(decoded);
  return decoded;
}

async function* later(answers: Promise<AsyncIterable<unknown>>): AsyncIterable<unknown> {
  yield* await answers;
}

async function* permittedEach(
  input: DescMessage,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
) {
  for await (const some of requests) {
    for (const bytes of some) yield await permitted(input, bytes, call);
  }
}
