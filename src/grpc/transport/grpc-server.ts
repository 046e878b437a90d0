// The gRPC server: it listens, finds the method of each request, and stops. Until there are
// services behind it, it tells everybody to try again.

import { chmod } from "node:fs/promises";
import type { AddressInfo, ListenOptions, Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { addressOf } from "../../access/attempts.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { Http2Stream, StreamHandler } from "../../http2/api.ts";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import { defaultHttp2Limits } from "../../http2/limits.ts";
import { Http2Server } from "../../http2/server.ts";
import type { Timers } from "../../log/timers.ts";
import type { Logger } from "../../logger.ts";
import type { Certificates } from "../../sockets/certificates.ts";
import {
  clearSocketPath,
  privately,
  socketModes,
  type SocketAccess,
} from "../../sockets/unix-socket.ts";
import { failed, type CallEnvironment } from "./call-environment.ts";
import { GrpcCall } from "./call.ts";
import type { Compression } from "./inflate.ts";
import type { Methods } from "./methods.ts";
import { acceptedEncodings, grpcFormat, statusOnly } from "./call-format.ts";
import type { RequestTimes } from "./request-deadlines.ts";
import { StatusCode, StatusError } from "./status.ts";
import { parseTimeout } from "./timeout.ts";
import { shorten } from "./wire-text.ts";

export interface TransportOptions {
  /** Bytes of one request message. */
  readonly receiveBytesMax: number;
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Calls one connection may have open at a time. */
  readonly concurrentCallsMax: number;
  /** Connections, in all and from one address. */
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** The age at which a connection ends, give or take a tenth. 0: it may live for ever. */
  readonly connectionAgeMs: number;
  readonly requestTimes: RequestTimes;
  readonly timers: Timers;
  /** Serves what is no gRPC, until `begin` names another. Absent: it is refused. */
  readonly http?: PlainHttp;
}

/** What serves plain HTTP on the same port. */
export interface PlainHttp {
  /** What has begun on the socket is not HTTP/2. */
  serve(socket: Socket, firstBytes: Buffer): void;
  /** A request for something by HTTP/2 that is no call. */
  onStream(stream: Http2Stream): StreamHandler;
  /** Ends what is open, and answers at the latest after `graceMs` how much was not over. */
  drain(graceMs: number): Promise<number>;
}

/** A client may cancel ten thousand subscriptions at once without being taken for an attacker. */
const allowedResets = { resetsBurst: 20_000, resetsPerSecond: 1_000 };

const notGrpc = encodeHeaders([[":status", "415"]]);
const { headerListBytesMax, headerFieldsMax } = defaultHttp2Limits;
const metadataMax = `${headerListBytesMax} bytes, with 32 for each of ${headerFieldsMax} entries`;
const headersTooLarge = statusOnly(
  new StatusError(
    StatusCode.RESOURCE_EXHAUSTED,
    `the metadata of a call has at most ${metadataMax}`,
  ).status,
);
const notPost = encodeHeaders([
  [":status", "405"],
  ["allow", "POST"],
]);
export class GrpcServer {
  /** Undefined: the store is not open yet. */
  private methods: Methods | undefined;
  private readonly receiveBytesMax: number;
  private readonly environment: CallEnvironment;
  private readonly requestTimes: RequestTimes;
  private readonly http2: Http2Server;
  private http: PlainHttp | undefined;

  constructor(options: TransportOptions, environment: CallEnvironment) {
    this.receiveBytesMax = options.receiveBytesMax;
    this.environment = environment;
    this.requestTimes = options.requestTimes;
    const { http } = options;
    this.http = http;
    const { logger, memory, observer } = environment;
    const logRefusal = refusalLog(logger, () => options.timers.nowMs());
    this.http2 = new Http2Server({
      limits: {
        ...allowedResets,
        concurrentStreamsMax: options.concurrentCallsMax,
        keepaliveMs: options.keepaliveTimeMs,
        keepaliveTimeoutMs: options.keepaliveTimeoutMs,
        connectionsMax: options.connectionsMax,
        connectionsPerAddressMax: options.connectionsPerAddressMax,
        connectionAgeMs: options.connectionAgeMs,
      },
      budgetOf: (connection) => memory.open(connection),
      networkOf: addressOf,
      onStream: this.route,
      headersTooLarge,
      onRefusal: (reason, peer) => {
        observer?.refused?.(reason);
        logRefusal(reason, peer);
      },
      onFault: (error, peer) => logger.error("a connection failed", { error, peer }),
      ...(http && {
        onOtherProtocol: (socket, firstBytes) => this.http?.serve(socket, firstBytes),
      }),
    });
  }

  /** Serves these from now on. */
  begin(methods: Methods, http = this.http): void {
    this.methods = methods;
    this.http = http;
  }

  get connectionCount(): number {
    return this.http2.connectionCount;
  }

  /** Binds a TCP address, with TLS if there are certificates. Returns it with the bound port. */
  async listenOnTcp(host: string, port: number, certificates?: Certificates): Promise<string> {
    const bare = host.replace(/^\[(.*)\]$/, "$1");
    const name = bare.includes(":") ? `[${bare}]` : bare;
    const where = { host: bare, port };
    const bound = await this.listen(`${name}:${port}`, where, certificates?.tls);
    certificates?.onRenewed((tls) => this.http2.renew(tls));
    return `${name}:${(bound as AddressInfo).port}`;
  }

  /** Binds a Unix socket. `path` is absolute. */
  async listenOnSocket(path: string, access: SocketAccess): Promise<string> {
    const modes = socketModes[access];
    await clearSocketPath(path, modes.folder);
    await privately(() => this.listen(`unix:${path}`, { path }));
    await chmod(path, modes.socket);
    return `unix:${path}`;
  }

  /** Takes no new calls, waits at most `graceMs` for open ones, then closes their connections. */
  async stop(graceMs: number): Promise<"done" | "cut off"> {
    const others = this.http?.drain(graceMs) ?? 0;
    const left = await this.http2.stop(graceMs, Promise.resolve(others));
    return left + (await others) === 0 ? "done" : "cut off";
  }

  private async listen(address: string, where: ListenOptions, tls?: TlsOptions) {
    try {
      return await this.http2.listen(where, tls);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`cannot listen on ${address}: ${message}`, { cause: error });
    }
  }

  /** The method and options of a request, or why it is refused. */
  private readonly route = (stream: Http2Stream): StreamHandler => {
    const { headers } = stream;
    const httpMethod = headers.get(":method");
    if (!grpcType.test(headers.get("content-type") ?? "")) {
      if (this.http !== undefined) return this.http.onStream(stream);
      stream.respond(notGrpc, true);
      return unheardOn(stream);
    }
    if (httpMethod !== "POST") {
      stream.respond(notPost, true);
      return unheardOn(stream);
    }
    const path = headers.get(":path") ?? "";
    if (this.methods === undefined) return this.refuse(stream, notOpen());
    const method = this.methods.get(path);
    if (method === undefined) {
      return this.refuse(stream, unimplemented(`there is no method ${quoted(path)}`));
    }
    const encoding = headers.get("grpc-encoding") ?? "identity";
    if (!Object.hasOwn(compressions, encoding)) {
      const message = `grpc-encoding: of these, not ${encoding}: ${acceptedEncodings}`;
      return this.refuse(stream, unimplemented(message));
    }
    const compression = compressions[encoding];
    const timeout = headers.get("grpc-timeout");
    const ms = timeout === undefined ? Infinity : parseTimeout(timeout);
    if (ms === undefined) {
      const message = "grpc-timeout: not a number and a unit of time";
      return this.refuse(stream, new StatusError(StatusCode.INVALID_ARGUMENT, message));
    }
    const { receiveBytesMax, requestTimes } = this;
    const timeoutMs = ms === Infinity ? undefined : ms;
    // Client libraries that retry by a service config set this header.
    const isRepeated = headers.get("grpc-previous-rpc-attempts") !== undefined;
    const isOneRequest = method.kind !== "bidi_streaming";
    const format = grpcFormat;
    const incoming = { compression, receiveBytesMax, isOneRequest, format, requestTimes };
    const options = { timeoutMs, isRepeated, ...incoming };
    return new GrpcCall(stream, method, options, this.environment);
  };

  /** It is no call: nothing that is told of calls has begun. */
  private refuse(stream: Http2Stream, error: Error): StreamHandler {
    const { peer } = stream.connection;
    const path = shorten(stream.headers.get(":path") ?? "", pathCharsMax);
    const status = failed(this.environment, path, { peer }, error);
    stream.respond(statusOnly(status, [["grpc-accept-encoding", acceptedEncodings]]), true);
    return unheardOn(stream);
  }
}

/** The handler of a stream that was answered before its request had ended: it drops the rest. */
export function unheardOn(stream: Http2Stream): StreamHandler {
  return {
    onData: (part) => stream.release(part.length),
    onEnd() {},
    onRefused() {},
    onSent() {},
    onReset() {},
  };
}

/** gRPC with protobuf messages. */
const grpcType = /^application\/grpc(\+proto)?\s*(;|$)/i;

export const compressions: Readonly<Record<string, Compression | undefined>> = {
  identity: undefined,
  gzip: "gzip",
  deflate: "deflate",
};

const pathCharsMax = 128;

/** The failure of every call until the store is open. */
export function notOpen(): AnnalsError {
  return new AnnalsError({ reason: "RECOVERING" }, "the store is being opened: try again");
}

function quoted(path: string): string {
  return shorten(JSON.stringify(path), pathCharsMax);
}

function unimplemented(message: string): StatusError {
  return new StatusError(StatusCode.UNIMPLEMENTED, message, "UNIMPLEMENTED");
}

/**
 * Limits that keep other clients out are logged as warnings, at most once a minute; the rest at the
 * level debug.
 */
const refusalsToldMs = 60_000;
const loudLimits: ReadonlySet<string> = new Set(["connectionsMax", "connectionsPerAddressMax"]);

/** Returns the function to call for each refusal. */
export function refusalLog(
  logger: Logger,
  nowMs: () => number,
): (reason: string, peer: string) => void {
  const told = new Map<string, { atMs: number; untold: number }>();
  return (reason, peer) => {
    logger.debug("a connection was refused or ended", { reason, peer });
    if (!loudLimits.has(reason)) return;
    const last = told.get(reason);
    if (last !== undefined && nowMs() - last.atMs < refusalsToldMs) {
      last.untold++;
      return;
    }
    const sinceThen = last?.untold ?? 0;
    told.set(reason, { atMs: nowMs(), untold: 0 });
    const fields = { limit: reason, peer, refusedSinceLastReport: sinceThen + 1 };
    logger.warn("connections are refused: a limit is reached", fields);
  };
}
