// Requests of plain HTTP to a server of a test: the answer with its body, and frames of Connect.
import { request as byHttp, type IncomingHttpHeaders } from "node:http";
import { connect as connectHttp2 } from "node:http2";

export interface HttpAnswered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON. */
  readonly json: () => Record<string, unknown>;
}

export interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

function answered(status: number, headers: IncomingHttpHeaders, body: Buffer): HttpAnswered {
  return {
    status,
    headers,
    body,
    json: () => JSON.parse(body.toString()) as Record<string, unknown>,
  };
}

/** `address` is HOST:PORT, or `unix:` and a path. */
export function ask(address: string, path: string, asked: Asked = {}): Promise<HttpAnswered> {
  const { method = asked.body === undefined ? "GET" : "POST", headers = {}, body } = asked;
  const colon = address.lastIndexOf(":");
  const where = address.startsWith("unix:")
    ? { socketPath: address.slice(5) }
    : { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  return new Promise((resolve, reject) => {
    const request = byHttp({ ...where, path, method, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part)).on("error", reject);
      response.on("end", () =>
        resolve(answered(response.statusCode ?? 0, response.headers, Buffer.concat(parts))),
      );
    });
    request.on("error", reject).end(body);
  });
}

/** By HTTP/2 without TLS. */
export function askByHttp2(
  address: string,
  path: string,
  asked: Asked = {},
): Promise<HttpAnswered> {
  const { method = asked.body === undefined ? "GET" : "POST", headers = {}, body } = asked;
  const session = connectHttp2(`http://${address}`);
  return new Promise<HttpAnswered>((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({ ...headers, ":method": method, ":path": path });
    let head: IncomingHttpHeaders & { ":status"?: number | undefined } = {};
    const parts: Buffer[] = [];
    stream.on("response", (came) => (head = came));
    stream.on("data", (part: Buffer) => parts.push(part)).on("error", reject);
    stream.on("end", () => resolve(answered(head[":status"] ?? 0, head, Buffer.concat(parts))));
    stream.end(body);
  }).finally(() => session.close());
}

export function askJson(address: string, method: string, message: unknown, more: Asked = {}) {
  const headers = { "content-type": "application/json", ...more.headers };
  const body = typeof message === "string" ? message : JSON.stringify(message);
  return ask(address, `/annals.v1.${method}`, { ...more, headers, body });
}

export interface Enveloped {
  readonly flags: number;
  readonly message: Buffer;
}

export function envelopesIn(body: Buffer): Enveloped[] {
  const found: Enveloped[] = [];
  for (let at = 0; at < body.length;) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    found.push({ flags: body[at] as number, message: body.subarray(at + 5, end) });
    at = end;
  }
  return found;
}
