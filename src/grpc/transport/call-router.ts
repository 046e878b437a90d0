// The door: every HTTP/2 stream passes here first. It names unknown methods with a proper status,
// reads the deadline (see timeout.ts), sends the call on its way, direct or through grpc-js, and is
// the last net: what a request makes either throw ends that stream and not the process.
//
// grpc-js has no public seam here. The two inner members used (its HTTP/2 servers and their common
// options) are checked when the server binds; its version is pinned.

import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { invariant } from "../../domain/errors.ts";
import { DirectOne } from "./direct-one.ts";
import { DirectPipe } from "./direct-pipe.ts";
import { headersOf, statusHeaders } from "./direct.ts";
import type { CallEnvironment } from "./call-environment.ts";
import type { BoundServer, Methods } from "./bind.ts";
import { StatusCode, StatusError } from "./status.ts";
import { parseTimeout, timeoutHeader } from "./timeout.ts";
import { shorten } from "./wire-text.ts";

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** Watched already: a server may bind several addresses. */
const watched = new WeakSet<Http2Server>();

/**
 * Stands before every address the server has bound so far. To be called in the same turn as the
 * binding's answer.
 */
export function routeCalls(bound: BoundServer, environment: CallEnvironment): void {
  const servers: unknown = bound.server["http2Servers"];
  invariant(servers instanceof Map, "grpc-js keeps its HTTP/2 servers in a map");
  for (const http2Server of servers.keys() as Iterable<Http2Server>) {
    if (watched.has(http2Server)) continue;
    watched.add(http2Server);
    const listeners = http2Server.listeners("stream") as StreamListener[];
    const [inner] = listeners;
    invariant(listeners.length === 1 && inner !== undefined, "grpc-js listens for streams once");
    http2Server.removeListener("stream", inner);
    http2Server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      enter(stream, headers, inner, bound, environment);
    });
    http2Server.on("sessionError", (error: Error) => {
      environment.logger.debug("connection failed", { error });
    });
    // Without a listener, running out of file descriptors would end the process.
    http2Server.on("error", (error: Error) => {
      environment.logger.error("a connection could not be accepted", { error });
    });
  }
}

/**
 * Streams a connection may reset at once and per second. Node's default of 1,000 and 33 would cut
 * off an honest client that drops ten thousand subscriptions in one go.
 */
const allowedResets = { streamResetBurst: 20_000, streamResetRate: 1_000 };

/** To be called before the server listens. */
export function allowResets(server: Server): void {
  const options: unknown = server["commonServerOptions"];
  invariant(typeof options === "object" && options !== null, "grpc-js keeps its HTTP/2 options");
  Object.assign(options, allowedResets);
}

function enter(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  inner: StreamListener,
  bound: BoundServer,
  environment: CallEnvironment,
): void {
  stream.once("aborted", letGo);
  try {
    const { methods } = bound;
    const examined = examine(headers, methods);
    if (examined instanceof StatusError) return refuse(stream, examined);
    const direct = isPlain(headers) ? methods.get(headers[":path"] as string) : undefined;
    if (direct !== undefined) {
      if ("one" in direct) void new DirectOne(stream, direct.one, examined, bound);
      else direct.pipe(new DirectPipe(stream, examined, bound));
      return;
    }
    if (examined !== undefined) headers[timeoutHeader] = `${examined}`;
    inner(stream, headers);
  } catch (error) {
    environment.logger.error("a request could not be taken", { path: headers[":path"], error });
    if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/**
 * The client reset its stream. With the code NO_ERROR, as Node's own client does it, Node would
 * wait for ever to write what nobody takes: neither the call nor its connection would ever end.
 */
function letGo(this: ServerHttp2Stream): void {
  process.nextTick(() => this.destroy());
}

/** Why the request is refused, if it is; else how many milliseconds it has, if it says so. */
function examine(headers: IncomingHttpHeaders, methods: Methods): StatusError | number | undefined {
  delete headers[timeoutHeader];
  // Anything but gRPC is left to grpc-js, which answers it with HTTP 415.
  if (!isGrpc(headers)) return undefined;
  const path = headers[":path"] ?? "";
  if (!methods.has(path)) {
    const message = `there is no method ${shorten(JSON.stringify(path), 128)}`;
    return new StatusError(StatusCode.UNIMPLEMENTED, message, "UNIMPLEMENTED");
  }
  const timeout = headers["grpc-timeout"];
  if (timeout === undefined) return undefined;
  delete headers["grpc-timeout"];
  const ms = parseTimeout(String(timeout));
  if (ms === undefined) {
    return new StatusError(
      StatusCode.INVALID_ARGUMENT,
      "grpc-timeout: not a number and a unit of time",
    );
  }
  return ms === Infinity ? undefined : ms;
}

function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers["content-type"]?.startsWith("application/grpc") === true;
}

/** Whether grpc-js has nothing to do for it. */
function isPlain(headers: IncomingHttpHeaders): boolean {
  const encoding = headers["grpc-encoding"];
  return (encoding === undefined || encoding === "identity") && isGrpc(headers);
}

function refuse(stream: ServerHttp2Stream, { status }: StatusError): void {
  stream.on("error", () => {});
  stream.resume();
  stream.respond({ ...statusHeaders, ...headersOf(status) }, { endStream: true });
}
