// grpcurl and `buf curl` behind one shape: a call is a process that gets JSON and prints JSON.
// Neither has our protos: both ask the server's reflection.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import type { Facts } from "./conversation.ts";
import { repository } from "./live-server.ts";
import { file_annals_v1_errors as errors } from "../../src/gen/annals/v1/errors_pb.js";
import { file_google_rpc_error_details as rpc } from "../../src/gen/google/rpc/error_details_pb.js";

export interface Failure {
  /** google.rpc.Code. */
  readonly code: number;
  /** In JSON, by the last part of their type's name. */
  readonly details: ReadonlyMap<string, Facts>;
}

export interface Ended {
  readonly messages: readonly Facts[];
  readonly failure: Failure | undefined;
}

export interface Running {
  /** The next message; throws where the call ended without it. */
  next(): Promise<Facts>;
  ended(): Promise<Ended>;
  /** As ctrl-C would. */
  interrupt(): void;
}

export interface CommandLine {
  readonly name: string;
  /** What stands before the call; then the address and the call follow. */
  arguments(address: string, method: string, deadlineSeconds: number | undefined): string[];
  /** From what it printed on standard error, and its exit code. */
  failure(complaint: string, exitCode: number): Failure;
  /** Whether a call can be given a deadline. */
  readonly hasDeadlines: boolean;
}

const callMsMax = 60_000;
const service = "annals.v1.EventStoreService";

export function grpcurlIn(folder: string): CommandLine {
  return {
    name: "grpcurl",
    hasDeadlines: true,
    arguments: (address, method, deadlineSeconds) => [
      join(folder, "grpcurl"),
      ..."-plaintext -format-error -d @".split(" "),
      ...(deadlineSeconds === undefined ? [] : ["-max-time", String(deadlineSeconds)]),
      address,
      `${service}/${method}`,
    ],
    failure(complaint) {
      const status = JSON.parse(complaint) as { code: number; details?: GrpcurlDetail[] };
      const details = (status.details ?? []).map((detail) => {
        const { "@type": type, "@value": value, ...fields } = detail;
        return [lastPart(type), value === undefined ? fields : decoded(type, value)] as const;
      });
      return { code: status.code, details: new Map(details) };
    },
  };
}

interface GrpcurlDetail {
  readonly "@type": string;
  /** The bytes, where reflection could not be asked any more: the server was stopping. */
  readonly "@value"?: string;
}

const registry = createRegistry(errors, rpc);

export const bufCurl: CommandLine = {
  name: "buf curl",
  hasDeadlines: false,
  arguments: (address, method) => [
    join(repository, "node_modules/.bin/buf"),
    ..."curl --protocol grpc --http2-prior-knowledge --data @-".split(" "),
    `http://${address}/${service}/${method}`,
  ],
  failure(complaint, exitCode) {
    const status = JSON.parse(complaint) as { details?: { type: string; value: string }[] };
    const details = (status.details ?? []).map(({ type, value }) => {
      return [lastPart(type), decoded(type, value)] as const;
    });
    // Its exit code is the status, shifted past those of the shell's own.
    return { code: exitCode / 8, details: new Map(details) };
  },
};

function decoded(type: string, base64: string): Facts {
  const schema = registry.getMessage(type.slice(type.lastIndexOf("/") + 1));
  if (schema === undefined) throw new Error(`no such detail: ${type}`);
  return toJson(schema, fromBinary(schema, base64Decode(base64))) as Facts;
}

function lastPart(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf(".") + 1);
}

/** Starts a call with these requests. */
export function start(
  tool: CommandLine,
  address: string,
  method: string,
  requests: readonly unknown[],
  deadlineSeconds?: number,
): Running {
  const [program = "", ...args] = tool.arguments(address, method, deadlineSeconds);
  // A group of its own, so that it is interrupted as a terminal does it: wrapper and program.
  const child = spawn(program, args, { detached: true });
  const signal = (name: "SIGINT" | "SIGKILL") => child.pid && process.kill(-child.pid, name);
  const overdue = setTimeout(() => signal("SIGKILL"), callMsMax);
  child.stdin.end(requests.map((request) => JSON.stringify(request)).join("\n"));
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
  const exit = new Promise<number | undefined>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(overdue);
      resolve(code ?? undefined);
    });
  });
  const messages: Facts[] = [];
  const source = jsonObjects(child.stdout.setEncoding("utf8"));
  const next = async (): Promise<Facts> => {
    const { value, done } = await source.next();
    if (done === true) throw new Error(`${tool.name} ended: ${complaint}`);
    messages.push(value);
    return value;
  };
  return {
    next,
    interrupt: () => signal("SIGINT"),
    async ended() {
      for await (const message of source) messages.push(message);
      const code = await exit;
      if (code === 0) return { messages, failure: undefined };
      if (code === undefined) throw new Error(`${tool.name} was killed: ${complaint}`);
      return { messages, failure: tool.failure(complaint, code) };
    },
  };
}

/** JSON objects printed one after the other, over as many lines as the tool likes. */
async function* jsonObjects(text: AsyncIterable<string>): AsyncGenerator<Facts, void> {
  const parts: string[] = [];
  const endsObject = objectEnds();
  for await (const piece of text) {
    let from = 0;
    for (let at = 0; at < piece.length; at += 1) {
      if (!endsObject(piece[at] as string)) continue;
      parts.push(piece.slice(from, at + 1));
      yield JSON.parse(parts.splice(0).join("")) as Facts;
      from = at + 1;
    }
    parts.push(piece.slice(from));
  }
}

/** Called with each character in order; true for the brace that closes an outermost object. */
function objectEnds(): (char: string) => boolean {
  let depth = 0;
  let inString = false;
  let escaped = false;
  return (char) => {
    if (escaped) escaped = false;
    else if (inString && char === "\\") escaped = true;
    else if (char === '"') inString = !inString;
    else if (!inString && char === "{") depth += 1;
    else if (!inString && char === "}") return --depth === 0;
    return false;
  };
}
