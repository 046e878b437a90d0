// A server in this process, on a free port, with its store in memory, and a log the test can read.
import { setLogger } from "@grpc/grpc-js";
import { loadConfig } from "../../src/config.ts";
import type { Config } from "../../src/options.ts";
import { createLogger, type Logger } from "../../src/logger.ts";
import { startServer, type RunningServer, type ServerParts } from "../../src/server.ts";
import { Calls } from "./calls.ts";

export interface LogLine {
  level: string;
  message: string;
  [key: string]: unknown;
}

export interface TestServer extends RunningServer {
  readonly address: string;
  readonly calls: Calls;
  readonly lines: LogLine[];
}

// grpc-js would write to the console.
setLogger({ error() {}, info() {}, debug() {} });

/** A logger and what it logged, from `debug` up. */
export function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const logger = createLogger({
    level: "debug",
    format: "json",
    write: (line) => void lines.push(JSON.parse(line) as LogLine),
    now: () => new Date(0),
  });
  return { logger, lines };
}

export function configOf(...flags: string[]): Config {
  return loadConfig({ flags, environment: {} }).config;
}

/** `flags` are those of `annals serve`, after `--port 0`, and `--memory` unless they name a store. */
export async function startTestServer(
  flags: readonly string[] = [],
  parts: ServerParts = {},
): Promise<TestServer> {
  const { logger, lines } = recordingLogger();
  const grace = flags.includes("--shutdown-grace-seconds") ? [] : ["--shutdown-grace-seconds", "1"];
  const hasStore = flags.includes("--data") || flags.includes("--storage");
  const memory = hasStore ? [] : ["--memory"];
  const port = flags.includes("--port") ? [] : ["--port", "0"];
  const config = configOf(...memory, ...port, ...grace, ...flags);
  const server = await startServer(config, logger, parts);
  const [address = ""] = server.addresses;
  const calls = new Calls(address);
  const stop = async (): Promise<void> => {
    calls.close();
    await server.stop();
  };
  return { ...server, stop, address, calls, lines };
}
