// How the server treats connections and requests, as the configuration and the process allow.

import { readFileSync } from "node:fs";
import type { Limits } from "./domain/limits.ts";
import type { TransportOptions } from "./grpc/transport/grpc-server.ts";
import { nodeTimers } from "./log/timers.ts";
import type { Logger } from "./logger.ts";
import type { Config } from "./options.ts";

/** The server's own timers; what is not said of connections follows from the process. */
export function transportOptions(config: Config, limits: Limits, logger: Logger): TransportOptions {
  return {
    receiveBytesMax: limits.receiveBytesMax,
    keepaliveTimeMs: config.keepaliveTimeSeconds * 1_000,
    keepaliveTimeoutMs: config.keepaliveTimeoutSeconds * 1_000,
    concurrentCallsMax: config.maxConcurrentStreams,
    ...connectionsOf(config, logger),
    connectionAgeMs: config.maxConnectionAgeSeconds * 1_000,
    requestTimes: {
      idleMs: config.requestIdleSeconds * 1_000,
      wholeMs: config.requestSeconds * 1_000,
    },
    timers: nodeTimers,
  };
}

/**
 * The store needs descriptors, too: LevelDB takes up to a fifth of them for its tables, and a
 * process without descriptors can neither write a table nor report anything.
 */
function connectionsOf(config: Config, logger: Logger) {
  const { maxConnections, maxConnectionsPerAddress: connectionsPerAddressMax } = config;
  const connectionsMax = Math.min(maxConnections, Math.floor((descriptorsMax() * 2) / 3));
  if (connectionsMax < maxConnections) {
    const message = "fewer connections than --max-connections: the process has few descriptors";
    logger.warn(message, { connectionsMax, maxConnections });
  }
  return { connectionsMax, connectionsPerAddressMax };
}

/** Infinity: there is no limit, or it cannot be told. */
function descriptorsMax(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  } catch {
    return Infinity;
  }
}
