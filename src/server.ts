// The assembly: opens the store, creates the log and the services over it, and listens. The running
// server can be stopped in order.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { AccessControl } from "./access/access-control.ts";
import { ForwardedProofs } from "./access/forwarded-proof.ts";
import { storeAuditTrail } from "./audit-stream.ts";
import { consoleRoutes } from "./console/console-routes.ts";
import { asksWhoCalls, hostAndPort, isLoopback } from "./config.ts";
import type { Config } from "./options.ts";
import { defaultLimits, type Limits } from "./domain/limits.ts";
import type { Certificates } from "./sockets/certificates.ts";
import { Stopping, type CallEnvironment } from "./grpc/transport/call-environment.ts";
import { HealthState } from "./grpc/services/health.ts";
import { GrpcServer, type TransportOptions } from "./grpc/transport/grpc-server.ts";
import { LargeAnswers } from "./grpc/transport/large-answers.ts";
import { Turns } from "./grpc/transport/turns.ts";
import { services } from "./grpc/services/services.ts";
import { methodsOf, type BoundService, type Methods } from "./grpc/transport/methods.ts";
import type { FollowingStorage } from "./following-server.ts";
import { createEventLog, type EventLog } from "./log/event-log.ts";
import { ClientMemory } from "./log/scheduling/client-memory.ts";
import { Scheduler } from "./log/scheduling/scheduler.ts";
import { nodeTimers } from "./log/timers.ts";
import type { Logger } from "./logger.ts";
import { collectWhenIdle } from "./process-memory.ts";
import { CallMetrics } from "./observe/call-metrics.ts";
import { together } from "./observe/observers.ts";
import { beginTracing } from "./observe/tracing.ts";
import { SlowCalls } from "./observe/slow-calls.ts";
import { OperatorsHttp } from "./observe/operators-http.ts";
import { originsOf } from "./grpc/web/origins.ts";
import type { Mcp } from "./grpc/web/mcp.ts";
import { openingHttp } from "./grpc/web/opening-http.ts";
import { WebCalls } from "./grpc/web/web-calls.ts";
import type { KurrentContext } from "./protocols/kurrentdb/mapping/context.ts";
import { configuredAccess } from "./configured-access.ts";
import { folderOptions, openConfigured } from "./configured-storage.ts";
import { transportOptions } from "./configured-transport.ts";
import { systemClock } from "./storage/leveldb/open.ts";
import { busyEventLoop } from "./storage/leveldb/upkeep/pace.ts";
import type { Storage } from "./storage/storage.ts";
import type { TlsOptions } from "./client/rpc/connection.ts";
import type { Forwarding } from "./peers/forwarding.ts";
import { version } from "./version.ts";

export interface RunningServer {
  /** The addresses that clients connect to: `127.0.0.1:7420`, `unix:/run/annals/socket`. */
  readonly addresses: readonly string[];
  /** The version of this software. */
  readonly version: string;
  /** Resolves when the server has to be started anew, as a follower or not any more. */
  readonly again: Promise<{ readonly isFollower: boolean }>;
  /** Answers waiting calls, ends streams, closes the store. A second call waits for the first. */
  stop(): Promise<void>;
}

/** Of a test, but for the signal. */
export interface ServerParts {
  readonly limits?: Limits;
  readonly openStorage?: () => Promise<Storage>;
  /** Ends a start that has not finished, which then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Connections by HTTP/1.1 that came while the store was opened have so long for their exchange. */
const openingGraceMs = 1_000;
/** What they make meanwhile is not drawn from the budget: some 20 MiB each, at most. */
const longMessagesAtOnce = 2;
/** As many as there are threads for them. */
const inflationsAtOnce = 4;

/** Throws if the store is refused or an address is not available. Then nothing is left open. */
export async function startServer(
  config: Config,
  logger: Logger,
  parts: ServerParts = {},
): Promise<RunningServer> {
  const { signal } = parts;
  const open: OpenParts = await listenerOf(config, logger, limitsOf(config, parts));
  let stopped: Promise<void> | undefined;
  const stop = (graceMs: number): Promise<void> => (stopped ??= stopInOrder(open, graceMs));
  // What a start waits for may be an append.
  const ended = (): void => void open.log?.stop();
  signal?.addEventListener("abort", ended);
  try {
    const addresses = await listen(open.grpc, config, open.certificates);
    const { again } = await serveBehind(open, addresses, config, parts);
    signal?.throwIfAborted();
    return { addresses, version, again, stop: () => stop(config.shutdownGraceSeconds * 1_000) };
  } catch (error) {
    await stop(0).catch((cause: unknown) => logger.warn("not all was closed", { error: cause }));
    throw error;
  } finally {
    signal?.removeEventListener("abort", ended);
  }
}

/** Opens the store, and serves it where clients were told to try again until then. */
async function serveBehind(
  open: OpenParts,
  addresses: readonly string[],
  config: Config,
  parts: ServerParts,
): Promise<Pick<RunningServer, "again">> {
  const { environment, grpc, opening, transport, certificates, calls, tracing } = open;
  const { logger, memory, scheduler, stopping, access } = environment;
  const limits = limitsOf(config, parts);
  const { storage, following } = await openStore(config, logger, parts);
  open.storage = storage;
  parts.signal?.throwIfAborted();
  const { health, unwatch, wholeChanged } = watchedHealth(storage, following, environment);
  const work = (): number => storage.head().position + scheduler.doneCount;
  Object.assign(open, { health, unwatch, uncollect: collectWhenIdle({ work }) });
  const plainLog = createEventLog({
    storage,
    limits,
    clock: systemClock,
    isBusy: busyEventLoop(2 / 3),
    scheduler,
    memory,
    observer: tracing,
    onWarning: (message, error) => logger.warn(message, { error }),
  });
  const log = (open.log = tracing?.log(plainLog) ?? plainLog);
  const audit = following === undefined ? access?.audit : undefined;
  if (audit !== undefined) storeAuditTrail(audit, log, config.auditKeepDays);
  const context = {
    log,
    limits,
    environment,
    secret: storage.secret,
    serverVersion: version,
    recordsTraces: config.recordTraceContext,
    keepsTimes: config.keepTimes,
    startedAt: systemClock(),
    promote: following && (() => following.promote()),
  };
  const observed = { version, calls, log, storage, memory, scheduler };
  const http = (open.http = new OperatorsHttp(
    { onStream: (stream) => web.onStream(stream), routes: consoleRoutes(config.console) },
    {
      ...observed,
      isServing: () => health.serving,
      isStopping: () => stopping.begun,
      connections: () => grpc.connectionCount,
      certificateEndsMs: () => certificates?.endsMs,
      warn: (message, error) => logger.warn(message, { error }),
    },
    access,
  ));
  const others = await protocolServices(config, context, () => addresses);
  const own = [...services(context, health, config.reflection, others), ...others];
  const forwarding = (open.forwarding = await forwardingOf(config, storage, access));
  const bound = forwarding?.over(own) ?? own;
  const methods = methodsOf(bound);
  const origins = originsOf(config.corsOrigin, access === undefined && config.tlsCert === "");
  const beside = { ...transport, methods };
  const mcp = config.mcp ? await mcpOf(beside, environment) : undefined;
  const web = new WebCalls({ ...beside, origins, ...storage.identity, mcp }, environment);
  grpc.begin(methods, http.shared);
  void opening.drain(openingGraceMs).then(() => opening.stop());
  const apart = hostAndPort(config.metricsListen);
  if (apart !== undefined) {
    logger.info("metrics and probes", { address: await http.listen(apart.host, apart.port) });
  }
  warnOfOpenness(config, logger);
  // Only a follower is ever started anew.
  return { again: following?.begin(wholeChanged) ?? new Promise<never>(() => {}) };
}

function limitsOf({ maxConcurrentStreams }: Config, { limits }: ServerParts): Limits {
  return { ...(limits ?? defaultLimits), concurrentCallsMax: maxConcurrentStreams };
}

/** Serving: the store can be written, or is that of a follower, whose copy has to be whole. */
function watchedHealth(
  storage: Storage,
  following: FollowingStorage | undefined,
  { stopping, logger }: Pick<CallEnvironment, "stopping" | "logger">,
) {
  const health = new HealthState();
  let isWhole = following === undefined;
  let hasFailed = false;
  const look = (): void => {
    if (!stopping.begun) health.set(isWhole && !hasFailed);
  };
  const unwatch = storage.watch({
    writeStateChanged(state, why) {
      const level = state === "accepting" ? "info" : state === "failed" ? "error" : "warn";
      logger[level]("write state changed", { state, ...(why !== undefined && { why }) });
      hasFailed = state === "failed" || state === "unreachable";
      look();
    },
  });
  const wholeChanged = (whole: boolean): void => {
    isWhole = whole;
    look();
  };
  return { health, unwatch, wholeChanged };
}

/** What listens before the store is open. */
async function listenerOf(config: Config, logger: Logger, limits: Limits) {
  const tracing = await beginTracing(version);
  const { certificates, access } = await configuredAccess(config, logger);
  const memory = memoryOf(config, limits);
  const calls = config.metrics ? new CallMetrics() : undefined;
  const environment: CallEnvironment = {
    logger,
    stopping: new Stopping(),
    memory,
    scheduler: new Scheduler(),
    access,
    largeAnswers: new LargeAnswers(),
    inflations: new Turns(inflationsAtOnce),
    longMessages: new Turns(longMessagesAtOnce),
    observer: together([calls, slowCalls(config, logger), tracing]),
  };
  const opening = openingHttp({
    budgetOf: (connection) => memory.open(connection),
    onFault: (error, path) => logger.warn(`an HTTP request failed: ${path}`, { error }),
  });
  const transport = transportOptions(config, limits, logger);
  const grpc = new GrpcServer({ ...transport, http: opening }, environment);
  return { environment, grpc, opening, transport, certificates, calls, tracing };
}

interface OpenedStore {
  readonly storage: Storage;
  readonly following: FollowingStorage | undefined;
}

async function openStore(
  config: Config,
  logger: Logger,
  { openStorage, signal }: ServerParts,
): Promise<OpenedStore> {
  if (openStorage === undefined && config.follow !== "") {
    const { openFollowing } = await import("./following-server.ts");
    const following = await openFollowing(config, folderOptions(config, logger), logger, signal);
    return { storage: following.storage, following };
  }
  const storage = await (openStorage ?? (() => openConfigured(config, logger)))();
  return { storage, following: undefined };
}

/** Services of further protocols over the same log. They are loaded only if they are turned on. */
async function protocolServices(
  { protocol, advertise, keepTimes }: Config,
  context: Omit<KurrentContext, "advertised">,
  addresses: () => readonly string[],
): Promise<BoundService[]> {
  const wanted = new Set(protocol.split(","));
  const umadb = wanted.has("umadb") ? await import("./protocols/umadb/umadb.ts") : undefined;
  const bound = umadb?.umadbServices(context) ?? [];
  if (!wanted.has("kurrentdb")) return bound;
  const kurrentdb = await import("./protocols/kurrentdb/kurrentdb.ts");
  const { logger } = context.environment;
  // It would have the present time, and no event with an older one could follow it.
  const isFirst = context.log.info().following === undefined && !keepTimes;
  await (isFirst ? kurrentdb.writeFirstEvent(context) : Promise.resolve()).catch((error: unknown) =>
    logger.warn("the first event was not stored", { error }),
  );
  const advertised = () => endPoint(advertise === "" ? (addresses()[0] ?? "") : advertise);
  return [...bound, ...kurrentdb.kurrentdbServices({ ...context, advertised })];
}

/** Other servers of the store answer what this one may not. Undefined: there are none. */
async function forwardingOf(
  { tlsCert, tlsKey, peerTlsCa }: Config,
  storage: Storage,
  access: AccessControl | undefined,
): Promise<Forwarding | undefined> {
  if (storage.holdGroups === undefined) return undefined;
  const proofs = new ForwardedProofs(storage.secret, () => Date.now());
  access?.trust(proofs);
  const { Forwarding: Kind } = await import("./peers/forwarding.ts");
  const tls = (): TlsOptions | undefined =>
    tlsCert === ""
      ? undefined
      : {
          rootCertificates: peerTlsCa === "" ? undefined : readFileSync(peerTlsCa),
          certificateChain: readFileSync(tlsCert),
          privateKey: readFileSync(tlsKey),
        };
  return new Kind({ proofs, tls });
}

async function mcpOf(
  beside: TransportOptions & { readonly methods: Methods },
  environment: CallEnvironment,
): Promise<Mcp> {
  const { Mcp } = await import("./grpc/web/mcp.ts");
  return new Mcp({ ...beside, version }, environment);
}

function memoryOf({ clientMemoryBytes: bytesMax }: Config, limits: Limits): ClientMemory {
  return new ClientMemory({ bytesMax, sureBytes: limits.connectionSureBytes, timers: nodeTimers });
}

function endPoint(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

async function listen(
  grpc: GrpcServer,
  { tcp, host, port, unixSocket, unixSocketAccess }: Config,
  certificates: Certificates | undefined,
): Promise<string[]> {
  const addresses: string[] = [];
  if (tcp) addresses.push(await grpc.listenOnTcp(host, port, certificates));
  if (unixSocket !== "") {
    addresses.push(await grpc.listenOnSocket(resolve(unixSocket), unixSocketAccess));
  }
  return addresses;
}

function slowCalls({ logSlowMs: slowMs }: Config, logger: Logger): SlowCalls | undefined {
  if (slowMs === 0) return undefined;
  return new SlowCalls({
    slowMs,
    nowMs: () => nodeTimers.nowMs(),
    warn: (message, fields) => logger.warn(message, fields),
  });
}

function warnOfOpenness(config: Config, logger: Logger): void {
  const { tcp, host, tlsCert, tlsClientCa } = config;
  if (!tcp || isLoopback(host) || tlsClientCa !== "") return;
  const isClear = tlsCert === "";
  if (!asksWhoCalls(config)) {
    const how = isClear ? "in the clear and without a password" : "without a password";
    logger.warn(`open: everybody who reaches ${host} may read and append, ${how}`, { host });
  } else if (isClear) {
    logger.warn(`tokens cross the network to ${host} in the clear: there is no TLS`, { host });
  }
}

/** Beside what listens: what a start has opened so far. */
interface OpenParts extends Awaited<ReturnType<typeof listenerOf>> {
  storage?: Storage;
  health?: HealthState;
  unwatch?: () => void;
  uncollect?: () => void;
  log?: EventLog;
  http?: OperatorsHttp;
  forwarding?: Forwarding | undefined;
}

/**
 * Refuses new calls, then answers waiting ones, closes the connections, and closes the store last.
 * A step that fails keeps nothing else open. Throws the first failure.
 */
async function stopInOrder(open: OpenParts, graceMs: number): Promise<void> {
  const { logger, stopping, access } = open.environment;
  open.health?.set(false);
  stopping.begin();
  let logStopped: Promise<void> | undefined;
  const steps: readonly (() => unknown)[] = [
    () => access?.audit.flush(),
    () => access?.audit.storeIn(undefined),
    () => void (logStopped = open.log?.stop())?.catch(() => {}),
    async () => {
      const end = await open.grpc.stop(graceMs);
      const hasServed = open.log !== undefined;
      if (hasServed && end === "cut off") logger.warn("open calls were cut off", { graceMs });
    },
    () => open.http?.stop(),
    () => open.opening.stop(),
    () => logStopped,
    () => open.unwatch?.(),
    () => open.uncollect?.(),
    () => open.forwarding?.close(),
    () => open.certificates?.close(),
    () => access?.close(),
    () => open.storage?.close(),
  ];
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
