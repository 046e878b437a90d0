// What a call by HTTP/JSON comes to: `served`, or the reason of its failure, as the access matrix
// has it of calls by gRPC.
import { create, toJsonString, type DescMethod } from "@bufbuild/protobuf";
import { request as byHttp, type RequestOptions } from "node:http";
import { request as byHttps, type RequestOptions as TlsOptions } from "node:https";
import { messageFrame } from "./raw-connection.ts";

interface WebError {
  readonly details?: readonly { debug?: { reason?: string; metadata?: Record<string, string> } }[];
}

/** `where`: with `ca` it speaks TLS. */
export function webOutcome(
  where: RequestOptions & TlsOptions,
  { parent, name, input, methodKind }: DescMethod,
  message: Record<string, unknown>,
  token: string | undefined,
): Promise<string> {
  const isStream = methodKind !== "unary";
  const text = Buffer.from(toJsonString(input, create(input, message)));
  const headers = {
    "content-type": isStream ? "application/connect+json" : "application/json",
    "connect-timeout-ms": "20000",
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  const ask = where.ca === undefined ? byHttp : byHttps;
  const path = `/${parent.typeName}/${name}`;
  return new Promise((resolve, reject) => {
    const options = { ...where, path, method: "POST", headers, agent: false };
    const request = ask(options, (response) => {
      let body = Buffer.alloc(0);
      const judge = (): void => {
        const { statusCode = 0 } = response;
        if (statusCode !== 200) resolve(reasonOf(JSON.parse(body.toString()) as WebError));
        else if (!isStream) resolve("served");
        else if (body.length >= 5 && body.length >= 5 + body.readUInt32BE(1)) {
          const first = body.subarray(5, 5 + body.readUInt32BE(1)).toString();
          const { error } = JSON.parse(first) as { error?: WebError };
          resolve(body[0] === 2 && error !== undefined ? reasonOf(error) : "served");
          request.destroy();
        }
      };
      response.on("data", (part: Buffer) => {
        body = Buffer.concat([body, part]);
        if (isStream && response.statusCode === 200) judge();
      });
      response.on("end", judge).on("error", () => {});
    });
    request.on("error", reject).end(isStream ? messageFrame(text) : text);
  });
}

function reasonOf({ details = [] }: WebError): string {
  const { reason = "", metadata = {} } = details[0]?.debug ?? {};
  return reason === "UNAUTHENTICATED" ? `${reason} ${metadata["credential"]}` : reason;
}
