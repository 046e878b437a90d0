// A command's connection to a server. It is made from the common options, closed when the command
// ends, and cancelled by Ctrl-C.

import { readFileSync } from "node:fs";
import { clientOf, type CallOptions, type ServiceClient } from "../../client/rpc/service-client.ts";
import {
  Connection,
  type ConnectionOptions,
  type TlsOptions,
} from "../../client/rpc/connection.ts";
import { BackupService } from "../../gen/annals/v1/backup_service_pb.js";
import { CheckpointService } from "../../gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../gen/annals/v1/stream_service_pb.js";
import { CommandError, durationMs, UsageError } from "../arguments/options.ts";
import { ownServer, type OwnServer } from "./own-server.ts";
import type { Terminal } from "../output/terminal.ts";

type Methods<Service> = Service extends { method: infer M } ? M : never;
export type EventStore = ServiceClient<Methods<typeof EventStoreService>>;

export interface Session {
  readonly address: string;
  readonly store: EventStore;
  readonly streams: ServiceClient<Methods<typeof StreamService>>;
  readonly groups: ServiceClient<Methods<typeof ConsumerGroupService>>;
  readonly checkpoints: ServiceClient<Methods<typeof CheckpointService>>;
  readonly backups: ServiceClient<Methods<typeof BackupService>>;
  /** For calls with one answer: `--timeout`, or 10 s. */
  readonly once: CallOptions;
  /** For streams: `--timeout` if it was given. */
  readonly streaming: CallOptions;
  readonly signal: AbortSignal;
}

export interface ConnectionValues {
  readonly address?: string | undefined;
  readonly timeout?: string | undefined;
  readonly tls?: boolean | undefined;
  readonly "tls-ca"?: string | undefined;
  readonly "tls-cert"?: string | undefined;
  readonly "tls-key"?: string | undefined;
  readonly "tls-server-name"?: string | undefined;
  readonly "token-file"?: string | undefined;
}

/** Of a call with one answer. */
export const timeoutDefaultMs = 10_000;

/** Runs `work` with a connected session, and then closes the session. */
export async function withSession<T>(
  values: ConnectionValues,
  terminal: Terminal,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const server = serverOf(values, terminal.environment);
  const { address } = server;
  const given = values.timeout === undefined ? undefined : durationMs(values.timeout, "--timeout");
  const connection = connect(server);
  const { signal } = terminal;
  try {
    return await work({
      address,
      store: clientOf(EventStoreService, connection),
      streams: clientOf(StreamService, connection),
      groups: clientOf(ConsumerGroupService, connection),
      checkpoints: clientOf(CheckpointService, connection),
      backups: clientOf(BackupService, connection),
      once: { signal, timeoutMs: given ?? timeoutDefaultMs },
      streaming: { signal, timeoutMs: given },
      signal,
    });
  } finally {
    connection.close();
  }
}

/** Where the server is, and what it is shown: by a command's options, or by its environment. */
export function serverOf(
  values: ConnectionValues,
  environment: Terminal["environment"],
): Pick<ConnectionOptions, "address" | "tls" | "token"> {
  const own = ownServer(environment);
  return {
    address: values.address ?? own.address,
    tls: tlsOf(values) ?? (values.address === undefined ? pinnedTo(own) : undefined),
    token: tokenOf(values["token-file"], environment),
  };
}

function pinnedTo({ tls }: OwnServer): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  const { cert, key } = tls.context;
  return { pinnedCertificate: tls.pinned, certificateChain: cert, privateKey: key };
}

/**
 * The token of the calls: from `--token-file`, `ANNALS_TOKEN_FILE` or `ANNALS_TOKEN`. A file is
 * read for each call, so that a long command gets the token that has replaced the first one.
 */
function tokenOf(
  file: string | undefined,
  environment: Terminal["environment"],
): ConnectionOptions["token"] {
  const { ANNALS_TOKEN: token, ANNALS_TOKEN_FILE: variable } = environment;
  const path = file ?? (variable === "" ? undefined : variable);
  if (path === undefined) return token === "" ? undefined : token;
  const option = file === undefined ? "ANNALS_TOKEN_FILE" : "--token-file";
  const read = (): string =>
    Buffer.from(contentOf(path, option) ?? [])
      .toString("utf8")
      .trim();
  read();
  return () => Promise.resolve(read());
}

function connect(options: ConnectionOptions): Connection {
  try {
    return new Connection(options);
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function tlsOf(values: ConnectionValues): TlsOptions | undefined {
  const rootCertificates = contentOf(values["tls-ca"], "--tls-ca");
  const certificateChain = contentOf(values["tls-cert"], "--tls-cert");
  const privateKey = contentOf(values["tls-key"], "--tls-key");
  const serverName = values["tls-server-name"];
  if ((certificateChain === undefined) !== (privateKey === undefined)) {
    throw new UsageError("--tls-cert and --tls-key go together");
  }
  const any = rootCertificates ?? certificateChain ?? serverName ?? values.tls;
  if (any === undefined) return undefined;
  return { rootCertificates, certificateChain, privateKey, serverName };
}

function contentOf(path: string | undefined, option: string): Uint8Array | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CommandError(`${option}: ${(error as Error).message}`, { cause: error });
  }
}
