// A call's status over plain HTTP: the status of HTTP, and the JSON that Connect gives an error.
// Source: https://connectrpc.com/docs/protocol#error-codes

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { toJson } from "@bufbuild/protobuf";
import { encodeHeaders, type HeaderBlock } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import { StatusCode, statusName, type CallStatus } from "../transport/status.ts";
import { registry } from "./message-json.ts";

/** Further fields of an answer, such as those of CORS. */
export type Fields = HeaderBlock["fields"];

const httpStatuses: Readonly<Record<StatusCode, number>> = {
  [StatusCode.OK]: 200,
  [StatusCode.CANCELLED]: 499,
  [StatusCode.UNKNOWN]: 500,
  [StatusCode.INVALID_ARGUMENT]: 400,
  [StatusCode.DEADLINE_EXCEEDED]: 504,
  [StatusCode.NOT_FOUND]: 404,
  [StatusCode.ALREADY_EXISTS]: 409,
  [StatusCode.PERMISSION_DENIED]: 403,
  [StatusCode.RESOURCE_EXHAUSTED]: 429,
  [StatusCode.FAILED_PRECONDITION]: 400,
  [StatusCode.ABORTED]: 409,
  [StatusCode.OUT_OF_RANGE]: 400,
  [StatusCode.UNIMPLEMENTED]: 501,
  [StatusCode.INTERNAL]: 500,
  [StatusCode.UNAVAILABLE]: 503,
  [StatusCode.DATA_LOSS]: 500,
  [StatusCode.UNAUTHENTICATED]: 401,
};

interface ErrorJson {
  readonly code: string;
  readonly message: string;
  readonly details?: readonly { type: string; value: string; debug?: unknown }[];
}

/** `value` is the detail for programs, `debug` the same for people. */
export function errorJson({ code, message, details }: CallStatus): ErrorJson {
  // Connect spells one of them in the American way.
  const name = code === StatusCode.CANCELLED ? "canceled" : statusName(code).toLowerCase();
  if (details.length === 0) return { code: name, message };
  return {
    code: name,
    message,
    details: details.map((any) => {
      const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
      const value = Buffer.from(any.value).toString("base64").replace(/=+$/, "");
      const schema = registry.getMessage(type);
      const said = schema && anyUnpack(any, schema);
      const debug = said && schema && toJson(schema, said, { registry });
      return { type, value, ...(debug !== undefined && { debug }) };
    }),
  };
}

/** A whole answer that is an error. The stream must not have been responded to. */
export function respondWithError(stream: Http2Stream, status: CallStatus, more: Fields): void {
  const { code, httpStatus = httpStatuses[code] } = status;
  const body = Buffer.from(`${JSON.stringify(errorJson(status))}\n`);
  const retryMs = status.details.length === 0 ? undefined : retryAfter(status);
  const isSaid = respondWhole(stream, httpStatus, "application/json", body, [
    ...(httpStatus === 401 ? [["www-authenticate", "Bearer"] as const] : []),
    ...(retryMs === undefined ? [] : [["retry-after", retryMs] as const]),
    ...more,
  ]);
  if (!isSaid) stream.reset(errorCode.enhanceYourCalm);
}

/** False: the budget has no room, and nothing was sent. */
export function respondWhole(
  stream: Http2Stream,
  httpStatus: number,
  type: string,
  body: Buffer,
  more: Fields,
): boolean {
  // The room is needed again by `write`, when the headers can no longer be changed.
  if (!stream.take(body.length)) return false;
  stream.release(body.length);
  const head = [
    [":status", `${httpStatus}`],
    ["content-type", type],
    ["content-length", `${body.length}`],
    ["cache-control", "no-store"],
    ["x-content-type-options", "nosniff"],
    ...more,
  ] as const;
  stream.respond(encodeHeaders(head));
  stream.write(body);
  stream.end();
  return true;
}

/** In whole seconds, as the header has them. */
function retryAfter({ details }: CallStatus): string | undefined {
  const schema = registry.getMessage("google.rpc.RetryInfo");
  const any = details.find(({ typeUrl }) => typeUrl.endsWith("/google.rpc.RetryInfo"));
  const info = any && schema && anyUnpack(any, schema);
  if (info === undefined || schema === undefined) return undefined;
  const { retryDelay = "1s" } = toJson(schema, info) as { retryDelay?: string };
  return `${Math.ceil(Number(retryDelay.slice(0, -1)))}`;
}
