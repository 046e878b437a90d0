// One connection to a server: address, transport security and the channel options that matter.
// Typed clients (client.ts) are bound to it; closing it ends their calls.

import { Client, credentials, type ChannelCredentials } from "@grpc/grpc-js";
import { createSecureContext } from "node:tls";
import { targetOf } from "./address.ts";
import { callError } from "./call-error.ts";

/** TLS towards the server. PEM bytes throughout. */
export interface TlsOptions {
  /** Who may have signed the server's certificate. Absent: the well-known authorities. */
  readonly rootCertificates?: Uint8Array | undefined;
  /** The server's certificate itself, trusted under any name. Instead of `rootCertificates`. */
  readonly pinnedCertificate?: Uint8Array | undefined;
  /** The client's own certificate chain, for mutual TLS; with `privateKey`. */
  readonly certificateChain?: Uint8Array | undefined;
  readonly privateKey?: Uint8Array | undefined;
  /** The name the server's certificate must have, where it is not the address's. */
  readonly serverName?: string | undefined;
}

export interface ConnectionOptions {
  /** `host:port`, `[::1]:7420` or `unix:path`. */
  readonly address: string;
  /** Absent: no TLS. */
  readonly tls?: TlsOptions | undefined;
  /** Bytes a server may send ahead of the reader, on each call. Absent: 4 MiB. */
  readonly windowBytes?: number | undefined;
}

const windowBytesDefault = 4 * 1024 * 1024;
const keepaliveTimeMs = 20_000;
const keepaliveTimeoutMs = 10_000;
const reconnectBackoffMinMs = 100;
const reconnectBackoffMaxMs = 5_000;

/**
 * A lazy channel: nothing is dialled before the first call. Throws a `TypeError` on a bad address.
 */
export class Connection {
  readonly address: string;
  /** For the typed clients of this folder. */
  readonly channel: Client;
  private wasReady = false;

  constructor(options: ConnectionOptions) {
    const { address, tls, windowBytes = windowBytesDefault } = options;
    const target = targetOf(address);
    this.address = address;
    this.channel = new Client(target, channelCredentials(tls), {
      "grpc-node.flow_control_window": windowBytes,
      // A half-open connection is noticed while something is followed, not hours later.
      "grpc.keepalive_time_ms": keepaliveTimeMs,
      "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
      "grpc.initial_reconnect_backoff_ms": reconnectBackoffMinMs,
      "grpc.max_reconnect_backoff_ms": reconnectBackoffMaxMs,
      // This connection is its owner's alone; a database is not spoken to through an HTTP proxy.
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
    return callError(error, this.address);
  }

  /** It was connected before. */
  get wasConnected(): boolean {
    return this.wasReady;
  }

  /** Dials until a server answers. Fails when it takes longer than that. */
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
