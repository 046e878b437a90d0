// A connection to a server: its address, transport security and channel options. Typed clients
// (service-client.ts) use it; closing it ends their calls.

import {
  Client,
  credentials,
  InterceptingCall,
  Metadata,
  status,
  type ChannelCredentials,
  type Interceptor,
} from "@grpc/grpc-js";
import { createSecureContext } from "node:tls";
import { targetOf } from "./address.ts";
import { callError } from "./call-error.ts";

/** TLS options, all in PEM. */
export interface TlsOptions {
  /** The authorities that may have signed the server's certificate. Absent: the well-known ones. */
  readonly rootCertificates?: Uint8Array | undefined;
  /** The server's certificate itself, trusted under any name. Instead of `rootCertificates`. */
  readonly pinnedCertificate?: Uint8Array | undefined;
  /** The client's own certificate chain, for mutual TLS; with `privateKey`. */
  readonly certificateChain?: Uint8Array | undefined;
  readonly privateKey?: Uint8Array | undefined;
  /** The name in the server's certificate, if it differs from the address. */
  readonly serverName?: string | undefined;
}

export interface ConnectionOptions {
  /** `host:port`, `[::1]:7420` or `unix:path`. */
  readonly address: string;
  /** Absent: no TLS. */
  readonly tls?: TlsOptions | undefined;
  /** Bytes a server may send ahead of the reader, on each call. Absent: 4 MiB. */
  readonly windowBytes?: number | undefined;
  /** What calls show: a token, or a function that is asked for one before each call. */
  readonly token?: TokenSource | undefined;
  /** The whole `authorization` header, for a server that wants no bearer token. */
  readonly authorization?: string | undefined;
  /** Has calls carry the caller's trace. Absent: they carry none. */
  readonly injectTraceContext?: InjectTraceContext | undefined;
}

/** Writes the present trace into the carrier: `traceparent`, and what else its propagator has. */
export type InjectTraceContext = (carrier: Record<string, string>) => void;

export type TokenSource = string | (() => string | Promise<string>);

const windowBytesDefault = 4 * 1024 * 1024;
const keepaliveTimeMs = 20_000;
const keepaliveTimeoutMs = 10_000;
const reconnectBackoffMinMs = 100;
const reconnectBackoffMaxMs = 5_000;

/** Connects at the first call. Throws a `TypeError` on an invalid address. */
export class Connection {
  readonly address: string;
  /** For the typed clients of this folder. */
  readonly channel: Client;
  /** For every call. */
  readonly interceptors: readonly Interceptor[];
  private readonly isTokenRenewed: boolean;
  private wasReady = false;

  constructor(options: ConnectionOptions) {
    const {
      address,
      tls,
      windowBytes = windowBytesDefault,
      token,
      authorization,
      injectTraceContext,
    } = options;
    const target = targetOf(address);
    this.address = address;
    this.interceptors = [
      // First, while the caller's context is the present one.
      ...(injectTraceContext === undefined ? [] : [traced(injectTraceContext)]),
      ...(token === undefined ? [] : [bearer(token)]),
      ...(authorization === undefined ? [] : [authorized(authorization)]),
    ];
    this.isTokenRenewed = typeof token === "function";
    this.channel = new Client(target, channelCredentials(tls), {
      "grpc-node.flow_control_window": windowBytes,
      // Detects a half-open connection during a subscription.
      "grpc.keepalive_time_ms": keepaliveTimeMs,
      "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
      "grpc.initial_reconnect_backoff_ms": reconnectBackoffMinMs,
      "grpc.max_reconnect_backoff_ms": reconnectBackoffMaxMs,
      // The channel is not shared, and no HTTP proxy is used for a database.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.service_config_disable_resolution": 1,
      ...(tls?.serverName === undefined
        ? {}
        : {
            "grpc.ssl_target_name_override": tls.serverName,
            "grpc.default_authority": tls.serverName,
          }),
    });
  }

  /** The error of a call on this connection that grpc-js ended with `error`. */
  failed(error: unknown): unknown {
    return callError(error, this.address, this.isTokenRenewed);
  }

  /** Whether it was ever connected. */
  get wasConnected(): boolean {
    return this.wasReady;
  }

  /** Connects until a server answers. Fails after the timeout. */
  ready(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.channel.waitForReady(Date.now() + timeoutMs, (error) => {
        if (error !== undefined) return reject(error);
        this.wasReady = true;
        resolve();
      });
    });
  }

  /** Ends every call of this connection with CANCELLED or UNAVAILABLE. */
  close(): void {
    this.channel.close();
  }
}

function traced(inject: InjectTraceContext): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        const carrier: Record<string, string> = {};
        inject(carrier);
        for (const [name, value] of Object.entries(carrier)) metadata.set(name, value);
        next(metadata, listener);
      },
    });
}

function authorized(header: string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("authorization", header);
        next(metadata, listener);
      },
    });
}

/** Shows the token. A call without one, because the function failed, is not made. */
function bearer(token: TokenSource): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        const go = (text: string): void => {
          metadata.set("authorization", `Bearer ${text}`);
          next(metadata, listener);
        };
        const fail = (error: unknown): void => {
          const details = `no token: ${error instanceof Error ? error.message : String(error)}`;
          const code = status.UNAUTHENTICATED;
          listener.onReceiveStatus({ code, details, metadata: new Metadata() });
        };
        if (typeof token === "string") return go(token);
        new Promise<string>((resolve) => resolve(token())).then(go).catch(fail);
      },
    });
}

function channelCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const { pinnedCertificate, certificateChain: cert, privateKey: key } = tls;
  if (pinnedCertificate !== undefined) {
    const own = cert && key ? { cert: Buffer.from(cert), key: Buffer.from(key) } : {};
    const ca = Buffer.from(pinnedCertificate);
    const context = createSecureContext({ ca, ...own, allowPartialTrustChain: true });
    return credentials.createFromSecureContext(context, { checkServerIdentity: () => undefined });
  }
  const buffer = (bytes: Uint8Array | undefined) => (bytes ? Buffer.from(bytes) : null);
  return credentials.createSsl(
    buffer(tls.rootCertificates),
    buffer(tls.privateKey),
    buffer(tls.certificateChain),
  );
}
