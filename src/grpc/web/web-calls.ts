// Calls by other protocols than gRPC: finds out which one a request speaks, and makes it a call as
// gRPC does, in that protocol's format.

import { fromBinary } from "@bufbuild/protobuf";
import { invalidField } from "../../domain/errors.ts";
import { nearTo } from "../../domain/near.ts";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import type { Http2Stream, StreamHandler } from "../../http2/api.ts";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import { errorCode } from "../../http2/protocol.ts";
import { failed, type CallEnvironment } from "../transport/call-environment.ts";
import { acceptedEncodings, type CallFormat } from "../transport/call-format.ts";
import { GrpcCall } from "../transport/call.ts";
import { compressions, unheardOn } from "../transport/grpc-server.ts";
import type { Compression } from "../transport/inflate.ts";
import type { Method, Methods } from "../transport/methods.ts";
import type { RequestTimes } from "../transport/request-deadlines.ts";
import { StatusCode, StatusError } from "../transport/status.ts";
import { parseTimeout } from "../transport/timeout.ts";
import { shorten } from "../transport/wire-text.ts";
import {
  appendOfCloudEvents,
  CloudEventList,
  OneCloudEvent,
  readOfUrl,
} from "./cloud-event-answers.ts";
import {
  connectTimeout,
  messageOfQuery,
  streamFormat,
  unaryFormat,
  type Codec,
} from "./connect.ts";
import { EventSourceAnswers, requestOfUrl, type EventText } from "./event-source.ts";
import { grpcWebFormat } from "./grpc-web.ts";
import { respondWhole, respondWithError, type Fields } from "./http-status.ts";
import type { Mcp } from "./mcp.ts";
import { judgeOrigin, preflightFields, type Origins } from "./origins.ts";
import { toldOf, writeStructured } from "./recorded-cloud-event.ts";

interface WebOptions {
  readonly methods: Methods;
  readonly receiveBytesMax: number;
  readonly requestTimes: RequestTimes;
  readonly origins: Origins;
  readonly storeId: string;
  /** Absent: it is not served. */
  readonly mcp: Mcp | undefined;
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

const eventStore = "/annals.v1.EventStoreService/";
const cloudEventTypes = "application/cloudevents+json, application/cloudevents-batch+json";
const pathCharsMax = 128;
const accepted =
  "application/json, application/proto, application/connect+json, application/connect+proto, " +
  "application/grpc-web, application/grpc-web-text, application/grpc";

export class WebCalls {
  private readonly options: WebOptions;
  private readonly environment: CallEnvironment;
  /** Of events that did not come as CloudEvents. */
  private readonly source: string;
  private readonly cloudEventText: EventText;

  constructor(options: WebOptions, environment: CallEnvironment) {
    this.options = options;
    this.source = `urn:uuid:${options.storeId}`;
    this.environment = environment;
    this.cloudEventText = (record, out) =>
      writeStructured(toldOf(fromBinary(RecordedEventSchema, record), this.source), out);
  }

  /** Serves a request that is no gRPC. */
  onStream(stream: Http2Stream): StreamHandler {
    const judged = judgeOrigin(stream, this.options.origins);
    if ("httpStatus" in judged) {
      const { httpStatus, message } = judged;
      return this.refuse(stream, refused(StatusCode.PERMISSION_DENIED, httpStatus, message), []);
    }
    if (stream.headers.get(":method") === "OPTIONS") {
      const fields = [[":status", "204"], ...preflightFields(stream), ...judged] as const;
      stream.respond(encodeHeaders(fields), true);
      return unheardOn(stream);
    }
    if (stream.headers.get(":path") === "/openapi.json") return this.contract(stream, judged);
    const { mcp } = this.options;
    try {
      if (mcp !== undefined && stream.headers.get(":path") === "/mcp") {
        mustBe(stream.headers, "POST");
        return mcp.onStream(stream, judged);
      }
      return this.call(stream, this.spoken(stream, judged));
    } catch (error) {
      return this.refuse(stream, error, judged);
    }
  }

  /** The contract, for people and tools. It is public, and loaded with the first request for it. */
  private contract(stream: Http2Stream, more: Fields): StreamHandler {
    const method = stream.headers.get(":method") ?? "";
    if (method !== "GET") return this.refuse(stream, notAllowed(method, "GET"), more);
    void tellContract(stream, more);
    return unheardOn(stream);
  }

  private call(stream: Http2Stream, { method, format, timeoutMs, encoding }: Spoken): GrpcCall {
    const { receiveBytesMax, requestTimes } = this.options;
    const compression = compressionOf(encoding);
    const isRepeated = stream.headers.get("grpc-previous-rpc-attempts") !== undefined;
    const incoming = { compression, receiveBytesMax, isOneRequest: true, format, requestTimes };
    return new GrpcCall(stream, method, { timeoutMs, isRepeated, ...incoming }, this.environment);
  }

  private spoken({ headers }: Http2Stream, more: Fields): Spoken {
    const [path = "", query = ""] = splitAt(headers.get(":path") ?? "", "?");
    if (path === "/v1/subscribe") return this.eventSource(query, headers, more);
    if (path === "/v1/events" || path.startsWith("/v1/events/")) {
      return this.cloudEvents(path, query, headers, more);
    }
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

  private eventSource(query: string, headers: Headers, more: Fields): Spoken {
    mustBe(headers, "GET");
    const { request, isCloudEvents } = requestOfUrl(query, headers.get("last-event-id"));
    const answers = new EventSourceAnswers(more, isCloudEvents ? this.cloudEventText : undefined);
    return this.made("Subscribe", request, answers, headers);
  }

  private cloudEvents(path: string, query: string, headers: Headers, more: Fields): Spoken {
    const { source } = this;
    if (path !== "/v1/events" || headers.get(":method") === "GET") {
      mustBe(headers, "GET");
      const { request, isOne } = readOfUrl(path, query);
      const isStructured = (headers.get("accept") ?? "").includes("cloudevents+json");
      const answers = isOne
        ? new OneCloudEvent(source, isStructured, more)
        : new CloudEventList(source, more);
      return this.made("Read", request, answers, headers);
    }
    mustBe(headers, "POST");
    const method = this.methodAt(`${eventStore}Append`);
    const decoding = appendOfCloudEvents(query, headers);
    if (decoding === undefined) {
      const message = `content-type: of no CloudEvent: ${cloudEventTypes}, or ce-specversion`;
      throw refused(StatusCode.UNIMPLEMENTED, 415, message, [["accept-post", cloudEventTypes]]);
    }
    const format = {
      ...unaryFormat(method, "json", this.options.receiveBytesMax, more),
      ...decoding,
    };
    const timeoutMs = connectTimeout(headers.get("connect-timeout-ms"));
    return { method, format, timeoutMs, encoding: headers.get("content-encoding") };
  }

  /** A call whose request is in its URL. */
  private made(
    name: string,
    request: Buffer,
    answers: CallFormat["answers"],
    headers: Headers,
  ): Spoken {
    const format = { wholeBytesMax: 0, decode: () => request, answers };
    const method = this.methodAt(`${eventStore}${name}`);
    const timeoutMs = connectTimeout(headers.get("connect-timeout-ms"));
    return { method, format, timeoutMs, encoding: undefined };
  }

  private methodAt(path: string): Method {
    const { methods } = this.options;
    const method = methods.get(path);
    if (method !== undefined) return method;
    const name = path.slice(path.lastIndexOf("/"));
    const sameName = [...methods.keys()].find((known) => name !== "/" && known.endsWith(name));
    const like = nearTo(path, methods.keys()) ?? sameName;
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

async function tellContract(stream: Http2Stream, more: Fields): Promise<void> {
  const { openApi } = await import("../../gen/openapi.js");
  const body = Buffer.from(openApi);
  if (respondWhole(stream, 200, "application/json", body, more)) return;
  stream.reset(errorCode.enhanceYourCalm);
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

function mustBe(headers: Headers, method: string): void {
  const given = headers.get(":method") ?? "";
  if (given !== method) throw notAllowed(given, method);
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
