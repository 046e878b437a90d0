// Files of access control for tests, in a folder of their own.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InterceptingCall, type CallOptions, type Interceptor } from "@grpc/grpc-js";
import { createToken } from "../../src/access/token-file.ts";

export interface AccessFolder {
  readonly path: string;
  readonly tokensFile: string;
  readonly accessFile: string;
  /** The flags of `annals serve`. */
  readonly flags: readonly string[];
  /** Writes the access file. */
  write(access: object): void;
  /** A token's text. */
  token(name: string, roles: readonly string[], expiresMs?: number): Promise<string>;
  remove(): void;
}

export function accessFolder(access: object = {}): AccessFolder {
  const path = mkdtempSync(join(tmpdir(), "annals-access-"));
  const tokensFile = join(path, "tokens.json");
  const accessFile = join(path, "access.json");
  const write = (content: object): void => writeFileSync(accessFile, JSON.stringify(content));
  write(access);
  writeFileSync(tokensFile, '{"tokens":[]}');
  return {
    path,
    tokensFile,
    accessFile,
    flags: ["--tokens-file", tokensFile, "--access-file", accessFile],
    write,
    async token(name, roles, expiresMs = Infinity) {
      const made = await createToken(tokensFile, { name, roles, nowMs: Date.now(), expiresMs });
      return made.text;
    },
    remove: () => rmSync(path, { recursive: true }),
  };
}

/** The options of a call that shows this token, or nothing. */
export function showing(token: string | undefined): CallOptions {
  if (token === undefined) return {};
  const show: Interceptor = (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("authorization", `Bearer ${token}`);
        next(metadata, listener);
      },
    });
  return { interceptors: [show] };
}
