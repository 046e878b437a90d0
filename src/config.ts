// The server's configuration: reads the options of options.ts from flags, the environment and a
// file. Precedence: flags, environment, file, defaults. Unknown options and
// invalid values are refused by name before the server starts.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { isIP } from "node:net";
import {
  flagOf,
  optionNames,
  options,
  variableOf,
  type Config,
  type Option,
  type OptionName,
} from "./options.ts";

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
  /** Where each value comes from, as a text for people. */
  readonly sources: Readonly<Record<OptionName, string>>;
  /** Set by `--help` and `--print-config`: print this instead of starting a server. */
  readonly show: "config" | "help" | undefined;
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

/** The variables of the configuration file and of the commands. */
export const otherVariables = [
  "ANNALS_CONFIG",
  "ANNALS_ADDRESS",
  "ANNALS_CONTEXT",
  "ANNALS_TOKEN",
  "ANNALS_TOKEN_FILE",
];

/**
 * Whether a variable must be an option of this server, or is misspelled. Kubernetes sets variables
 * such as `ANNALS_PORT=tcp://10.0.0.1:7420` in every pod when there is a service named `annals`;
 * those are no options.
 */
export function looksLikeOption(variable: string, text: string): boolean {
  if (!variable.startsWith("ANNALS_")) return false;
  if (otherVariables.includes(variable)) return false;
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
      const before = values.get(name);
      const isRepeatable = options[name].type === "choices";
      if (before !== undefined && !isRepeatable) throw new ConfigError(`${given}: is given twice`);
      const isSwitch = options[name].type === "switch";
      const value = isSwitch ? (text ?? "true") : takeValue();
      if (negated && text !== undefined) throw new ConfigError(`${given}: takes no value`);
      const parsed = parseText(name, value, given);
      const all = before === undefined ? parsed : `${before as string},${parsed as string}`;
      values.set(name, negated ? !parsed : all);
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
    case "choices": {
      const each = typeof value === "string" && value !== "" ? value.split(",") : [];
      if (value === "" || (each.length > 0 && each.every((one) => option.choices.includes(one)))) {
        return value;
      }
      throw new ConfigError(`${where}: is ${given}, not of ${option.choices.join(", ")}`);
    }
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
  checkMetricsListen(config);
  if (config.advertise !== "" && !/^.+:\d{1,5}$/.test(config.advertise)) {
    throw new ConfigError("--advertise: is not HOST:PORT");
  }
  for (const origin of config.corsOrigin.split(",")) {
    if (origin === "" ? config.corsOrigin !== "" : !/^(\*|https?:\/\/[^/\s]+)$/.test(origin)) {
      throw new ConfigError(`--cors-origin: is not like https://app.example.com: "${origin}"`);
    }
  }
  checkAccess(config);
  checkKeepTimes(config);
  checkFollow(config);
  checkStorage(config);
  if (unixSocket !== "" && Buffer.byteLength(resolve(unixSocket)) > socketPathBytesMax) {
    throw new ConfigError(`--unix-socket: is longer than ${socketPathBytesMax} bytes`);
  }
}

/** `HOST:PORT`, apart; an IPv6 address is in brackets. Undefined: it is not that. */
export function hostAndPort(address: string): { host: string; port: number } | undefined {
  const [, host, port] = /^(\[[\da-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65_535) return undefined;
  return { host, port: Number(port) };
}

function checkMetricsListen({ metricsListen, allowRemote }: Config): void {
  if (metricsListen === "") return;
  const where = hostAndPort(metricsListen);
  if (where === undefined) throw new ConfigError("--metrics-listen: is not HOST:PORT");
  if (isLoopback(where.host) || allowRemote) return;
  const remedy = "is reached by other machines; add --allow-remote";
  throw new ConfigError(`--metrics-listen: ${where.host} ${remedy}`);
}

function checkFollow(config: Config): void {
  const { follow, memory, acceptLoss, followTlsCert, followTlsKey } = config;
  if ((followTlsCert === "") !== (followTlsKey === "")) {
    throw new ConfigError("--follow-tls-cert and --follow-tls-key: one needs the other");
  }
  if (follow === "") return;
  if (memory) throw new ConfigError("--follow: needs a folder, not --memory");
  if (acceptLoss === "") return;
  throw new ConfigError("--accept-loss: a follower begins anew in an empty folder instead");
}

const storageForm = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
const storageUrl = /^postgres(ql)?:\/\/([^/?@]*@)?[^/?@]*(\/[^?]*)?(\?.*)?$/s;
const schemaName = /^(?!pg_)[^\p{Cc}"$]{1,63}$/u;

function checkStorage(config: Config): void {
  const { storage, storageRead, storageSchema, memory, follow, acceptLoss } = config;
  if (!schemaName.test(storageSchema) || Buffer.byteLength(storageSchema) > 63) {
    throw new ConfigError("--storage-schema: is not a name of at most 63 bytes without quotes");
  }
  if (storageRead !== "" && (storage === "" || !storageUrl.test(storageRead))) {
    const wrong = storage === "" ? "needs --storage" : `is not ${storageForm}`;
    throw new ConfigError(`--storage-read: ${wrong}`);
  }
  if (storage === "") return;
  if (!storageUrl.test(storage)) {
    throw new ConfigError(`--storage: is not ${storageForm}`);
  }
  if (memory) throw new ConfigError("--storage: contradicts --memory");
  if (follow !== "") throw new ConfigError("--storage: a follower keeps its copy in a folder");
  if (acceptLoss !== "") throw new ConfigError("--accept-loss: is for a store in a folder");
}

/** A URL for people to see. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^/?@:]*):[^/?@]*@/, "$1:***@");
}

/** Whether callers are asked who they are. */
export function asksWhoCalls({ tokensFile, accessFile }: Config): boolean {
  return tokensFile !== "" || accessFile !== "";
}

/** An address that others reach is not served to everybody unless that is said. */
function checkAccess(config: Config): void {
  const { tcp, host, auth, tlsClientCa } = config;
  if (!auth && asksWhoCalls(config)) {
    throw new ConfigError("--no-auth: contradicts --tokens-file and --access-file");
  }
  if (config.auditFile !== "" && !asksWhoCalls(config)) {
    throw new ConfigError("--audit-file: needs --tokens-file or --access-file");
  }
  if (!tcp || isLoopback(host) || !auth || tlsClientCa !== "" || asksWhoCalls(config)) return;
  const remedy = "add --tokens-file, --access-file or --tls-client-ca, or --no-auth to allow that";
  throw new ConfigError(
    `--host: everybody who reaches ${host} could read and delete events; ${remedy}`,
  );
}

/** Entries of the audit trail have the present time, and no older event could follow them. */
function checkKeepTimes(config: Config): void {
  if (!config.keepTimes) return;
  if (config.follow !== "") throw new ConfigError("--keep-times: a follower takes no events");
  if (!asksWhoCalls(config)) return;
  const what = "is for an import, before anybody else calls";
  throw new ConfigError(`--keep-times: ${what}: leave out --tokens-file and --access-file`);
}

/** Whether the address can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1" || host === "[::1]") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}
