// `connect`: how a client reaches its store, and how long it tries.

import { CheckpointService } from "../gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../gen/annals/v1/event_store_service_pb.js";
import { defaultAddress } from "./rpc/address.ts";
import { clientOf } from "./rpc/service-client.ts";
import {
  Connection,
  type InjectTraceContext,
  type TlsOptions,
  type TokenSource,
} from "./rpc/connection.ts";
import { clientWith, type AnnalsClient } from "./annals-client.ts";
import { StoreIdentity, storeIdOf, type Context } from "./store/context.ts";
import { jsonEvents, type JsonEvent } from "./store/define-events.ts";
import type { EventCodec, EventShape } from "./store/event.ts";
import { defaultRetryPolicy, type RetryPolicy } from "./store/retry.ts";

/** Certificates and keys in PEM. */
export interface ConnectTls {
  /** The authorities that may have signed the server's certificate. Absent: the well-known ones. */
  readonly ca?: string | Uint8Array | undefined;
  /** The client's own certificate chain and key, for mutual TLS. */
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
  /** The name in the server's certificate, if it differs from the address. */
  readonly serverName?: string | undefined;
}

export interface ConnectOptions<E extends EventShape = JsonEvent> {
  /** `host:port`, `[::1]:7420` or `unix:path`. Absent: `127.0.0.1:7420`. */
  readonly address?: string | undefined;
  /** Absent: no TLS. `true`: TLS with the well-known authorities. */
  readonly tls?: ConnectTls | true | undefined;
  /**
   * What the client shows to the server: a token of `annals tokens`, an OIDC access token, or a
   * function that is asked before each call and gives one that is still valid.
   */
  readonly token?: TokenSource | undefined;
  /**
   * Has calls carry the caller's trace. With OpenTelemetry:
   * `(carrier) => propagation.inject(context.active(), carrier)`.
   */
  readonly injectTraceContext?: InjectTraceContext | undefined;
  /** The codec of the application's events; see `defineEvents`. Absent: any JSON. */
  readonly events?: EventCodec<E> | undefined;
  /**
   * The time for one operation with all its attempts. Absent: 20 s. Reads of many events have no
   * limit.
   */
  readonly timeoutMs?: number | undefined;
  /** The time for one attempt. Absent: 10 s. */
  readonly attemptTimeoutMs?: number | undefined;
  /**
   * The time for the first connection. Absent: 5 s. A server that was reached once is retried for
   * as long as the operation may take. To wait for a server that is about to start, call `ready`.
   */
  readonly connectTimeoutMs?: number | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Bytes a server may send ahead of the reader, on each call. Absent: 4 MiB. */
  readonly windowBytes?: number | undefined;
}

const timeoutDefaultMs = 20_000;
const attemptTimeoutDefaultMs = 10_000;
const connectTimeoutDefaultMs = 5_000;

/** Connects at the first call. Throws a `TypeError` on an invalid address. */
export function connect<E extends EventShape = JsonEvent>(
  options: ConnectOptions<E> = {},
): AnnalsClient<E> {
  const { address = defaultAddress, tls, windowBytes, token, injectTraceContext } = options;
  const security = { tls: tls && tlsOf(tls), token };
  const connection = new Connection({ address, windowBytes, ...security, injectTraceContext });
  const rpc = clientOf(EventStoreService, connection);
  const attemptTimeoutMs = options.attemptTimeoutMs ?? attemptTimeoutDefaultMs;
  const context: Context = {
    connection,
    rpc,
    checkpoints: clientOf(CheckpointService, connection),
    groups: clientOf(ConsumerGroupService, connection),
    retry: { ...defaultRetryPolicy, ...options.retry },
    timeoutMs: options.timeoutMs ?? timeoutDefaultMs,
    attemptTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs ?? connectTimeoutDefaultMs,
    deletedThrough: new Map(),
    identity: new StoreIdentity(storeIdOf(rpc, attemptTimeoutMs)),
  };
  // Without `events`, E is JsonEvent.
  const codec = options.events ?? (jsonEvents as EventCodec<EventShape> as EventCodec<E>);
  return clientWith(context, connection, codec);
}

function tlsOf(tls: ConnectTls | true): TlsOptions {
  if (tls === true) return {};
  return {
    rootCertificates: pem(tls.ca),
    certificateChain: pem(tls.cert),
    privateKey: pem(tls.key),
    serverName: tls.serverName,
  };
}

function pem(text: string | Uint8Array | undefined): Uint8Array | undefined {
  return typeof text === "string" ? Buffer.from(text) : text;
}
