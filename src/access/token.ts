// Bearer tokens. A token is shown once, when it is made; its file has its hash. It names its own
// id, so that one look-up finds the hash to compare with.
//
//   annals_ID_SECRET     ID: 12 hexadecimal digits; SECRET: 256 random bits, base64url
//   scrypt$12$8$1$SALT$HASH     log2(N), r and p of scrypt; salt and hash in base64url
//
// The secret is random in full, so that no cost of the hash makes it easier or harder to guess. The
// cost is kept low, since it is paid by the thread pool that also syncs commits.

import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from "node:crypto";

const idBytes = 6;
const secretBytes = 32;
const saltBytes = 16;
const hashBytes = 32;
const cost = { log2N: 12, r: 8, p: 1 };
/** A file may ask for more than we write, within what the server can spend. */
const log2NMax = 16;

const form = /^annals_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const hashForm = /^scrypt\$(\d{1,2})\$(\d)\$(\d)\$([A-Za-z0-9_-]{22})\$([A-Za-z0-9_-]{43})$/;

export interface Token {
  readonly id: string;
  readonly secret: string;
}

/** Undefined: the text is no token of this store. */
export function parseToken(text: string): Token | undefined {
  const [, id, secret] = form.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export function tokenText({ id, secret }: Token): string {
  return `annals_${id}_${secret}`;
}

export function newToken(): Token {
  const secret = randomBytes(secretBytes).toString("base64url");
  return { id: randomBytes(idBytes).toString("hex"), secret };
}

export async function hashSecret(secret: string): Promise<string> {
  const { log2N, r, p } = cost;
  const salt = randomBytes(saltBytes);
  const hash = await derive(secret, salt, log2N, r, p);
  return ["scrypt", log2N, r, p, salt.toString("base64url"), hash.toString("base64url")].join("$");
}

/** Whether a text is a hash that `isSecretOf` can check. */
export function isHash(text: string): boolean {
  const [, log2N] = hashForm.exec(text) ?? [];
  return log2N !== undefined && Number(log2N) >= 1 && Number(log2N) <= log2NMax;
}

/** Takes the same time whatever the secret. */
export async function isSecretOf(secret: string, hash: string): Promise<boolean> {
  const [, log2N, r, p, salt = "", expected = ""] = hashForm.exec(hash) ?? [];
  const salted = Buffer.from(salt, "base64url");
  const derived = await derive(secret, salted, Number(log2N), Number(r), Number(p));
  return timingSafeEqual(derived, Buffer.from(expected, "base64url"));
}

/** On the thread pool. */
function derive(
  secret: string,
  salt: Buffer,
  log2N: number,
  r: number,
  p: number,
): Promise<Buffer> {
  const options: ScryptOptions = { N: 2 ** log2N, r, p, maxmem: 256 * 2 ** log2N * r };
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, hashBytes, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
