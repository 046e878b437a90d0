// The name of a connection's other end, for logs and for limits by address.

import type { Socket } from "node:net";

/** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
export function peerOf({ remoteAddress, remoteFamily, remotePort }: Socket): string {
  if (remoteAddress === undefined) return "unix";
  return remoteFamily === "IPv6"
    ? `[${remoteAddress}]:${remotePort}`
    : `${remoteAddress}:${remotePort}`;
}
