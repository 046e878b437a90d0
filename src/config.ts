// The server's configuration: one table of options, and the code that reads them from flags, the
// environment and a file. Precedence: flags, environment, file, defaults. Unknown options and
// invalid values are refused by name before the server starts.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { isIP } from "node:net";
import { defaultLimits } from "./domain/limits.ts";

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
  );

/** The bounds of a number are inclusive. An empty text means that the option is not set. */
export const options = {
  data: {
    type: "text",
    initial: "./annals-data",
    value: "FOLDER",
    help: "folder of the store; created if it does not exist",
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
  unixSocket: {
    type: "text",
    initial: "",
    value: "PATH",
    help: "listen on this Unix socket as well",
  },
  unixSocketAccess: {
    type: "choice",
    initial: "user",
    choices: ["user", "group", "all"],
    help: "who may connect to the Unix socket: this user, also its group, or all users",
  },
  allowRemote: {
    type: "switch",
    initial: false,
    help: "allow an address that other machines reach; without mutual TLS, any of them may connect",
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
  reflection: {
    type: "switch",
    initial: true,
    help: "describe the services to tools such as grpcurl",
  },
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

type ValueOf<O extends Option> = O extends { readonly choices: readonly (infer C)[] }
  ? C
  : O extends { readonly type: "number" }
    ? number
    : O extends { readonly type: "switch" }
      ? boolean
      : string;

export type Config = { readonly [K in OptionName]: ValueOf<Options[K]> };

/** The configuration is invalid. The message names the option and its source. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export interface ConfigInput {
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads the configuration file. Absent: `readFileSync`. */
  readonly readFile?: (path: string) => string;
}

export interface LoadedConfig {
  readonly config: Config;
  /** The source of each value, for people. */
  readonly sources: Readonly<Record<OptionName, string>>;
  /** Set by `--help` and `--print-config`: print this instead of starting a server. */
  readonly show: "config" | "help" | undefined;
}

export const optionNames = Object.keys(options) as OptionName[];

/** `unixSocket` -> `unix-socket`: the name in the file and, behind `--`, as a flag. */
export function flagOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `unixSocket` -> `ANNALS_UNIX_SOCKET`. */
export function variableOf(name: string): string {
  return `ANNALS_${flagOf(name).replaceAll("-", "_").toUpperCase()}`;
}

const byFlag = new Map(optionNames.map((name) => [flagOf(name), name]));
const byVariable = new Map(optionNames.map((name) => [variableOf(name), name]));

/** Throws ConfigError. */
export function loadConfig({ flags, environment, readFile }: ConfigInput): LoadedConfig {
  const values: Record<string, unknown> = {};
  const sources: Record<string, string> = {};
  for (const name of optionNames) {
    values[name] = options[name].initial;
    sources[name] = "default";
  }
  const set = (name: OptionName, value: unknown, source: string): void => {
    values[name] = value;
    sources[name] = source;
  };
  const fromFlags = parseFlags(flags);
  const file = fromFlags.file ?? environment["ANNALS_CONFIG"];
  if (file !== undefined) {
    const read = readFile ?? ((path: string) => readFileSync(path, "utf8"));
    for (const [name, value] of readConfigFile(file, read)) set(name, value, `file ${file}`);
  }
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !looksLikeOption(variable, text)) continue;
    const name = byVariable.get(variable);
    if (name === undefined) continue;
    set(name, parseText(name, text, variable), `environment ${variable}`);
  }
  for (const [name, value] of fromFlags.values) set(name, value, `flag --${flagOf(name)}`);
  const config = Object.freeze(values) as Config;
  const { show } = fromFlags;
  if (show !== "help") checkTogether(config);
  return { config, sources: sources as LoadedConfig["sources"], show };
}

/**
 * Whether a variable must be an option of this server, or is misspelled. Kubernetes sets variables
 * such as `ANNALS_PORT=tcp://10.0.0.1:7420` in every pod when there is a service named `annals`;
 * those are no options.
 */
export function looksLikeOption(variable: string, text: string): boolean {
  if (!variable.startsWith("ANNALS_")) return false;
  if (variable === "ANNALS_CONFIG" || variable === "ANNALS_ADDRESS") return false;
  if (/^ANNALS_(SERVICE_(HOST|PORT)|PORT_\d+_)/.test(variable)) return false;
  return !(variable === "ANNALS_PORT" && /^[a-z]+:\/\//.test(text));
}

interface Flags {
  readonly values: Map<OptionName, unknown>;
  readonly file: string | undefined;
  readonly show: "config" | "help" | undefined;
}

function parseFlags(flags: readonly string[]): Flags {
  const values = new Map<OptionName, unknown>();
  let file: string | undefined;
  let show: Flags["show"];
  const rest = [...flags];
  for (let flag = rest.shift(); flag !== undefined; flag = rest.shift()) {
    if (!flag.startsWith("-")) throw new ConfigError(`${flag}: is not an option`);
    const [given, text] = splitOnce(flag, "=");
    const takeValue = (): string => {
      const value = text ?? rest.shift();
      if (value === undefined) throw new ConfigError(`${given}: needs a value`);
      return value;
    };
    if (given === "--help" || given === "-h") show = "help";
    else if (given === "--print-config") show ??= "config";
    else if (given === "--config") file = takeValue();
    else {
      const { name, negated } = optionOf(given);
      if (values.has(name)) throw new ConfigError(`${given}: is given twice`);
      const isSwitch = options[name].type === "switch";
      const value = isSwitch ? (text ?? "true") : takeValue();
      if (negated && text !== undefined) throw new ConfigError(`${given}: takes no value`);
      const parsed = parseText(name, value, given);
      values.set(name, negated ? !parsed : parsed);
    }
  }
  return { values, file, show };
}

function optionOf(flag: string): { name: OptionName; negated: boolean } {
  const name = byFlag.get(flag.replace(/^--/, ""));
  if (name !== undefined && flag.startsWith("--")) return { name, negated: false };
  const positive = byFlag.get(flag.replace(/^--no-/, ""));
  if (positive !== undefined && options[positive].type === "switch" && flag.startsWith("--no-")) {
    return { name: positive, negated: true };
  }
  throw new ConfigError(`${flag}: there is no such option; see --help`);
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function readConfigFile(path: string, readFile: (path: string) => string): [OptionName, unknown][] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFile(path));
  } catch (error) {
    throw new ConfigError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new ConfigError(`${path}: is not a JSON object of options`);
  }
  return Object.entries(parsed).map(([flag, value]) => {
    const name = byFlag.get(flag);
    const where = `${path}: "${flag}"`;
    if (name === undefined) throw new ConfigError(`${where}: there is no such option`);
    return [name, checkValue(name, value, where)];
  });
}

/** The value of an option given as text. */
function parseText(name: OptionName, text: string, where: string): unknown {
  const { type } = options[name];
  if (type === "switch") {
    if (text === "true" || text === "false") return text === "true";
    throw new ConfigError(`${where}: is ${JSON.stringify(text)}, not true or false`);
  }
  if (type !== "number") return checkValue(name, text, where);
  return checkValue(name, /^\d{1,16}$/.test(text) ? Number(text) : text, where);
}

function checkValue(name: OptionName, value: unknown, where: string): unknown {
  const option: Option = options[name];
  const given = JSON.stringify(value);
  switch (option.type) {
    case "text":
      if (typeof value !== "string") throw new ConfigError(`${where}: is ${given}, not a text`);
      if (value !== "" || option.initial === "") return value;
      throw new ConfigError(`${where}: is empty`);
    case "switch":
      if (typeof value === "boolean") return value;
      throw new ConfigError(`${where}: is ${given}, not true or false`);
    case "choice":
      if (typeof value === "string" && option.choices.includes(value)) return value;
      throw new ConfigError(`${where}: is ${given}, not one of ${option.choices.join(", ")}`);
    case "number": {
      const { min, max } = option;
      const whole = typeof value === "number" && Number.isSafeInteger(value);
      if (whole && value >= min && value <= max) return value;
      throw new ConfigError(`${where}: is ${given}, not a whole number from ${min} to ${max}`);
    }
  }
}

/** The longest socket path that every system supports, without the terminating zero byte. */
const socketPathBytesMax = 103;

/** Checks that concern more than one option. */
function checkTogether(config: Config): void {
  const { tcp, host, allowRemote, unixSocket, tlsCert, tlsKey, tlsClientCa } = config;
  if (!tcp && unixSocket === "") throw new ConfigError("--no-tcp: needs a --unix-socket");
  if ((tlsCert === "") !== (tlsKey === "")) {
    throw new ConfigError("--tls-cert and --tls-key: one needs the other");
  }
  if (tlsClientCa !== "" && tlsCert === "") {
    throw new ConfigError("--tls-client-ca: needs --tls-cert and --tls-key");
  }
  if (tcp && !isLoopback(host) && !allowRemote) {
    throw new ConfigError(`--host: ${host} is reached by other machines; add --allow-remote`);
  }
  if (unixSocket !== "" && Buffer.byteLength(resolve(unixSocket)) > socketPathBytesMax) {
    throw new ConfigError(`--unix-socket: is longer than ${socketPathBytesMax} bytes`);
  }
}

/** Whether the address can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1" || host === "[::1]") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}
