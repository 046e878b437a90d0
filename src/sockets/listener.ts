// Listens on addresses, with or without TLS, and admits as many sockets as the limits allow, in all
// and from one address, whatever they speak.

import {
  createServer,
  type AddressInfo,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import type { Server as TlsServer, TlsOptions } from "node:tls";
import { peerOf } from "./peer.ts";

export interface ListenerOptions {
  readonly limits: ListenerLimits;
  /** The protocols that are offered under TLS. */
  readonly protocols: readonly string[];
  /** Whose sockets are counted together, by the peer. Absent: those of one address. */
  networkOf?(peer: string): string;
  /** Takes an admitted socket, after its TLS handshake. */
  readonly onSocket: (socket: Socket) => void;
  /** Called when a peer is not accepted, or nobody can be. For logs. */
  onRefusal?(reason: string, peer: string): void;
}

interface ListenerLimits {
  /** Sockets, and those from one address (Unix sockets count as one). */
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** For the TLS handshake. */
  readonly handshakeMs: number;
}

const socketOptions = { noDelay: true, allowHalfOpen: true };

export class Listener {
  private readonly options: ListenerOptions;
  private readonly servers: Server[] = [];
  private readonly tlsServers: TlsServer[] = [];
  /** All admitted connections, those in their TLS handshake included. */
  private readonly sockets = new Set<Socket>();
  private readonly countByAddress = new Map<string, number>();

  constructor(options: ListenerOptions) {
    this.options = options;
  }

  /** Binds an address. Returns the bound address. */
  async listen(where: ListenOptions, tls?: TlsOptions): Promise<AddressInfo | string> {
    const server = tls === undefined ? createServer(socketOptions) : await this.tlsServer(tls);
    server.prependListener("connection", (socket) => {
      if (this.admit(socket) && tls === undefined) this.options.onSocket(socket);
    });
    // After a restart all clients come at once, and may be as many as there may be connections. Of
    // those that wait, the system holds no more than its own bound (net.core.somaxconn).
    const { connectionsMax: backlog } = this.options.limits;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ backlog, ...where }, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.options.onRefusal?.(`accept: ${error.message}`, ""));
    this.servers.push(server);
    return server.address() as AddressInfo | string;
  }

  /** Uses these certificates for new sockets. Throws if key and certificate do not match. */
  renew(tls: TlsOptions): void {
    for (const server of this.tlsServers) server.setSecureContext(tls);
  }

  /** Admits no more. */
  stop(): void {
    for (const server of this.servers.splice(0)) server.close();
  }

  /** Ends all sockets at once. */
  destroy(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private async tlsServer(tls: TlsOptions): Promise<Server> {
    // It takes three megabytes, which a server without TLS need not have.
    const { createServer: createTlsServer } = await import("node:tls");
    const { limits, protocols, onSocket } = this.options;
    const ALPNProtocols = [...protocols];
    const { handshakeMs: handshakeTimeout } = limits;
    const server = createTlsServer({ ...tls, ...socketOptions, ALPNProtocols, handshakeTimeout });
    server.on("secureConnection", onSocket);
    this.tlsServers.push(server);
    server.on("tlsClientError", (error, socket) => {
      this.options.onRefusal?.(`TLS: ${error.message}`, peerOf(socket));
      socket.destroy();
    });
    return server;
  }

  /** Whether the limits allow another socket, and another one of this address. */
  private admit(socket: Socket): boolean {
    const { limits } = this.options;
    const { connectionsMax, connectionsPerAddressMax } = limits;
    const peer = peerOf(socket);
    const address = this.options.networkOf?.(peer) ?? socket.remoteAddress ?? "unix";
    const count = this.countByAddress.get(address) ?? 0;
    const isFull = this.sockets.size >= connectionsMax;
    if (isFull || count >= connectionsPerAddressMax) {
      this.options.onRefusal?.(isFull ? "connectionsMax" : "connectionsPerAddressMax", peer);
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
}
