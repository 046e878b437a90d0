// Plain HTTP beside gRPC: answers GET and HEAD of a few routes. Sockets come from the HTTP/2
// server, which tells by the first bytes that a client speaks HTTP/1.1, or from a port of its own;
// requests by HTTP/2 come as streams. Node parses HTTP/1.1; what it would hold for clients is
// bounded here.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  createServer as createNetServer,
  type AddressInfo,
  type Server as NetServer,
  type Socket,
} from "node:net";
import type { TLSSocket } from "node:tls";
import type { X509Certificate } from "node:crypto";
import type { Http2Stream, StreamHandler } from "../http2/api.ts";
import { encodeHeaders } from "../http2/hpack-encoder.ts";
import { peerOf } from "../http2/peer.ts";
import { errorCode } from "../http2/protocol.ts";

export interface HttpRequest {
  /** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
  readonly peer: string;
  /** The same object for every request of a connection. */
  readonly connection: object;
  /** The header `authorization`. */
  readonly authorization: string | undefined;
  /** The header `accept`. Empty: absent. */
  readonly accept: string;
  /** The client's, under mutual TLS. */
  readonly certificate: X509Certificate | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** May throw: the client is told of an internal error, and `onFault` of what was thrown. */
export type Route = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;

/** By path. */
export type Routes = ReadonlyMap<string, Route>;

export interface HttpLimits {
  /** Connections at a time. The one that has waited the longest gives way to a new one. */
  readonly connectionsMax: number;
  readonly headerBytesMax: number;
  /** From a connection's beginning, or from the last answer, to the end of the next one. */
  readonly exchangeMs: number;
  readonly tickMs: number;
}

const limitsDefault: HttpLimits = {
  connectionsMax: 128,
  headerBytesMax: 16 * 1024,
  exchangeMs: 10_000,
  tickMs: 1_000,
};

export interface HttpOptions {
  readonly routes: Routes;
  readonly limits?: Partial<HttpLimits>;
  onFault(error: unknown, path: string): void;
}

export const plainText = "text/plain; charset=utf-8";

export class HttpServer {
  private readonly options: HttpOptions;
  private readonly limits: HttpLimits;
  private readonly server: Server;
  private readonly ports: NetServer[] = [];
  /** When the present exchange began; the one that began first comes first. */
  private readonly since = new Map<Socket, number>();
  private readonly answering = new WeakSet<Socket>();
  private readonly timer: NodeJS.Timeout;

  constructor(options: HttpOptions) {
    this.options = options;
    this.limits = { ...limitsDefault, ...options.limits };
    const { headerBytesMax: maxHeaderSize, exchangeMs: keepAliveTimeout, tickMs } = this.limits;
    this.server = createServer({ maxHeaderSize, keepAliveTimeout }, (request, response) => {
      void this.answer(request, response);
    });
    this.timer = setInterval(() => this.tick(), tickMs).unref();
  }

  get connectionCount(): number {
    return this.since.size;
  }

  /** Serves a socket that somebody else accepted; `firstBytes` were read from it. */
  serve(socket: Socket, firstBytes: Buffer = Buffer.alloc(0)): void {
    const [oldest] = this.since.keys();
    if (this.since.size >= this.limits.connectionsMax) oldest?.destroy();
    this.since.set(socket, performance.now());
    socket.once("close", () => this.since.delete(socket));
    if (firstBytes.length > 0) socket.unshift(firstBytes);
    this.server.emit("connection", socket);
    socket.resume();
  }

  /** Serves a GET or HEAD request by HTTP/2. */
  onStream(stream: Http2Stream): StreamHandler {
    void this.answerStream(stream);
    return {
      onData: (part) => stream.release(part.length),
      onEnd() {},
      onRefused() {},
      onSent() {},
      onReset() {},
    };
  }

  /** A port for these routes alone. Answers the address with the bound port. */
  async listen(host: string, port: number): Promise<string> {
    const server = createNetServer({ noDelay: true }, (socket) => this.serve(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: host.replace(/^\[(.*)\]$/, "$1"), port }, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.options.onFault(error, "accept"));
    this.ports.push(server);
    return `${host}:${(server.address() as AddressInfo).port}`;
  }

  /** Ends at once: an exchange takes a moment, and who asks asks again. */
  stop(): void {
    clearInterval(this.timer);
    for (const port of this.ports.splice(0)) port.close();
    for (const socket of this.since.keys()) socket.destroy();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket, method = "", url = "" } = request;
    // No client sends requests ahead, and thousands fit into one packet.
    if (this.answering.has(socket)) return void socket.destroy();
    this.answering.add(socket);
    response.once("finish", () => this.begins(socket));
    const answer = await this.answerTo(method, url, () => requestOf(request));
    // What a client sends behind its headers is not read.
    const { "transfer-encoding": encoding, "content-length": length } = request.headers;
    const hasBody = encoding !== undefined || length !== undefined;
    const ending = hasBody ? { connection: "close" } : {};
    response.writeHead(answer.status, { ...headersOf(answer), ...ending });
    response.end(method === "HEAD" ? undefined : answer.body);
  }

  private async answerStream(stream: Http2Stream): Promise<void> {
    const { headers, connection } = stream;
    const method = headers.get(":method") ?? "";
    const answer = await this.answerTo(method, headers.get(":path") ?? "", () => ({
      peer: connection.peer,
      connection,
      authorization: headers.get("authorization"),
      accept: headers.get("accept") ?? "",
      certificate: connection.certificate,
    }));
    const isBodiless = method === "HEAD" || answer.body === "";
    const fields = Object.entries(headersOf(answer));
    stream.respond(encodeHeaders([[":status", `${answer.status}`], ...fields]), isBodiless);
    if (isBodiless) return;
    if (stream.write(Buffer.from(answer.body))) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  private async answerTo(
    method: string,
    url: string,
    requested: () => HttpRequest,
  ): Promise<HttpAnswer> {
    const path = url.split("?", 1)[0] ?? "";
    const route = this.options.routes.get(path);
    if (route === undefined) return failure(404, "not found");
    if (method !== "GET" && method !== "HEAD") {
      return { ...failure(405, "only GET and HEAD"), headers: { allow: "GET, HEAD" } };
    }
    try {
      return await route(requested());
    } catch (error) {
      this.options.onFault(error, path);
      return failure(500, "a fault of the server; its log says more");
    }
  }

  /** An exchange begins, behind those of all others. */
  private begins(socket: Socket): void {
    this.answering.delete(socket);
    if (this.since.delete(socket)) this.since.set(socket, performance.now());
  }

  private tick(): void {
    const overdue = performance.now() - this.limits.exchangeMs;
    for (const [socket, since] of this.since) {
      if (since > overdue) return;
      socket.destroy();
    }
  }
}

export function failure(status: number, message: string): HttpAnswer {
  return { status, type: plainText, body: `${message}\n` };
}

function headersOf({ type, body, headers }: HttpAnswer): Record<string, string> {
  return {
    "content-type": type,
    "content-length": `${Buffer.byteLength(body)}`,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  };
}

function requestOf({ socket, headers }: IncomingMessage): HttpRequest {
  return {
    peer: peerOf(socket),
    connection: socket,
    authorization: headers.authorization,
    accept: headers.accept ?? "",
    certificate: (socket as Partial<TLSSocket>).getPeerX509Certificate?.(),
  };
}
