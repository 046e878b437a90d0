// Access tokens of an OIDC issuer: signed by one of its keys, for this store, and in force. The
// issuer's document and keys are fetched when the first token comes, and again when a key is new;
// `jose`, which verifies, is loaded then, too.
// Source: OpenID Connect Discovery 1.0, section 4; RFC 7519, section 4.1; RFC 9068, section 4.

import type * as jose from "jose";
import { AnnalsError } from "../domain/errors.ts";
import { isIssuer, type OidcSettings } from "./access-file.ts";
import type { AccessWatcher } from "./audit.ts";
import type { VerifyAccessToken } from "./authenticator.ts";
import { unauthenticated, type Proof } from "./principal.ts";

type Jose = typeof jose;
type Keys = ReturnType<Jose["createRemoteJWKSet"]>;

/** Only algorithms with a private key, because no secret is shared with the issuer. */
const algorithms = ["RS", "PS", "ES"].flatMap((kind) => [256, 384, 512].map((n) => `${kind}${n}`));
const edwards = ["EdDSA", "Ed25519"];
const fetchTimeoutMs = 5_000;
/** Between two fetches of the keys because of a key that is not among them. */
const fetchPauseMs = 10_000;
const subjectBytesMax = 256;
const control = /\p{Cc}/u;

export function accessTokenVerifier(
  settings: OidcSettings,
  watcher: AccessWatcher,
): VerifyAccessToken {
  let keys: Promise<Keys> | undefined;
  return async (token) => {
    const { errors, ...verifying } = await import("jose");
    keys ??= keysOf(verifying, settings.issuer);
    try {
      const { payload } = await verifying.jwtVerify(token, await keys, {
        issuer: settings.issuer,
        audience: settings.audience,
        clockTolerance: settings.clockSkewSeconds,
        algorithms: [...algorithms, ...edwards],
        requiredClaims: ["sub", "exp"],
      });
      return proofOf(payload, settings);
    } catch (error) {
      if (error instanceof AnnalsError) throw error;
      if (error instanceof errors.JWTExpired) throw unauthenticated("expired");
      const { JOSEError, JWKSInvalid, JWKSTimeout } = errors;
      const isOfKeys = [JWKSInvalid, JWKSTimeout].some((kind) => error instanceof kind);
      // Generic is what jose says of an answer that has no keys.
      const isOfToken = error instanceof JOSEError && error.code !== "ERR_JOSE_GENERIC";
      if (isOfToken && !isOfKeys) throw unauthenticated("invalid");
      keys = undefined;
      const { issuer } = settings;
      watcher.warn("the keys of the OIDC issuer cannot be read", { issuer, error });
      const message = "the keys of the OIDC issuer cannot be read: try again later";
      throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs: 1_000 }, message, error);
    }
  };
}

/** Reads the issuer's document. Throws if that fails, or if it names another issuer. */
async function keysOf(
  { createRemoteJWKSet }: Pick<Jose, "createRemoteJWKSet">,
  issuer: string,
): Promise<Keys> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const answer = await fetch(url, {
    redirect: "error",
    signal: AbortSignal.timeout(fetchTimeoutMs),
  });
  if (!answer.ok) throw new Error(`${url}: status ${answer.status}`);
  const document = (await answer.json()) as { readonly issuer?: unknown; jwks_uri?: unknown };
  const { issuer: named, jwks_uri: address } = document;
  if (named !== issuer) throw new Error(`${url}: is the document of ${JSON.stringify(named)}`);
  if (typeof address !== "string" || !isIssuer(address)) {
    throw new Error(`${url}: jwks_uri is no https URL`);
  }
  return createRemoteJWKSet(new URL(address), {
    timeoutDuration: fetchTimeoutMs,
    cooldownDuration: fetchPauseMs,
  });
}

function proofOf(payload: Readonly<Record<string, unknown>>, settings: OidcSettings): Proof {
  const { rolesClaim, clockSkewSeconds } = settings;
  const { sub: subject, exp } = payload;
  const isText = typeof subject === "string" && subject !== "" && !control.test(subject);
  if (!isText || Buffer.byteLength(subject) > subjectBytesMax) throw unauthenticated("invalid");
  const endsMs = (Number(exp) + clockSkewSeconds) * 1_000;
  const roles = rolesClaim === undefined ? [] : textsIn(claimAt(payload, rolesClaim));
  return { kind: "oidc", settings, subject, roles, endsMs };
}

/** `roles`, or `realm_access.roles` within an object. */
function claimAt(payload: Readonly<Record<string, unknown>>, claim: string): unknown {
  if (Object.hasOwn(payload, claim)) return payload[claim];
  let value: unknown = payload;
  for (const part of claim.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part))
      return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}

/** A list of texts, or words in one text. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return value.split(" ");
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}
