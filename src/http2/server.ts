// The server: it listens, accepts or refuses connections, and stops.

import {
  createServer,
  type AddressInfo,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import type { Server as TlsServer, TlsOptions } from "node:tls";
import type { Http2Options } from "./api.ts";
import { Connection } from "./connection.ts";
import { defaultHttp2Limits, type Http2Limits } from "./limits.ts";
import { peerOf } from "./peer.ts";
import { ReadPace } from "./read-pace.ts";

export class Http2Server {
  readonly options: Http2Options;
  readonly limits: Http2Limits;
  readonly pace = new ReadPace();
  private readonly listeners: Server[] = [];
  private readonly tlsListeners: TlsServer[] = [];
  private readonly connections = new Set<Connection>();
  /** The sockets of all admitted clients, also during TLS handshakes and of other protocols. */
  private readonly sockets = new Set<Socket>();
  private readonly countByAddress = new Map<string, number>();
  private readonly timer: NodeJS.Timeout;
  private tickedAt = performance.now();
  private whenEmpty: (() => void) | undefined;

  constructor(options: Http2Options) {
    this.options = options;
    this.limits = { ...defaultHttp2Limits, ...options.limits };
    this.timer = setInterval(() => this.tick(), this.limits.tickMs).unref();
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Binds an address. Returns the bound address. */
  async listen(where: ListenOptions, tls?: TlsOptions): Promise<AddressInfo | string> {
    const socketOptions = { noDelay: true, allowHalfOpen: true };
    const server =
      tls === undefined ? createServer(socketOptions) : await this.tlsServer(tls, socketOptions);
    server.prependListener("connection", (socket) => {
      if (this.admit(socket) && tls === undefined) this.accept(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(where, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.options.onRefusal?.(`accept: ${error.message}`, ""));
    this.listeners.push(server);
    return server.address() as AddressInfo | string;
  }

  /** Uses these certificates for new connections. Throws if key and certificate do not match. */
  renew(tls: TlsOptions): void {
    for (const server of this.tlsListeners) server.setSecureContext(tls);
  }

  /** Serves a socket that the caller accepted, after its TLS handshake. */
  accept(socket: Socket): void {
    const connection = new Connection(socket, this, () => {
      this.connections.delete(connection);
      this.noteEmpty();
    });
    this.connections.add(connection);
    if (this.isStopping) connection.drain();
  }

  /**
   * Stops listening, and ends each connection when its streams are done, or by force after
   * `graceMs`. Returns how many connections were ended by force. Sockets of other protocols are
   * closed when `others` has resolved.
   */
  async stop(graceMs: number, others?: Promise<unknown>): Promise<number> {
    for (const server of this.listeners.splice(0)) server.close();
    for (const connection of this.connections) connection.drain();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.whenEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
      this.noteEmpty();
    });
    await others;
    clearInterval(this.timer);
    const count = this.connections.size;
    for (const connection of this.connections) connection.destroy();
    for (const socket of this.sockets) socket.destroy();
    return count;
  }

  private get isStopping(): boolean {
    return this.whenEmpty !== undefined;
  }

  private noteEmpty(): void {
    if (this.connections.size === 0) this.whenEmpty?.();
  }

  private async tlsServer(tls: TlsOptions, socketOptions: object): Promise<Server> {
    // It takes three megabytes, which a server without TLS need not have.
    const { createServer: createTlsServer } = await import("node:tls");
    const other = this.options.onOtherProtocol === undefined ? [] : ["http/1.1"];
    const { handshakeMs: handshakeTimeout } = this.limits;
    const ALPNProtocols = ["h2", ...other];
    const server = createTlsServer({ ...tls, ...socketOptions, ALPNProtocols, handshakeTimeout });
    server.on("secureConnection", (socket) => this.accept(socket));
    this.tlsListeners.push(server);
    server.on("tlsClientError", (error, socket) => {
      this.options.onRefusal?.(`TLS: ${error.message}`, peerOf(socket));
      socket.destroy();
    });
    return server;
  }

  /** Whether the limits allow another connection, and another one of this address. */
  private admit(socket: Socket): boolean {
    const { connectionsMax, connectionsPerAddressMax } = this.limits;
    const address = this.options.networkOf?.(peerOf(socket)) ?? socket.remoteAddress ?? "unix";
    const count = this.countByAddress.get(address) ?? 0;
    const limit =
      this.sockets.size >= connectionsMax
        ? "connectionsMax"
        : count >= connectionsPerAddressMax
          ? "connectionsPerAddressMax"
          : undefined;
    if (limit !== undefined) {
      this.options.onRefusal?.(limit, peerOf(socket));
      socket.destroy();
      return false;
    }
    this.sockets.add(socket);
    this.countByAddress.set(address, count + 1);
    socket.once("close", () => {
      this.sockets.delete(socket);
      const left = (this.countByAddress.get(address) ?? 0) - 1;
      if (left > 0) this.countByAddress.set(address, left);
      else this.countByAddress.delete(address);
    });
    return true;
  }

  private tick(): void {
    const now = performance.now();
    const seconds = (now - this.tickedAt) / 1_000;
    this.tickedAt = now;
    for (const connection of this.connections) connection.tick(now, seconds);
  }
}
