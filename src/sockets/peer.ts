// The other end of a connection: its name, for logs and for limits by address, and its certificate.

import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
export function peerOf({ remoteAddress, remoteFamily, remotePort }: Socket): string {
  if (remoteAddress === undefined) return "unix";
  const host = remoteFamily === "IPv6" ? `[${remoteAddress}]` : remoteAddress;
  return `${host}:${remotePort}`;
}

/** Under mutual TLS, that of the client. */
export function certificateOf(socket: Socket): X509Certificate | undefined {
  return (socket as Partial<TLSSocket>).getPeerX509Certificate?.();
}
