// Explains to an operator, in one line, why a server did not start, with the option and the remedy.
// Any other error is a bug, whose stack says more.

import { flagOf, variableOf, type Config, type OptionName } from "../../options.ts";
import { FileFaults } from "../../access/json-lines.ts";
import { StoreRefused } from "../../storage/leveldb/folder/store-refused.ts";
import { DatabaseRefused } from "../../storage/postgres/sessions/database-refused.ts";
import { osErrorText } from "../output/os-error.ts";

const accessFiles = ["accessFile", "tokensFile"] as const;
const certificates = ["tlsCert", "tlsKey", "tlsClientCa"] as const;

/** Undefined if the error is a bug. */
export function startFailure(error: unknown, config: Config): string | undefined {
  if (error instanceof StoreRefused) return error.message;
  if (error instanceof DatabaseRefused) return `${named("storage")}: ${error.message}`;
  if (error instanceof FileFaults) {
    return `${accessFiles.map(named).join(", ")}: cannot be used\n${error.message}`;
  }
  const causes = causesOf(error);
  const texts = causes.map(({ message }) => message).join("\n");
  const listening = /\blisten (E[A-Z]+)/.exec(texts)?.[1];
  if (listening !== undefined) return listenFailure(listening, texts, config);
  const unread = [...certificates, ...accessFiles].find(
    (name) => config[name] && texts.includes(`'${config[name]}'`),
  );
  const os = causes.map(osErrorText).find((text) => text !== undefined);
  if (unread !== undefined && os !== undefined) return `${named(unread)}: ${os}`;
  const [unfit] = /^certificate files .*$/m.exec(texts) ?? [];
  if (unfit !== undefined) return `${certificates.map(named).join(", ")}: ${unfit}`;
  return os === undefined ? undefined : `${named("data")}: ${os}`;
}

function causesOf(error: unknown): Error[] {
  return error instanceof Error ? [error, ...causesOf(error.cause)] : [];
}

/** The option on the command line and in the environment. */
function named(name: OptionName): string {
  return `--${flagOf(name)} (${variableOf(name)})`;
}

function listenFailure(code: string, texts: string, config: Config): string {
  const { host, port, unixSocket, metricsListen } = config;
  if (metricsListen !== "" && texts.includes(`on ${metricsListen}:`)) {
    const why = code === "EADDRINUSE" ? "another process listens there" : code;
    return `${named("metricsListen")}: cannot listen on ${metricsListen}: ${why}; choose another`;
  }
  if (unixSocket !== "" && texts.includes(unixSocket)) {
    const why = code === "EACCES" ? "this process may not create it there" : code;
    return `${named("unixSocket")}: cannot listen on ${unixSocket}: ${why}`;
  }
  switch (code) {
    case "EADDRINUSE":
      return (
        `another process listens on ${host}, port ${port}: ` +
        `stop that one, or choose another port with ${named("port")}`
      );
    case "EADDRNOTAVAIL":
      return `${named("host")}: this machine has no address ${host}`;
    case "EACCES":
      return (
        `${named("port")}: this process may not listen on port ${port}: ` +
        "choose one from 1024 on, or give it the right (CAP_NET_BIND_SERVICE)"
      );
    default:
      return `${named("host")}, ${named("port")}: cannot listen on ${host}, port ${port}: ${code}`;
  }
}
