// HTTP beside gRPC: answers GET and HEAD of a few routes, and hands on what else is asked. Sockets
// come from the HTTP/2 server, which tells by the first bytes that a client speaks HTTP/1.1, or
// from a port of its own. Requests by HTTP/2 come as streams; those by HTTP/1.1 are made such.

import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { X509Certificate } from "node:crypto";
import type { Budget, Http2Stream, StreamHandler } from "../http2/api.ts";
import { encodeHeaders } from "../http2/hpack-encoder.ts";
import { errorCode } from "../http2/protocol.ts";
import { Http1Connection, type Http1Limits, type Http1Options } from "./http1-connection.ts";

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
  /** Any header, by its name in lower case. */
  header(name: string): string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** May throw: the client is told of an internal error, and `onFault` of what was thrown. */
export type Route = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;

/** By path. */
export type Routes = ReadonlyMap<string, Route>;

export interface HttpLimits extends Http1Limits {
  /** Connections that wait for a request. The one that has waited the longest gives way. */
  readonly waitingMax: number;
  readonly tickMs: number;
}

const limitsDefault: HttpLimits = {
  waitingMax: 128,
  headerBytesMax: 32 * 1024,
  exchangeMs: 10_000,
  idleMs: 60_000,
  lingerMs: 1_000,
  tickMs: 1_000,
};

export interface HttpOptions {
  readonly routes: Routes;
  readonly limits?: Partial<HttpLimits>;
  /** The budget of a connection by HTTP/1.1. Absent: its memory is not counted. */
  readonly budgetOf?: Http1Options["budgetOf"];
  /** Answers what has no route. Absent: there is nothing else. */
  readonly onStream?: (stream: Http2Stream) => StreamHandler;
  onFault(error: unknown, path: string): void;
}

const uncounted: Budget = { take: () => true, give() {} };

export const plainText = "text/plain; charset=utf-8";

export class HttpServer {
  private readonly options: HttpOptions;
  private readonly limits: HttpLimits;
  private readonly ports: Server[] = [];
  private readonly connections = new Map<Socket, Http1Connection>();
  /** The one that has waited the longest comes first. */
  private readonly waiting = new Set<Http1Connection>();
  private readonly connectionOptions: Http1Options;
  private readonly timer: NodeJS.Timeout;
  private whenEmpty: (() => void) | undefined;

  constructor(options: HttpOptions) {
    this.options = options;
    this.limits = { ...limitsDefault, ...options.limits };
    this.connectionOptions = {
      limits: this.limits,
      budgetOf: options.budgetOf ?? (() => uncounted),
      onStream: (stream) => this.onStream(stream),
      onFault: (error, path) => options.onFault(error, path),
      onWaiting: (connection, isWaiting) => this.waits(connection, isWaiting),
    };
    this.timer = setInterval(() => {
      const now = performance.now();
      for (const connection of this.connections.values()) connection.tick(now);
    }, this.limits.tickMs).unref();
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Serves a socket that somebody else accepted; `firstBytes` were read from it. */
  serve(socket: Socket, firstBytes: Buffer = Buffer.alloc(0)): void {
    const connection = new Http1Connection(socket, this.connectionOptions);
    this.connections.set(socket, connection);
    socket.once("close", () => {
      this.connections.delete(socket);
      if (this.connections.size === 0) this.whenEmpty?.();
    });
    connection.begin(firstBytes);
  }

  /** Serves a request, by whichever version of HTTP. */
  onStream(stream: Http2Stream): StreamHandler {
    const { routes, onStream } = this.options;
    const path = (stream.headers.get(":path") ?? "").split("?", 1)[0] ?? "";
    const route = routes.get(path);
    if (route === undefined && onStream !== undefined) return onStream(stream);
    void this.answer(stream, path, route);
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
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) =>
      this.serve(socket),
    );
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      const backlog = this.limits.waitingMax;
      server.listen({ host: host.replace(/^\[(.*)\]$/, "$1"), port, backlog }, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.options.onFault(error, "accept"));
    this.ports.push(server);
    return `${host}:${(server.address() as AddressInfo).port}`;
  }

  /**
   * Closes connections when their exchanges are over. Answers when all are, or after `graceMs`, how
   * many are not.
   */
  async drain(graceMs: number): Promise<number> {
    for (const connection of this.connections.values()) connection.drain();
    if (this.connections.size === 0) return 0;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.whenEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return this.connections.size;
  }

  /** Ends at once. */
  stop(): void {
    clearInterval(this.timer);
    for (const port of this.ports.splice(0)) port.close();
    for (const socket of this.connections.keys()) socket.destroy();
  }

  private waits(connection: Http1Connection, isWaiting: boolean): void {
    this.waiting.delete(connection);
    if (!isWaiting) return;
    this.waiting.add(connection);
    const [oldest] = this.waiting;
    if (this.waiting.size > this.limits.waitingMax) oldest?.close();
  }

  private async answer(stream: Http2Stream, path: string, route: Route | undefined): Promise<void> {
    const method = stream.headers.get(":method");
    const answer = await this.answerTo(stream, path, route);
    const isBodiless = method === "HEAD" || answer.body.length === 0;
    const fields = Object.entries(headersOf(answer));
    stream.respond(encodeHeaders([[":status", `${answer.status}`], ...fields]), isBodiless);
    if (isBodiless) return;
    if (stream.write(Buffer.from(answer.body))) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  private async answerTo(
    stream: Http2Stream,
    path: string,
    route: Route | undefined,
  ): Promise<HttpAnswer> {
    const { headers, connection } = stream;
    const method = headers.get(":method");
    if (route === undefined) return failure(404, "not found");
    if (method !== "GET" && method !== "HEAD") {
      return { ...failure(405, "only GET and HEAD"), headers: { allow: "GET, HEAD" } };
    }
    try {
      return await route({
        peer: connection.peer,
        connection,
        authorization: headers.get("authorization"),
        accept: headers.get("accept") ?? "",
        certificate: connection.certificate,
        header: (name) => headers.get(name),
      });
    } catch (error) {
      this.options.onFault(error, path);
      return failure(500, "a fault of the server; its log says more");
    }
  }
}

export function failure(status: number, message: string): HttpAnswer {
  return { status, type: plainText, body: `${message}\n` };
}

function headersOf({ status, type, body, headers }: HttpAnswer): Record<string, string> {
  // That what the client has is still right has neither a type nor a length.
  const content = { "content-type": type, "content-length": `${Buffer.byteLength(body)}` };
  return {
    ...(status !== 304 && content),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  };
}
