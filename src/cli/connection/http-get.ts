// Looks at a page of the server by HTTP/1.1, with the options of a command: what operators look at
// is no call of gRPC.

import { request as requestPlain, type IncomingMessage, type RequestOptions } from "node:http";
import { request as requestTls } from "node:https";
import { checkServerIdentity, createSecureContext } from "node:tls";
import { targetOf } from "../../client/rpc/address.ts";
import type { ConnectionOptions, TlsOptions } from "../../client/rpc/connection.ts";
import { plainTlsProblem } from "../../client/rpc/tls-problem.ts";
import { CommandError, UsageError } from "../arguments/options.ts";

export interface HttpText {
  readonly status: number;
  readonly text: string;
}

type Server = Pick<ConnectionOptions, "address" | "tls" | "token">;

const bodyBytesMax = 64 * 1024 * 1024;

/** Throws `CommandError` where there is no answer; an answer of any status is one. */
export async function getText(
  server: Server,
  path: string,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<HttpText> {
  const { address, tls, token } = server;
  const shown = typeof token === "function" ? await token() : token;
  const timeout = AbortSignal.timeout(timeoutMs);
  const options: RequestOptions = {
    ...placeOf(address),
    path,
    agent: false,
    headers: shown === undefined ? {} : { authorization: `Bearer ${shown}` },
    signal: AbortSignal.any([signal, timeout]),
  };
  try {
    return await new Promise<HttpText>((resolve, reject) => {
      const answered = (answer: IncomingMessage): void => {
        textOf(answer).then(resolve, reject);
      };
      const request =
        tls === undefined
          ? requestPlain(options, answered)
          : requestTls({ ...options, ...securityOf(tls, options) }, answered);
      request.once("error", reject).end();
    });
  } catch (error) {
    if (signal.aborted) throw error;
    const { message } = error as Error;
    const why = timeout.aborted ? `timed out after ${timeoutMs} ms` : plainTlsProblem(message);
    const hint = "is the server running, and are --address and the TLS options right?";
    throw new CommandError(`no answer from ${address}: ${why}\n${hint}`, { cause: error });
  }
}

function placeOf(address: string): RequestOptions {
  let target: string;
  try {
    target = targetOf(address);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  if (target.startsWith("unix:")) return { socketPath: target.slice("unix:".length) };
  const at = target.lastIndexOf(":");
  const host = target.slice("dns:".length, at).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(target.slice(at + 1)) };
}

function securityOf(
  { rootCertificates, pinnedCertificate, certificateChain, privateKey, serverName }: TlsOptions,
  { host }: RequestOptions,
) {
  const buffer = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes);
  const ca = buffer(pinnedCertificate ?? rootCertificates);
  const [cert, key] = [buffer(certificateChain), buffer(privateKey)];
  const isPinned = pinnedCertificate !== undefined;
  const secureContext = createSecureContext({
    ...(ca && { ca }),
    ...(cert && key && { cert, key }),
    ...(isPinned && { allowPartialTrustChain: true }),
  });
  const name = serverName ?? host ?? "localhost";
  return {
    secureContext,
    servername: /^[\d.]+$|:/.test(name) ? "" : name,
    checkServerIdentity: (_: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      isPinned ? undefined : checkServerIdentity(name, certificate),
  };
}

async function textOf(answer: IncomingMessage): Promise<HttpText> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of answer as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bodyBytesMax) throw new Error(`its answer has more than ${bodyBytesMax} bytes`);
    parts.push(part);
  }
  return { status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") };
}
