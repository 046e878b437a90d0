// `annals serve`: the server as a process. Signals stop it in order, a second one at once; a fault
// nobody expected is logged and ends it, since what it would go on with is not known.

import { ConfigError, loadConfig, withoutPassword, type LoadedConfig } from "../../config.ts";
import type { Config } from "../../options.ts";
import { escaped, escapedLines } from "../../escape.ts";
import { stderrLogger, type Logger } from "../../logger.ts";
import { StoreHeld, StoreRefused } from "../../storage/leveldb/folder/store-refused.ts";
import { startServer, type RunningServer } from "../../server.ts";
import { exitCode } from "../arguments/options.ts";
import { configHelp, printConfig } from "./config-text.ts";
import { startFailure } from "./start-failure.ts";
import { variableWarnings } from "./variable-warnings.ts";

/** The process exits after this time at the latest, even if a step of stopping hangs. */
const stopMsMax = 9_500;

/** Resolves with the exit code when the server has stopped. */
export async function serve(args: readonly string[]): Promise<number> {
  let loaded: LoadedConfig;
  try {
    loaded = loadConfig({ flags: args, environment: process.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(escapedLines(`annals serve: ${error.message}\n`));
    return exitCode.usage;
  }
  if (loaded.show !== undefined) {
    process.stdout.write(loaded.show === "help" ? configHelp() : escapedLines(printConfig(loaded)));
    return exitCode.ok;
  }
  const { config } = loaded;
  const logger = stderrLogger(config.logLevel, config.logFormat);
  for (const warning of variableWarnings(process.env)) logger.warn(warning);
  endOnFaults(logger);
  const signalled = firstSignal(logger);
  const asked = new AbortController();
  void signalled.then((signal) => asked.abort(new Error(`ended by ${signal}`)));
  for (let present = config; ;) {
    const starting = started(present, logger, asked.signal);
    const server = await Promise.race([starting, signalled]);
    if (typeof server === "number") return server;
    const why = typeof server === "string" ? server : await Promise.race([signalled, server.again]);
    const isSignal = typeof why === "string";
    const code = await stop(starting, isSignal ? why : "none", logger);
    if (isSignal || code !== exitCode.ok) return code;
    if (!why.isFollower) present = { ...config, follow: "" };
    logger.info("starting anew", why);
  }
}

/** An exit code: it could not be started, which is logged, or the signal ended the start. */
async function started(
  config: Config,
  logger: Logger,
  signal: AbortSignal,
): Promise<RunningServer | number> {
  let server: RunningServer;
  try {
    server = await startServer(config, logger, { signal });
  } catch (error) {
    if (error === signal.reason) return exitCode.ok;
    const reason = startFailure(error, config);
    logger.error("not started", reason === undefined ? { error } : { reason });
    return isFinal(error) ? exitCode.storeRefused : exitCode.failure;
  }
  const { version, addresses } = server;
  const folder = config.memory ? "memory" : config.data;
  const store = `in ${config.storage === "" ? folder : withoutPassword(config.storage)}`;
  const line = `annals ${version} serves on ${addresses.join(" and ")}, store ${store}`;
  process.stdout.write(`${escaped(line)}\n`);
  logger.info("serving", { version, addresses, store, pid: process.pid });
  return server;
}

/** Whether a supervisor that starts the server again gets the same answer, until somebody acts. */
function isFinal(error: unknown): boolean {
  return error instanceof StoreRefused && !(error instanceof StoreHeld);
}

/** A start that has not finished is ended, or waited for. */
async function stop(
  starting: Promise<RunningServer | number>,
  signal: string,
  logger: Logger,
): Promise<number> {
  logger.info("stopping", { signal });
  // Keeps the process alive, too: what the stop waits for may not.
  const overdue = setTimeout(() => {
    logger.error("stopping takes too long", { stopMsMax });
    end();
  }, stopMsMax);
  try {
    const server = await starting;
    if (typeof server !== "number") await server.stop();
    else if (server !== exitCode.ok) return server;
  } catch (error) {
    logger.error("not stopped in order", { error });
    return exitCode.failure;
  } finally {
    clearTimeout(overdue);
  }
  logger.info("stopped");
  return exitCode.ok;
}

/** The first signal asks for an orderly end, a second one is not kept waiting for it. */
function firstSignal(logger: Logger): Promise<string> {
  return new Promise((resolve) => {
    let first: string | undefined;
    const heard = (signal: string): void => {
      if (first !== undefined) {
        logger.warn("stopped at once by a second signal", { signal });
        end();
      }
      first = signal;
      resolve(signal);
    };
    process.on("SIGTERM", heard).on("SIGINT", heard);
  });
}

/** `process.exit` waits for the thread pool, whose threads may wait for a file for ever. */
function end(): void {
  process.kill(process.pid, "SIGKILL");
}

function endOnFaults(logger: Logger): void {
  process.on("uncaughtException", (error, origin) => {
    logger.error("a fault nobody expected; the process ends", { origin, error });
    process.exit(exitCode.failure);
  });
}
