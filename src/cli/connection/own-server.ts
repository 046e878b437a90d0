// Finds the server of this machine from the server's own settings. In its container or service,
// commands need neither an address nor TLS options.

import { readFileSync } from "node:fs";
import { defaultAddress, loopback } from "../../client/rpc/address.ts";
import { CommandError } from "../arguments/options.ts";
import type { Terminal } from "../output/terminal.ts";

export interface OwnServer {
  readonly address: string;
  /** Absent if the settings do not show that the server uses TLS. */
  readonly tls?: OwnTls | undefined;
}

export interface OwnTls {
  /** The server's own certificate in PEM. It is trusted as it is, for any host name. */
  readonly pinned: Uint8Array;
  /**
   * If the server requires client certificates, its own certificate is presented. Its authority may
   * not accept that.
   */
  readonly context: {
    readonly cert?: Uint8Array;
    readonly key?: Uint8Array;
    /** The certificate file may contain the certificate without its chain. */
    readonly allowPartialTrustChain: true;
  };
}

/** Reads `ANNALS_ADDRESS`, or else the environment that `annals serve` would use. */
export function ownServer(environment: Terminal["environment"]): OwnServer {
  const { ANNALS_ADDRESS, ANNALS_TCP, ANNALS_UNIX_SOCKET, ANNALS_PORT = "" } = environment;
  if (ANNALS_ADDRESS !== undefined) return { address: ANNALS_ADDRESS };
  if (ANNALS_TCP === "false" && ANNALS_UNIX_SOCKET) {
    return { address: `unix:${ANNALS_UNIX_SOCKET}` };
  }
  const address = /^\d+$/.test(ANNALS_PORT) ? `${loopback}:${ANNALS_PORT}` : defaultAddress;
  return { address, tls: ownTls(environment) };
}

function ownTls(environment: Terminal["environment"]): OwnTls | undefined {
  const { ANNALS_TLS_CERT, ANNALS_TLS_KEY, ANNALS_TLS_CLIENT_CA } = environment;
  if (!ANNALS_TLS_CERT) return undefined;
  const pinned = fileOf(ANNALS_TLS_CERT, "ANNALS_TLS_CERT");
  const shown =
    ANNALS_TLS_CLIENT_CA && ANNALS_TLS_KEY
      ? { cert: pinned, key: fileOf(ANNALS_TLS_KEY, "ANNALS_TLS_KEY") }
      : {};
  return { pinned, context: { ...shown, allowPartialTrustChain: true } };
}

function fileOf(path: string, variable: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CommandError(`${variable}: ${(error as Error).message}`, { cause: error });
  }
}
