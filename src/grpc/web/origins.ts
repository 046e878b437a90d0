// Which pages of browsers may make calls. A browser sends what any page asks it to. A server on the
// user's own machine is therefore reached by every site the user visits: by a request to another
// origin, which CORS and the check of `origin` refuse, or under a name of the site's own that leads
// to this machine (DNS rebinding), which the check of the host refuses.

import { isIP } from "node:net";
import type { Http2Stream } from "../../http2/api.ts";
import type { Fields } from "./http-status.ts";

export interface Origins {
  /** As `https://app.example.com`, which may make calls from there. Or `*`: all. */
  readonly allowed: readonly string[];
  /**
   * Nothing but the network says who calls: no credential is asked for, and a connection is in the
   * clear.
   */
  readonly isOpen: boolean;
}

export interface Refusal {
  readonly httpStatus: 403 | 421;
  readonly message: string;
}

/** `allowed` as in `--cors-origin`. */
export function originsOf(allowed: string, isOpen: boolean): Origins {
  return { allowed: allowed === "" ? [] : allowed.split(","), isOpen };
}

const methods = "GET, HEAD, POST, OPTIONS";
const exposed = "grpc-status, grpc-message, grpc-status-details-bin, retry-after, www-authenticate";
/** Seconds for which a browser need not ask again. */
const maxAge = "7200";

/** The fields for the answers to a request, or why it is refused. */
export function judgeOrigin(stream: Http2Stream, origins: Origins): Fields | Refusal {
  const { headers, connection } = stream;
  const origin = headers.get("origin");
  const host = headers.get(":authority") ?? headers.get("host") ?? "";
  const isAllowed =
    origin !== undefined && (origins.allowed.includes(origin) || origins.allowed.includes("*"));
  if (origin !== undefined && !isAllowed && hostOf(origin) !== host.toLowerCase()) {
    const message = `pages of ${origin} may not make calls; --cors-origin names those that may`;
    return { httpStatus: 403, message };
  }
  if (origins.isOpen && connection.peer !== "unix" && !isTrusted(host, origins)) {
    const message =
      `this server does not ask who calls, and serves ${JSON.stringify(host)} to no browser: ` +
      `use an IP address or localhost, or name http://${host} in --cors-origin`;
    return { httpStatus: 421, message };
  }
  if (!isAllowed) return [];
  return [
    ["access-control-allow-origin", origin],
    ["access-control-expose-headers", exposed],
    ["vary", "origin"],
  ];
}

/** The answer to the question that a browser asks before the request itself. */
export function preflightFields(stream: Http2Stream): Fields {
  const asked = stream.headers.get("access-control-request-headers") ?? "";
  return [
    ["access-control-allow-methods", methods],
    ...(asked === "" ? [] : [["access-control-allow-headers", asked] as const]),
    ["access-control-max-age", maxAge],
  ];
}

/** Names that no site can make lead elsewhere. */
function isTrusted(host: string, { allowed }: Origins): boolean {
  const name = host.toLowerCase().replace(/:\d+$/, "");
  if (isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0) return true;
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  return allowed.includes("*") || allowed.some((one) => hostOf(one) === host.toLowerCase());
}

/** With its port. Empty: it is no origin, such as `null`. */
function hostOf(origin: string): string {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase() ?? "";
}
