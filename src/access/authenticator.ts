// Verifies a caller's credential: a token's secret against its hash, an OIDC token
// against its issuer's keys, or the certificate that the TLS handshake has verified. A proof is
// kept for a while by the SHA-256 of what was shown, so that a hash is computed once and not for
// each call. Whether the proven credential still holds is decided elsewhere, on every use.

import { hash, type X509Certificate } from "node:crypto";
import { AnnalsError } from "../domain/errors.ts";
import { Attempts } from "./attempts.ts";
import { unauthenticated, type Proof } from "./principal.ts";
import { isSecretOf, parseToken } from "./token.ts";
import type { Tokens } from "./token-file.ts";

/** What a caller shows. */
export interface Credentials {
  /** `127.0.0.1:50123`, `[::1]:50123`, or `unix`. */
  readonly peer: string;
  /** The header `authorization`. It takes precedence over the certificate. */
  readonly authorization: string | undefined;
  /** Verified by the TLS handshake. */
  readonly certificate: X509Certificate | undefined;
  /** Among them, what another server says of the caller: forwarded-proof.ts. */
  readonly headers?: ReadonlyMap<string, string>;
}

/** Verifies an OIDC access token. Throws UNAUTHENTICATED; anything else is a fault of its own. */
export type VerifyAccessToken = (token: string) => Promise<Proof>;

export interface AuthenticatorParts {
  readonly tokens: () => Tokens;
  /** Undefined: only tokens of the store are accepted. */
  readonly verifyAccessToken: () => VerifyAccessToken | undefined;
  readonly nowMs: () => number;
}

const keptMs = 300_000;
const keptMax = 10_000;
/** Credentials that are being verified. */
const verifyingMax = 256;
/** Hashes computed at a time: the thread pool also syncs commits. */
const hashingMax = 2;
/** A header may be longer than any credential that is worth a look. */
const authorizationCharsMax = 16 * 1024;

const refusedMs = 10_000;

interface Refused {
  readonly error: AnnalsError;
  readonly untilMs: number;
}

interface Kept {
  readonly proof: Proof;
  readonly untilMs: number;
}

/**
 * Clients that know user names and passwords show the token as the password, with any user name.
 */
function passwordOf(authorization: string): string | undefined {
  const basic = /^basic +([a-z0-9+/]+=*)$/i.exec(authorization)?.[1];
  if (basic === undefined) return undefined;
  const password = /^[^:]*:([^\s,]+)$/.exec(Buffer.from(basic, "base64").toString("utf8"))?.[1];
  return password;
}

export class Authenticator {
  private readonly parts: AuthenticatorParts;
  private readonly attempts = new Attempts();
  /** The results by the SHA-256 of the credential, the oldest first. */
  private readonly kept = new Map<string, Kept>();
  /** The same wrong credential again is no further guess, and costs no further hash. */
  private readonly refused = new Map<string, Refused>();
  private readonly verifying = new Map<string, Promise<Proof>>();
  private readonly waiting: (() => void)[] = [];
  private hashing = 0;

  constructor(parts: AuthenticatorParts) {
    this.parts = parts;
  }

  /** A promise only where something has to be computed. Throws or rejects with an AnnalsError. */
  prove({ peer, authorization, certificate }: Credentials): Proof | Promise<Proof> {
    if (authorization === undefined) {
      if (certificate === undefined) throw unauthenticated("missing");
      return proofOf(certificate);
    }
    const nowMs = this.parts.nowMs();
    const key = hash("sha256", authorization, "base64");
    const kept = this.kept.get(key);
    if (kept !== undefined && kept.untilMs > nowMs) return kept.proof;
    const refused = this.refused.get(key);
    if (refused !== undefined && refused.untilMs > nowMs) throw refused.error;
    this.requireAttempt(peer);
    return this.once(key, peer, authorization);
  }

  /** What was refused may be right by now, and another issuer may be asked. */
  filesChanged(): void {
    this.refused.clear();
    for (const [key, { proof }] of this.kept) if (proof.kind === "oidc") this.kept.delete(key);
  }

  private requireAttempt(peer: string): void {
    const waitMs = this.attempts.waitMs(peer, this.parts.nowMs());
    if (waitMs > 0) throw tooMany("too many failed attempts from this address", waitMs);
  }

  /** Calls that come at once with one credential wait for one proof. */
  private once(key: string, peer: string, authorization: string): Promise<Proof> {
    const known = this.verifying.get(key);
    if (known !== undefined) return known;
    if (this.verifying.size >= verifyingMax) {
      return Promise.reject(tooMany("too many credentials wait to be checked", 1_000));
    }
    const proving = this.verifyNow(peer, authorization).then(
      (proof) => {
        keep(this.kept, key, { proof, untilMs: this.parts.nowMs() + keptMs });
        return proof;
      },
      (error: unknown) => {
        const isGuess = error instanceof AnnalsError && error.failure.reason === "UNAUTHENTICATED";
        if (isGuess) {
          const nowMs = this.parts.nowMs();
          this.attempts.failed(peer, nowMs);
          keep(this.refused, key, { error, untilMs: nowMs + refusedMs });
        }
        throw error;
      },
    );
    this.verifying.set(key, proving);
    const forget = (): boolean => this.verifying.delete(key);
    proving.then(forget, forget);
    return proving;
  }

  private async verifyNow(peer: string, authorization: string): Promise<Proof> {
    const bearer =
      authorization.length > authorizationCharsMax
        ? undefined
        : (/^bearer +([^\s,]+)$/i.exec(authorization)?.[1] ?? passwordOf(authorization));
    if (bearer === undefined) throw unauthenticated("invalid");
    const token = parseToken(bearer);
    if (token === undefined) {
      const verify = this.parts.verifyAccessToken();
      if (verify === undefined) throw unauthenticated("invalid");
      return verify(bearer);
    }
    const entry = this.parts.tokens().get(token.id);
    if (entry === undefined) throw unauthenticated("invalid");
    const isProven = await this.inTurn(() => {
      // Guesses that came at once wait together: those behind the allowed ones cost no hash.
      this.requireAttempt(peer);
      return isSecretOf(token.secret, entry.hash);
    });
    if (!isProven) throw unauthenticated("invalid");
    return { kind: "token", id: token.id, hash: entry.hash };
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    while (this.hashing >= hashingMax) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.hashing++;
    try {
      return await work();
    } finally {
      this.hashing--;
      this.waiting.shift()?.();
    }
  }
}

/** Keeps the newest results, at most `keptMax`. */
function keep<V>(kept: Map<string, V>, key: string, value: V): void {
  kept.delete(key);
  kept.set(key, value);
  for (const oldest of kept.keys()) {
    if (kept.size <= keptMax) break;
    kept.delete(oldest);
  }
}

function tooMany(message: string, retryAfterMs: number): AnnalsError {
  return new AnnalsError({ reason: "OVERLOADED", retryAfterMs }, `${message}: try again later`);
}

/** The names of a certificate: alternative names first, then that of its subject. */
function proofOf({ subject, subjectAltName, validTo }: X509Certificate): Proof {
  // Node quotes a name with characters that could pass for several names: such a name is none.
  const names = (subjectAltName ?? "").split(", ").filter((name) => !name.includes('"'));
  const commonNames = subject.split("\n").filter((part) => part.startsWith("CN="));
  const all = [...names.filter((name) => name !== ""), ...commonNames];
  return { kind: "certificate", names: all, endsMs: Date.parse(validTo) };
}
