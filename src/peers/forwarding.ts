// Calls that another server of the store has to answer. One server runs the consumer groups; a call
// about them that arrives at another one is made again there, and its answers are passed on as they
// are. A call is forwarded once: a server that does not run the groups either refuses it.

import { fromBinary, toBinary, type DescMessage, type DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Metadata, type CallOptions } from "@grpc/grpc-js";
import { forwardedHeader, type ForwardedProofs } from "../access/forwarded-proof.ts";
import { Connection, type TlsOptions } from "../client/rpc/connection.ts";
import { exchange, receive } from "../client/rpc/streams.ts";
import { AnnalsError } from "../domain/errors.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import type { Call } from "../grpc/transport/call-environment.ts";
import type { BoundService } from "../grpc/transport/methods.ts";
import { StatusError, type StatusCode } from "../grpc/transport/status.ts";

/** The services in which something needs the server that runs the groups. */
const forwarded = new Set([
  "annals.v1.ConsumerGroupService",
  "annals.v1.CheckpointService",
  "event_store.client.persistent_subscriptions.PersistentSubscriptions",
]);
/** The codes of a call that broke off, or never arrived. */
const brokenOff = new Set([1, 2, 13, 14]);
const unavailable = 14;
const noTrailers = new Set(["content-type", "date", "grpc-status-details-bin"]);

export interface PeerOptions {
  readonly proofs: ForwardedProofs;
  /** Asked now and then. Undefined: the other servers speak without TLS, as this one does. */
  readonly tls: () => TlsOptions | undefined;
}

/** A connection to another server, with the calls that are open on it. */
interface Peer {
  readonly connection: Connection;
  readonly openedMs: number;
  calls: number;
  isLeft: boolean;
}

/** A connection is replaced after this time, because certificates are renewed. */
const connectionMs = 600_000;

type Unary = (request: unknown, call: Call) => unknown;
type Streaming = (request: unknown, call: Call) => AsyncIterable<unknown>;
type AnyHandler = Unary & Streaming;

export class Forwarding {
  private readonly options: PeerOptions;
  private readonly peers = new Map<string, Peer>();

  constructor(options: PeerOptions) {
    this.options = options;
  }

  /** The services, with calls forwarded that have to be answered elsewhere. */
  over(services: readonly BoundService[]): BoundService[] {
    return services.map((bound) => {
      const { service, handlers } = bound;
      if (!forwarded.has(service.typeName)) return bound;
      const wrapped = service.methods.map((method) => {
        const handler = handlers[method.localName];
        const isDecoded = typeof handler === "function";
        const own = isDecoded ? this.wrapped(method, handler as AnyHandler) : handler;
        return [method.localName, own];
      });
      return { ...bound, handlers: Object.fromEntries(wrapped) as BoundService["handlers"] };
    });
  }

  close(): void {
    for (const { connection } of this.peers.values()) connection.close();
    this.peers.clear();
  }

  private wrapped(method: DescMethod, handler: AnyHandler): unknown {
    switch (method.methodKind) {
      case "unary":
        return (request: unknown, call: Call) => this.unary(method, handler, request, call);
      case "server_streaming":
        return (request: unknown, call: Call) => this.stream(method, handler, request, call);
      case "bidi_streaming":
        return (requests: AsyncIterable<unknown>, call: Call) =>
          this.exchange(method, handler, requests, call);
      case "client_streaming":
        return handler;
    }
  }

  private async unary(
    method: DescMethod,
    handler: Unary,
    request: unknown,
    call: Call,
  ): Promise<unknown> {
    try {
      return await handler(request, call);
    } catch (error) {
      const address = elsewhere(error, call);
      if (address === undefined) throw error;
      const { connection, path, metadata, ended } = this.begin(method, address, call);
      const bytes = encoded(method.input, request);
      const answered = new Promise<Buffer>((resolve, reject) => {
        const made = connection.channel.makeUnaryRequest(
          path,
          same,
          same,
          bytes,
          metadata,
          (failure, answer) => {
            call.signal.removeEventListener("abort", cancel);
            if (failure === null) resolve(answer as Buffer);
            else reject(failureOf(failure, address, !isSafe(method)));
          },
        );
        const cancel = (): void => made.cancel();
        call.signal.addEventListener("abort", cancel, { once: true });
      });
      return await answered.finally(ended);
    }
  }

  private async *stream(
    method: DescMethod,
    handler: Streaming,
    request: unknown,
    call: Call,
  ): AsyncGenerator {
    try {
      yield* handler(request, call);
    } catch (error) {
      const address = elsewhere(error, call);
      if (address === undefined) throw error;
      const { connection, path, metadata, failing, ended } = this.begin(method, address, call);
      const bytes = encoded(method.input, request);
      const open = (options: CallOptions) =>
        connection.channel.makeServerStreamRequest(path, same, same, bytes, metadata, options);
      try {
        yield* receive(open, same, failing, call.signal);
      } finally {
        ended();
      }
    }
  }

  private async *exchange(
    method: DescMethod,
    handler: Streaming,
    requests: AsyncIterable<unknown>,
    call: Call,
  ): AsyncGenerator {
    const source = requests[Symbol.asyncIterator]();
    let isAnswered = false;
    // What came before the first answer is sent to the other server as well.
    const taken: unknown[] = [];
    const recorded: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => ({
        async next() {
          const next = await source.next();
          if (next.done !== true && !isAnswered) taken.push(next.value);
          return next;
        },
      }),
    };
    try {
      for await (const answer of handler(recorded, call)) {
        isAnswered = true;
        taken.length = 0;
        yield answer;
      }
    } catch (error) {
      const address = isAnswered ? undefined : elsewhere(error, call);
      if (address === undefined) throw error;
      const { connection, path, metadata, failing, ended } = this.begin(method, address, call);
      const open = (options: CallOptions) =>
        connection.channel.makeBidiStreamRequest(path, same, same, metadata, options);
      const sent = encodedAll(method.input, taken, source);
      try {
        yield* exchange(open, same, sent, failing, call.signal);
      } finally {
        ended();
      }
    }
  }

  private begin(method: DescMethod, address: string, call: Call) {
    const name = `${method.parent.typeName}/${method.name}`;
    const metadata = new Metadata();
    metadata.set(forwardedHeader, this.options.proofs.sign(name, call.proof));
    if (call.traceParent !== undefined) metadata.set("traceparent", call.traceParent);
    const peer = this.peerAt(address);
    peer.calls++;
    const ended = (): void => {
      if (--peer.calls === 0 && peer.isLeft) peer.connection.close();
    };
    const failing = { failed: (error: unknown) => failureOf(error, address, false) };
    return { connection: peer.connection, path: `/${name}`, metadata, failing, ended };
  }

  private peerAt(address: string): Peer {
    const known = this.peers.get(address);
    const openedMs = performance.now();
    if (known !== undefined && openedMs - known.openedMs < connectionMs) return known;
    if (known?.calls === 0) known.connection.close();
    if (known !== undefined) known.isLeft = true;
    const connection = new Connection({ address, tls: this.options.tls() });
    const peer = { connection, openedMs, calls: 0, isLeft: false };
    this.peers.set(address, peer);
    return peer;
  }
}

/** Where the call has to be answered. Undefined: the failure is its answer. */
function elsewhere(error: unknown, call: Call): string | undefined {
  if (call.headers.has(forwardedHeader) || !(error instanceof AnnalsError)) return undefined;
  const { failure } = error;
  return failure.reason === "GROUPS_ELSEWHERE" && failure.server !== ""
    ? failure.server
    : undefined;
}

function isSafe({ idempotency }: DescMethod): boolean {
  return idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

interface GrpcFailure extends Error {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

/**
 * What the other server said, as it is. Where it said nothing, another server may run the groups
 * soon: the caller tries again. `mayHaveHappened`: the call changes something.
 */
function failureOf(error: unknown, server: string, mayHaveHappened: boolean): Error {
  if (!(error instanceof Error)) return new Error("the call failed", { cause: error });
  if (!("metadata" in error && "details" in error)) return error;
  const { code, details: text, metadata } = error as GrpcFailure;
  const [status] = metadata.get("grpc-status-details-bin");
  const details = status instanceof Uint8Array ? fromBinary(StatusSchema, status).details : [];
  if (details.length > 0 || !brokenOff.has(code)) {
    const trailers = Object.entries(metadata.getMap())
      .filter(([name]) => !noTrailers.has(name))
      .map(([name, value]) => [name, value.toString()] as const);
    return new StatusError(code as StatusCode, text, undefined, { details, trailers });
  }
  const neverSent = code === unavailable && /^(No connection|Name resolution)/.test(text);
  if (mayHaveHappened && !neverSent) {
    const message = `the connection to ${server}, which runs the consumer groups, broke`;
    return new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, message, error);
  }
  const message = `${server}, which runs the consumer groups, does not answer: try again`;
  return new AnnalsError({ reason: "GROUPS_ELSEWHERE", server }, message, error);
}

const same = (bytes: Buffer): Buffer => bytes;

function encoded(input: DescMessage, request: unknown): Buffer {
  return Buffer.from(toBinary(input, request as Parameters<typeof toBinary>[1]));
}

async function* encodedAll(
  input: DescMessage,
  taken: readonly unknown[],
  source: AsyncIterator<unknown>,
): AsyncGenerator<Buffer> {
  for (const request of taken) yield encoded(input, request);
  for (;;) {
    const next = await source.next();
    if (next.done === true) return;
    yield encoded(input, next.value);
  }
}
