// Where the server of this machine is, by its own settings: in its container or unit the commands
// need no others, neither for the address nor for TLS.

import { readFileSync } from "node:fs";
import { defaultAddress, loopback } from "../client/rpc/address.ts";
import { CommandError } from "./options.ts";
import type { Terminal } from "./terminal.ts";

export interface OwnServer {
  readonly address: string;
  /** Absent: it is not known to speak TLS. */
  readonly tls?: OwnTls | undefined;
}

export interface OwnTls {
  /** The server's own certificate, in PEM: trusted as it is, under whatever name it was issued. */
  readonly pinned: Uint8Array;
  /**
   * Where the server asks for client certificates its own is shown. Whether that is accepted
   * depends on its authority.
   */
  readonly context: {
    readonly cert?: Uint8Array;
    readonly key?: Uint8Array;
    /** The certificate itself may be all there is of its chain. */
    readonly allowPartialTrustChain: true;
  };
}

/** `ANNALS_ADDRESS`, or what `annals serve` was told in its environment. */
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
