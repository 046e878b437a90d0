// The connection of a follower to its leader, by the options of `annals serve`.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { clientOf } from "../client/rpc/service-client.ts";
import { Connection, type TlsOptions } from "../client/rpc/connection.ts";
import { BackupService } from "../gen/annals/v1/backup_service_pb.js";
import type { CopiedStore } from "../storage/copy.ts";
import { copyFrom, type Backups } from "./copy-messages.ts";

/** Empty texts are not set. */
export interface LeaderOptions {
  readonly follow: string;
  readonly followTokenFile: string;
  readonly followTls: boolean;
  readonly followTlsCa: string;
  readonly followTlsCert: string;
  readonly followTlsKey: string;
  readonly followTlsServerName: string;
}

export interface Leader {
  readonly address: string;
  readonly backups: Backups;
  close(): void;
}

/** Throws if a file cannot be read. */
export function leaderOf(options: LeaderOptions): Leader {
  const { follow: address, followTokenFile } = options;
  // Read for each call, so that a token that was replaced is not shown for ever.
  const token = (): string => readFileSync(followTokenFile, "utf8").trim();
  if (followTokenFile !== "") token();
  const connection = new Connection({
    address,
    tls: tlsOf(options),
    ...(followTokenFile !== "" && { token }),
  });
  const backups = clientOf(BackupService, connection);
  return { address, backups, close: () => connection.close() };
}

function tlsOf(options: LeaderOptions): TlsOptions | undefined {
  const { followTls, followTlsCa, followTlsCert, followTlsKey, followTlsServerName } = options;
  const content = (path: string): Uint8Array | undefined =>
    path === "" ? undefined : readFileSync(path);
  const any = followTls || `${followTlsCa}${followTlsCert}${followTlsServerName}` !== "";
  if (!any) return undefined;
  return {
    rootCertificates: content(followTlsCa),
    certificateChain: content(followTlsCert),
    privateKey: content(followTlsKey),
    serverName: followTlsServerName === "" ? undefined : followTlsServerName,
  };
}

const retryMs = 1_000;

/** What a leader says of its store. Waits until one answers, or throws the signal's reason. */
export async function storeOfLeader(
  { backups }: Leader,
  waiting: (why: string) => void,
  signal?: AbortSignal,
): Promise<CopiedStore> {
  for (;;) {
    try {
      const start = { position: 0, chain: new Uint8Array(), cursor: "", follow: false };
      const parts = copyFrom(backups, start, { signal });
      const first = await parts.next();
      await parts.return(undefined);
      if (first.value?.kind === "begin") return first.value.store;
    } catch (error) {
      signal?.throwIfAborted();
      waiting((error as Error).message);
    }
    await sleep(retryMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}
