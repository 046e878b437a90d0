// Calls by other protocols than gRPC: finds out which one a request speaks, and makes it a call as
// gRPC does, in that protocol's format.

import { invalidField } from "../../domain/errors.ts";
import { nearTo } from "../../domain/near.ts";
import type { Http2Stream, StreamHandler } from "../../http2/api.ts";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import { failed, type CallEnvironment } from "../transport/call-environment.ts";
import { acceptedEncodings, type CallFormat } from "../transport/call-format.ts";
import { GrpcCall } from "../transport/call.ts";
import { compressions } from "../transport/grpc-server.ts";
import type { Compression } from "../transport/inflate.ts";
import type { Method, Methods } from "../transport/methods.ts";
import type { RequestDeadlines } from "../transport/request-deadlines.ts";
import { StatusCode, StatusError } from "../transport/status.ts";
import { parseTimeout } from "../transport/timeout.ts";
import { shorten } from "../transport/wire-text.ts";
import {
  connectTimeout,
  messageOfQuery,
  streamFormat,
  unaryFormat,
  type Codec,
} from "./connect.ts";
import { grpcWebFormat } from "./grpc-web.ts";
import { respondWithError, unheardOn, type Fields } from "./http-status.ts";
import { judgeOrigin, preflightFields, type Origins } from "./origins.ts";

interface WebOptions {
  readonly methods: Methods;
  readonly receiveBytesMax: number;
  readonly deadlines: RequestDeadlines;
}

/** What a request says of its call. */
interface Spoken {
  readonly method: Method;
  readonly format: CallFormat;
  readonly timeoutMs: number | undefined;
  /** The value of the header that says how the request is compressed. */
  readonly encoding: string | undefined;
}

type Headers = Http2Stream["headers"];

const pathCharsMax = 128;
const accepted =
  "application/json, application/proto, application/connect+json, application/connect+proto, " +
  "application/grpc-web, application/grpc-web-text, application/grpc";

export class WebCalls {
  private readonly options: WebOptions;
  private readonly origins: Origins;
  private readonly environment: CallEnvironment;

  constructor(options: WebOptions, origins: Origins, environment: CallEnvironment) {
    this.options = options;
    this.origins = origins;
    this.environment = environment;
  }

  /** Serves a request that is no gRPC. */
  onStream(stream: Http2Stream): StreamHandler {
    const judged = judgeOrigin(stream, this.origins);
    if ("httpStatus" in judged) {
      const { httpStatus, message } = judged;
      return this.refuse(stream, refused(StatusCode.PERMISSION_DENIED, httpStatus, message), []);
    }
    if (stream.headers.get(":method") === "OPTIONS") {
      const fields = [[":status", "204"], ...preflightFields(stream), ...judged] as const;
      stream.respond(encodeHeaders(fields), true);
      return unheardOn(stream);
    }
    try {
      return this.call(stream, this.spoken(stream, judged));
    } catch (error) {
      return this.refuse(stream, error, judged);
    }
  }

  private call(stream: Http2Stream, { method, format, timeoutMs, encoding }: Spoken): GrpcCall {
    const { receiveBytesMax, deadlines } = this.options;
    const compression = compressionOf(encoding);
    const isRepeated = stream.headers.get("grpc-previous-rpc-attempts") !== undefined;
    const incoming = { compression, receiveBytesMax, isOneRequest: true, format, deadlines };
    return new GrpcCall(stream, method, { timeoutMs, isRepeated, ...incoming }, this.environment);
  }

  private spoken({ headers }: Http2Stream, more: Fields): Spoken {
    const [path = "", query = ""] = splitAt(headers.get(":path") ?? "", "?");
    const method = this.methodAt(path);
    const httpMethod = headers.get(":method") ?? "";
    const isByGet = method.isSafe && method.kind === "unary";
    if (httpMethod === "GET" && isByGet) return this.byGet(method, query, headers, more);
    if (httpMethod !== "POST") throw notAllowed(httpMethod, isByGet ? "GET, POST" : "POST");
    if (method.kind === "client_streaming" || method.kind === "bidi_streaming") {
      const message = `${method.path} is a stream of requests, which needs gRPC`;
      throw refused(StatusCode.UNIMPLEMENTED, 501, message);
    }
    const type = (splitAt(headers.get("content-type") ?? "", ";")[0] ?? "").trim().toLowerCase();
    const web = /^application\/grpc-web(-text)?(\+proto)?$/.exec(type);
    if (web !== null) {
      const format = grpcWebFormat(web[1] !== undefined, this.options.receiveBytesMax, more);
      const timeoutMs = grpcTimeout(headers.get("grpc-timeout"));
      return { method, format, timeoutMs, encoding: headers.get("grpc-encoding") };
    }
    return this.byConnect(method, type, headers, more);
  }

  private byConnect(method: Method, type: string, headers: Headers, more: Fields): Spoken {
    const [, prefix, name] = /^application\/(connect\+)?(json|proto)$/.exec(type) ?? [];
    const isOne = method.kind === "unary";
    if (name === undefined || (prefix === undefined) !== isOne) {
      const right = isOne ? "application/json" : "application/connect+json";
      const why =
        name === undefined ? "" : `, as ${method.path} has ${isOne ? "one answer" : "many"}`;
      const message = `content-type: not ${JSON.stringify(shorten(type, 64))}: send ${right}${why}`;
      throw refused(StatusCode.UNIMPLEMENTED, 415, message, [["accept-post", accepted]]);
    }
    const codec: Codec = name === "json" ? "json" : "proto";
    const timeoutMs = connectTimeout(headers.get("connect-timeout-ms"));
    if (!isOne) {
      const encoding = headers.get("connect-content-encoding");
      return { method, format: streamFormat(method, codec, more), timeoutMs, encoding };
    }
    const format = unaryFormat(method, codec, this.options.receiveBytesMax, more);
    return { method, format, timeoutMs, encoding: headers.get("content-encoding") };
  }

  private byGet(method: Method, query: string, headers: Headers, more: Fields): Spoken {
    const { codec, message } = messageOfQuery(new URLSearchParams(query));
    const { decode, answers } = unaryFormat(method, codec, this.options.receiveBytesMax, more);
    const format = { wholeBytesMax: 0, decode: () => decode?.(message) ?? message, answers };
    const timeoutMs = connectTimeout(headers.get("connect-timeout-ms"));
    return { method, format, timeoutMs, encoding: undefined };
  }

  private methodAt(path: string): Method {
    const { methods } = this.options;
    const method = methods.get(path);
    if (method !== undefined) return method;
    const like = nearTo(path, methods.keys());
    const hint = like === undefined ? "" : `; did you mean ${like}?`;
    const shown = shorten(JSON.stringify(path), pathCharsMax);
    throw refused(StatusCode.UNIMPLEMENTED, 404, `there is nothing at ${shown}${hint}`);
  }

  /** It is no call: nothing that is told of calls has begun. */
  private refuse(stream: Http2Stream, error: unknown, more: Fields): StreamHandler {
    const { peer } = stream.connection;
    const path = shorten(stream.headers.get(":path") ?? "", pathCharsMax);
    const own = error instanceof RefusedRequest ? error.fields : [];
    const status = failed(this.environment, path, { peer }, error);
    respondWithError(stream, status, [...own, ...more]);
    return unheardOn(stream);
  }
}

/** What is refused before it is a call. */
class RefusedRequest extends StatusError {
  readonly fields: Fields;

  constructor(code: StatusCode, httpStatus: number, message: string, fields: Fields) {
    const reason = code === StatusCode.UNIMPLEMENTED ? "UNIMPLEMENTED" : undefined;
    super(code, message, reason, { httpStatus });
    this.fields = fields;
  }
}

function refused(
  code: StatusCode,
  httpStatus: number,
  message: string,
  fields: Fields = [],
): RefusedRequest {
  return new RefusedRequest(code, httpStatus, message, fields);
}

function notAllowed(method: string, allow: string): RefusedRequest {
  const message = `not by ${shorten(method, 32)}, but by ${allow}`;
  return refused(StatusCode.UNIMPLEMENTED, 405, message, [["allow", allow]]);
}

function compressionOf(encoding = "identity"): Compression | undefined {
  if (Object.hasOwn(compressions, encoding)) return compressions[encoding];
  const message = `of these, not ${shorten(encoding, 32)}: ${acceptedEncodings}`;
  throw refused(StatusCode.UNIMPLEMENTED, 415, message, [["accept-encoding", acceptedEncodings]]);
}

function grpcTimeout(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = parseTimeout(header);
  if (ms === undefined) throw invalidField("grpc-timeout", "is not a number and a unit of time");
  return ms === Infinity ? undefined : ms;
}

function splitAt(text: string, mark: string): string[] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
