// The tokens file: the tokens of a server, their roles and their hashes. Commands change it as a
// whole, by a new file that takes its place; the server reads it again when it has changed.
//
//   { "tokens": [ { "id": "0f3a...", "name": "billing", "roles": ["service"],
//                   "created": "2026-01-31T12:00:00.000Z", "expires": "...", "revoked": "...",
//                   "hash": "scrypt$..." } ] }
//
// `expires` and `revoked` may be absent.

import { open, readFile, rename, rm } from "node:fs/promises";
import { plainName } from "./access-file.ts";
import { FileFaults, parseJsonText, pathText } from "./json-lines.ts";
import { hashSecret, isHash, newToken, tokenText } from "./token.ts";

export interface TokenEntry {
  readonly id: string;
  /** The principal. */
  readonly name: string;
  /** Empty: those that the access file gives the principal. */
  readonly roles: readonly string[];
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** Milliseconds since 1970; Infinity: never. */
  readonly expiresMs: number;
  /** Milliseconds since 1970. Undefined: it was not revoked. */
  readonly revokedMs: number | undefined;
  readonly hash: string;
}

/** By id. */
export type Tokens = ReadonlyMap<string, TokenEntry>;

/** Throws FileFaults. Says nothing of a file's hashes in what it throws. */
export function parseTokenFile(text: string, file: string): Tokens {
  const json = parseJsonText(text, file);
  const listed = (json.value as { readonly tokens?: unknown } | null)?.tokens;
  if (!Array.isArray(listed)) throw new FileFaults(`${file}:1: tokens: is not a list`);
  const tokens = new Map<string, TokenEntry>();
  const faults: string[] = [];
  listed.forEach((entry: unknown, i) => {
    const token = tokenIn(entry);
    const path = ["tokens", i, ...(typeof token === "string" ? [token] : [])];
    const fault = (what: string): unknown =>
      faults.push(`${file}:${json.lineOf(path)}: ${pathText(path)}: ${what}`);
    if (typeof token === "string") fault("is missing or malformed");
    else if (tokens.has(token.id)) fault("has an id that another token has");
    else tokens.set(token.id, token);
  });
  if (faults.length > 0) throw new FileFaults(faults.join("\n"));
  return tokens;
}

/** The token, or the name of the member that is wrong. */
function tokenIn(entry: unknown): TokenEntry | string {
  if (typeof entry !== "object" || entry === null) return "id";
  const { id, name, roles, created, expires, revoked, hash } = entry as Record<string, unknown>;
  if (typeof id !== "string" || !/^[0-9a-f]{12}$/.test(id)) return "id";
  if (typeof name !== "string" || !plainName.test(name)) return "name";
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === "string")) return "roles";
  if (typeof hash !== "string" || !isHash(hash)) return "hash";
  const createdMs = timeIn(created);
  const expiresMs = expires === undefined ? Infinity : timeIn(expires);
  const revokedMs = revoked === undefined ? undefined : timeIn(revoked);
  if (Number.isNaN(createdMs)) return "created";
  if (Number.isNaN(expiresMs)) return "expires";
  if (Number.isNaN(revokedMs)) return "revoked";
  return { id, name, roles, createdMs, expiresMs, revokedMs, hash };
}

function timeIn(value: unknown): number {
  return typeof value === "string" ? Date.parse(value) : Number.NaN;
}

function textOf(tokens: Tokens): string {
  const time = (ms: number): string => new Date(ms).toISOString();
  const listed = [...tokens.values()].map((token) => ({
    id: token.id,
    name: token.name,
    roles: token.roles,
    created: time(token.createdMs),
    ...(token.expiresMs < Infinity && { expires: time(token.expiresMs) }),
    ...(token.revokedMs !== undefined && { revoked: time(token.revokedMs) }),
    hash: token.hash,
  }));
  return `${JSON.stringify({ tokens: listed }, undefined, 2)}\n`;
}

/** Throws FileFaults, and the errors of the file system; a file that is not there has no tokens. */
export async function readTokenFile(file: string): Promise<Tokens> {
  try {
    return parseTokenFile(await readFile(file, "utf8"), file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw error;
  }
}

export interface NewTokenWish {
  readonly name: string;
  readonly roles: readonly string[];
  readonly nowMs: number;
  /** Infinity: never. */
  readonly expiresMs: number;
}

/** The token's text is in no file: this is the only time that anybody sees it. */
export async function createToken(
  file: string,
  { name, roles, nowMs, expiresMs }: NewTokenWish,
): Promise<{ entry: TokenEntry; text: string }> {
  const token = newToken();
  const hash = await hashSecret(token.secret);
  const times = { createdMs: nowMs, expiresMs, revokedMs: undefined };
  const entry: TokenEntry = { id: token.id, name, roles, ...times, hash };
  await changeTokens(file, (tokens) => tokens.set(entry.id, entry));
  return { entry, text: tokenText(token) };
}

/** By id, or all of a name. Returns those that were not revoked before. */
export async function revokeTokens(
  file: string,
  idOrName: string,
  nowMs: number,
): Promise<{ found: number; revoked: readonly TokenEntry[] }> {
  let found: TokenEntry[] = [];
  await changeTokens(file, (tokens) => {
    found = [...tokens.values()].filter(({ id, name }) => id === idOrName || name === idOrName);
    for (const entry of found) {
      if (entry.revokedMs === undefined) tokens.set(entry.id, { ...entry, revokedMs: nowMs });
    }
  });
  const revoked = found.filter(({ revokedMs }) => revokedMs === undefined);
  return { found: found.length, revoked };
}

/** The new file is whole on disk before it takes the place of the old one. One change at a time. */
async function changeTokens(
  file: string,
  change: (tokens: Map<string, TokenEntry>) => unknown,
): Promise<void> {
  const next = `${file}.new`;
  const handle = await open(next, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
    const message = `${next} is there: another change is under way, or was cut off: then remove it`;
    throw new Error(message, { cause: error });
  });
  try {
    const tokens = new Map(await readTokenFile(file));
    change(tokens);
    await handle.writeFile(textOf(tokens));
    await handle.sync();
    await handle.close();
    await rename(next, file);
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(next, { force: true });
    throw error;
  }
}
