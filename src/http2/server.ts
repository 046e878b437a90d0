// The server: it accepts connections, looks at their times, and stops.

import type { AddressInfo, ListenOptions, Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { TlsOptions } from "node:tls";
import { Listener } from "../sockets/listener.ts";
import { ReadPace } from "../sockets/read-pace.ts";
import type { Http2Options } from "./api.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { defaultHttp2Limits } from "./limits.ts";

export class Http2Server {
  private readonly options: ConnectionOptions;
  private readonly listener: Listener;
  private readonly connections = new Set<Connection>();
  private readonly timer: NodeJS.Timeout;
  private whenEmpty: (() => void) | undefined;

  constructor(options: Http2Options) {
    const limits = { ...defaultHttp2Limits, ...options.limits };
    this.options = { ...options, limits, pace: new ReadPace() };
    this.listener = new Listener({
      ...this.options,
      protocols: options.onOtherProtocol === undefined ? ["h2"] : ["h2", "http/1.1"],
      onSocket: (socket) => this.accept(socket),
    });
    this.timer = setInterval(() => this.tick(), limits.tickMs).unref();
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Binds an address. Returns the bound address. */
  listen(where: ListenOptions, tls?: TlsOptions): Promise<AddressInfo | string> {
    return this.listener.listen(where, tls);
  }

  /** Uses these certificates for new connections. Throws if key and certificate do not match. */
  renew(tls: TlsOptions): void {
    this.listener.renew(tls);
  }

  /**
   * Stops listening, and ends each connection when its streams are done, or by force after
   * `graceMs`. Returns how many connections were ended by force. Sockets of other protocols are
   * closed when `others` has resolved.
   */
  async stop(graceMs: number, others?: Promise<unknown>): Promise<number> {
    this.listener.stop();
    for (const connection of this.connections) connection.drain();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.whenEmpty = resolve;
    const grace = setTimeout(graceMs, undefined, { ref: false });
    if (this.connections.size > 0) await Promise.race([promise, grace]);
    await others;
    clearInterval(this.timer);
    const count = this.connections.size;
    this.listener.destroy();
    return count;
  }

  private accept(socket: Socket): void {
    const connection = new Connection(socket, this.options, () => {
      this.connections.delete(connection);
      if (this.connections.size === 0) this.whenEmpty?.();
    });
    this.connections.add(connection);
    // It was accepted during the stop.
    if (this.whenEmpty !== undefined) connection.drain();
  }

  private tick(): void {
    const now = performance.now();
    for (const connection of this.connections) connection.tick(now);
  }
}
