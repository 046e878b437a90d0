// The head of an answer by HTTP/1.1: its status and its fields as text.
// Source: RFC 9112, section 4; RFC 9110, sections 6.6.1 and 15.

import type { HeaderBlock } from "../http2/hpack-encoder.ts";

/** What becomes of the connection: it ends, or it is kept for so many seconds. */
export type Afterwards = "close" | { readonly keptSeconds: number };

const phrases: Readonly<Record<string, string>> = {
  200: "OK",
  204: "No Content",
  304: "Not Modified",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** The first field is `:status`. Characters are bytes (latin1). */
export function answerHead(fields: HeaderBlock["fields"], afterwards: Afterwards): string {
  let text = dateLine();
  let status = "500";
  for (const [name, value] of fields) {
    if (name === ":status") status = value;
    else text += `${name}: ${value}\r\n`;
  }
  const connection =
    afterwards === "close"
      ? "connection: close\r\n"
      : `connection: keep-alive\r\nkeep-alive: timeout=${afterwards.keptSeconds}\r\n`;
  return `HTTP/1.1 ${status} ${phrases[status] ?? ""}\r\n${text}${connection}\r\n`;
}

let date = "";
let dateMs = 0;

/** Made once a second. */
function dateLine(): string {
  const nowMs = Date.now();
  if (nowMs - dateMs >= 1_000 || nowMs < dateMs) {
    dateMs = nowMs - (nowMs % 1_000);
    date = `date: ${new Date(nowMs).toUTCString()}\r\n`;
  }
  return date;
}
