// The server's options: one table, with the name, the type, the default and the help of each.

import { defaultLimits } from "./domain/limits.ts";
import { memoryShare } from "./process-memory.ts";

interface Described {
  /** The text of `--help`. */
  readonly help: string;
}

export type Option = Described &
  (
    | { readonly type: "text"; readonly initial: string; readonly value: string }
    | {
        readonly type: "number";
        readonly initial: number;
        readonly min: number;
        readonly max: number;
      }
    | { readonly type: "switch"; readonly initial: boolean }
    | { readonly type: "choice"; readonly initial: string; readonly choices: readonly string[] }
    /** Some of the choices, separated by commas, or none. A flag may be repeated. */
    | { readonly type: "choices"; readonly initial: ""; readonly choices: readonly string[] }
  );

/** The bounds of a number are inclusive. An empty text means that the option is not set. */
export const options = {
  data: {
    type: "text",
    initial: "./annals-data",
    value: "FOLDER",
    help: "folder of the store; created if it does not exist",
  },
  follow: {
    type: "text",
    initial: "",
    value: "HOST:PORT",
    help: "be a follower: keep a copy of the store that this server has, and serve reads of it",
  },
  followTokenFile: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "the token to show to the leader, which needs the permission admin",
  },
  followTls: { type: "switch", initial: false, help: "speak TLS with the leader" },
  followTlsCa: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "the authorities that may have signed the leader's certificate, PEM",
  },
  followTlsCert: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "certificate chain to show to the leader, PEM",
  },
  followTlsKey: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "private key of --follow-tls-cert, PEM",
  },
  followTlsServerName: {
    type: "text",
    initial: "",
    value: "NAME",
    help: "the name in the leader's certificate, if it differs from the address",
  },
  storage: {
    type: "text",
    initial: "",
    value: "URL",
    help: "keep the store in a PostgreSQL database: postgres://USER@HOST:PORT,HOST:PORT/DATABASE",
  },
  storageSchema: {
    type: "text",
    initial: "annals",
    value: "NAME",
    help: "the schema of --storage, which is created if it does not exist",
  },
  storageRead: {
    type: "text",
    initial: "",
    value: "URL",
    help: "read events from standbys of --storage: postgres://USER@HOST:PORT,HOST:PORT/DATABASE",
  },
  storageDurability: {
    type: "choice",
    initial: "local",
    choices: ["local", "replicated"],
    help: "with replicated, --storage has to commit to a standby as well, or is refused",
  },
  memory: {
    type: "switch",
    initial: false,
    help: "keep the store in memory only, for tests; it is lost when the server stops",
  },
  tcp: {
    type: "switch",
    initial: true,
    help: "listen on TCP; with --no-tcp only on the Unix socket",
  },
  host: { type: "text", initial: "127.0.0.1", value: "ADDRESS", help: "TCP address to listen on" },
  port: {
    type: "number",
    initial: 7420,
    min: 0,
    max: 65_535,
    help: "TCP port; 0 chooses a free one",
  },
  unixSocket: { type: "text", initial: "", value: "PATH", help: "listen on this Unix socket, too" },
  unixSocketAccess: {
    type: "choice",
    initial: "user",
    choices: ["user", "group", "all"],
    help: "who may connect to the Unix socket: this user, also its group, or all users",
  },
  allowRemote: { type: "switch", initial: false, help: "allow an address others can reach" },
  tokensFile: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "ask who calls: the file of annals tokens; read again when it changes",
  },
  accessFile: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "ask who calls: roles, principals, certificates, OIDC; read again when it changes",
  },
  auditFile: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "write denied calls, management and changes of access to this file, too",
  },
  auditKeepDays: {
    type: "number",
    initial: 365,
    min: 0,
    max: 36_500,
    help: "remove entries of the audit trail's stream that are older than this; 0: never",
  },
  auth: {
    type: "switch",
    initial: true,
    help: "--no-auth: with --allow-remote, let everybody who reaches the address do everything",
  },
  tlsCert: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "certificate chain for TLS, PEM; read again when it changes",
  },
  tlsKey: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "private key for TLS, PEM; read again when it changes",
  },
  tlsClientCa: {
    type: "text",
    initial: "",
    value: "FILE",
    help: "mutual TLS: require client certificates of this authority, PEM",
  },
  protocol: {
    type: "choices",
    initial: "",
    choices: ["kurrentdb", "umadb"],
    help: "serve this protocol as well, for its existing clients",
  },
  advertise: {
    type: "text",
    initial: "",
    value: "HOST:PORT",
    help:
      "the address at which other servers of --storage reach this one, and which clients of " +
      "--protocol kurrentdb are told; absent: the TCP address",
  },
  peerTlsCa: {
    type: "text",
    initial: "",
    value: "FILE",
    help:
      "the authorities that may have signed the certificates of other servers of --storage, PEM; " +
      "absent: the well-known ones",
  },
  tlsMinVersion: {
    type: "choice",
    initial: "1.2",
    choices: ["1.2", "1.3"],
    help: "lowest version of TLS; for 1.2, only suites that authenticate what they encrypt",
  },
  corsOrigin: {
    type: "text",
    initial: "",
    value: "ORIGIN,...",
    help: "let pages of these origins make calls, as https://app.example.com; *: all pages",
  },
  console: {
    type: "switch",
    initial: true,
    help: "serve the console, a page for browsers, at the path /; --no-console turns it off",
  },
  mcp: {
    type: "switch",
    initial: false,
    help: "serve the Model Context Protocol at the path /mcp: tools that read, for assistants",
  },
  reflection: { type: "switch", initial: true, help: "describe the services to tools (grpcurl)" },
  logLevel: {
    type: "choice",
    initial: "info",
    choices: ["debug", "info", "warn", "error"],
    help: "lowest level that is logged, to standard error",
  },
  logFormat: {
    type: "choice",
    initial: "auto",
    choices: ["auto", "json", "text"],
    help: "auto: text on a terminal, otherwise one JSON object per line",
  },
  logSlowMs: {
    type: "number",
    initial: 0,
    min: 0,
    max: 3_600_000,
    help: "log calls of one answer that took so long or longer; 0: none",
  },
  metrics: {
    type: "switch",
    initial: true,
    help: "count calls, and answer GET /metrics; with --no-metrics only /healthz and /readyz",
  },
  recordTraceContext: {
    type: "switch",
    initial: false,
    help: "record the trace of an append's call with its events, so that consumers link to it",
  },
  metricsListen: {
    type: "text",
    initial: "",
    value: "HOST:PORT",
    help: "answer /metrics, /healthz and /readyz here as well, in the clear and to everybody",
  },
  keepaliveTimeSeconds: {
    type: "number",
    initial: 30,
    min: 1,
    max: 86_400,
    help: "ping a connection that has been silent for this long",
  },
  keepaliveTimeoutSeconds: {
    type: "number",
    initial: 20,
    min: 1,
    max: 3_600,
    help: "close a connection that has not answered a ping for this long",
  },
  maxConcurrentStreams: {
    type: "number",
    initial: defaultLimits.concurrentCallsMax,
    min: 1,
    max: 1_000_000,
    help: "open calls of one connection at a time",
  },
  requestIdleSeconds: {
    type: "number",
    initial: 10,
    min: 1,
    max: 3_600,
    help: "refuse a request of which nothing has come for this long",
  },
  requestSeconds: {
    type: "number",
    initial: 60,
    min: 1,
    max: 86_400,
    help: "refuse a request that has not come whole for this long",
  },
  maxConnections: {
    type: "number",
    initial: 1_000,
    min: 1,
    max: 1_000_000,
    help: "open connections; at most two thirds of the process's descriptors",
  },
  maxConnectionsPerAddress: {
    type: "number",
    initial: 500,
    min: 1,
    max: 1_000_000,
    help: "open connections from one address; those of the Unix socket count as one",
  },
  maxConnectionAgeSeconds: {
    type: "number",
    initial: 86_400,
    min: 0,
    max: 1_000_000,
    help: "close a connection at this age, give or take a tenth; open calls get a minute; 0: never",
  },
  clientMemoryBytes: {
    type: "number",
    initial: 80 * 1024 * 1024,
    min: 16 * 1024 * 1024,
    max: Number.MAX_SAFE_INTEGER,
    help: "memory for all that is held for clients; beyond it, the one that holds the most pays",
  },
  cacheBytes: {
    type: "number",
    initial: 64 * 1024 * 1024 * memoryShare,
    min: 0,
    max: 64 * 1024 * 1024 * 1024,
    help: "memory for events of streams that were read or written lately; 0 keeps none",
  },
  shutdownGraceSeconds: {
    type: "number",
    initial: 5,
    min: 0,
    max: 8,
    help: "how long to wait for open calls when stopping, before they are cut off",
  },
  freeSpaceReserveBytes: {
    type: "number",
    initial: 256 * 1024 * 1024,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: "refuse appends while the disk has less free space than this",
  },
  scrubBytesPerSecond: {
    type: "number",
    initial: 8 * 1024 * 1024,
    min: 0,
    max: 1024 * 1024 * 1024,
    help: "check the store for damage in the background at this rate; 0 turns it off",
  },
  reclaimBytesPerSecond: {
    type: "number",
    initial: 4 * 1024 * 1024,
    min: 0,
    max: 1024 * 1024 * 1024,
    help: "reclaim the space of removed events at this rate; 0 turns it off",
  },
  reclaimAfterSeconds: {
    type: "number",
    initial: 300,
    min: 1,
    max: 86_400,
    help: "keep the space of removed events this long, for reads that began before the removal",
  },
  keepTimes: {
    type: "switch",
    initial: false,
    help: "for an import into a new store: let events say when they were recorded elsewhere",
  },
  allowNetworkFileSystem: {
    type: "switch",
    initial: false,
    help: "allow a network file system, where a sync does not guarantee durability",
  },
  acceptLoss: {
    type: "text",
    initial: "",
    value: "TOKEN",
    help: "serve a damaged store without what it lost; the report of the refusal names the token",
  },
} as const satisfies Readonly<Record<string, Option>>;

type Options = typeof options;
export type OptionName = keyof Options;

type ValueOf<O extends Option> = O extends {
  readonly type: "choice";
  readonly choices: readonly (infer C)[];
}
  ? C
  : O extends { readonly type: "number" }
    ? number
    : O extends { readonly type: "switch" }
      ? boolean
      : string;

export type Config = { readonly [K in OptionName]: ValueOf<Options[K]> };

export const optionNames = Object.keys(options) as OptionName[];

/** `unixSocket` -> `unix-socket`: the name in the file and, behind `--`, as a flag. */
export function flagOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `unixSocket` -> `ANNALS_UNIX_SOCKET`. */
export function variableOf(name: string): string {
  return `ANNALS_${flagOf(name).replaceAll("-", "_").toUpperCase()}`;
}
