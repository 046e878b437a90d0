// `annals health`: asks whether the server is serving, for probes that run every few seconds. It
// makes one call of grpc.health.v1 with Node's own HTTP/2 client, so that a probe loads neither
// gRPC nor protobuf.

import { readFileSync } from "node:fs";
import { connect, constants, type ClientHttp2Session } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { targetOf } from "../../client/rpc/address.ts";
import { plainTlsProblem } from "../../client/rpc/tls-problem.ts";
import { jsonLine } from "../output/display.ts";
import {
  CommandError,
  connectionOptions,
  durationMs,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { ownServer, type OwnServer } from "../connection/own-server.ts";
import { print, type Terminal } from "../output/terminal.ts";

const options = { ...connectionOptions, ...jsonOption } as const;
type Values = ReturnType<typeof parse<typeof options>>["values"];

const timeoutDefaultMs = 10_000;
const path = "/grpc.health.v1.Health/Check";
/** An uncompressed gRPC frame without content. As a request it asks for the server as a whole. */
const emptyMessage = Buffer.alloc(5);
/** In the order of the numbers of `HealthCheckResponse.ServingStatus`. */
const statuses = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] as const;

/** Prints the server's status. The exit code is 0 only for SERVING. */
export async function health(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values } = parse(args, options, { min: 0, max: 0 });
  const { timeout } = values;
  const timeoutMs = timeout === undefined ? timeoutDefaultMs : durationMs(timeout, "--timeout");
  const own = ownServer(terminal.environment);
  const address = values.address ?? own.address;
  const session = sessionOf(address, values, own);
  const signal = AbortSignal.any([terminal.signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const status = await check(session, signal);
    const word = status.toLowerCase().replaceAll("_", " ");
    await print(terminal.output, values.json === true ? jsonLine({ status }) : `${word}\n`);
    return status === "SERVING" ? 0 : 1;
  } catch (error) {
    if (terminal.signal.aborted) throw error;
    const why = signal.aborted
      ? `timed out after ${timeoutMs} ms`
      : plainTlsProblem((error as Error).message);
    const hint = "is the server running, and are --address and the TLS options right?";
    throw new CommandError(`no answer from ${address}: ${why}\n${hint}`, { cause: error });
  } finally {
    session.destroy();
  }
}

function sessionOf(address: string, values: Values, own: OwnServer): ClientHttp2Session {
  const target = targetFor(address);
  const tls = tlsOf(values) ?? (values.address === undefined ? own.tls : undefined);
  const scheme = tls === undefined ? "http" : "https";
  const socket = target.startsWith("unix:") ? target.slice("unix:".length) : undefined;
  const authority = socket === undefined ? target.slice("dns:".length) : "localhost";
  return connect(`${scheme}://${authority}`, {
    ...(tls?.pinned ? { ca: [tls.pinned], checkServerIdentity: () => undefined } : {}),
    ...tls?.context,
    ...(values["tls-server-name"] ? { servername: values["tls-server-name"] } : {}),
    ...(socket === undefined ? {} : { createConnection: () => connectSocket(socket) }),
  });
}

function targetFor(address: string): string {
  try {
    return targetOf(address);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

interface ProbeTls {
  readonly pinned?: Uint8Array | undefined;
  readonly context: SecureContextOptions;
}

function tlsOf(values: Values): ProbeTls | undefined {
  const [ca, cert, key] = (["tls-ca", "tls-cert", "tls-key"] as const).map((option) => {
    const file = values[option];
    if (file === undefined) return undefined;
    try {
      return readFileSync(file);
    } catch (error) {
      throw new CommandError(`--${option}: ${(error as Error).message}`, { cause: error });
    }
  });
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("--tls-cert and --tls-key go together");
  }
  if (!(ca ?? cert ?? values["tls-server-name"] ?? values.tls)) return undefined;
  return { context: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } };
}

/** Requests the server's status. */
function check(
  session: ClientHttp2Session,
  signal: AbortSignal,
): Promise<(typeof statuses)[number]> {
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    signal.addEventListener("abort", () => reject(signal.reason as Error));
    const body: Buffer[] = [];
    let grpcStatus: unknown;
    stream.on("response", (headers) => {
      grpcStatus = headers["grpc-status"] ?? grpcStatus;
      if (headers[":status"] !== 200) reject(new Error(`HTTP status ${headers[":status"]}`));
    });
    stream.on("trailers", (trailers) => (grpcStatus = trailers["grpc-status"]));
    stream.on("data", (chunk: Buffer) => body.push(chunk));
    // A failing connection cancels its streams. Its error is in `cause`.
    stream.on("error", ({ cause, message }) => {
      reject(cause instanceof Error ? cause : new Error(message));
    });
    stream.on("end", () => {
      if (grpcStatus !== "0") reject(new Error(`gRPC status ${String(grpcStatus)}`));
      else resolve(statusIn(Buffer.concat(body)));
    });
    stream.end(emptyMessage);
  });
}

/** Decodes `HealthCheckResponse { status = 1 }` in a gRPC frame. A missing field means UNKNOWN. */
function statusIn(frame: Buffer): (typeof statuses)[number] {
  const message = frame.subarray(emptyMessage.length);
  const value = message.length === 2 && message[0] === 0x08 ? (message[1] as number) : 0;
  return statuses[value] ?? "UNKNOWN";
}
