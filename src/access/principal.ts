// Finds the principal and the grants of a proven credential, by the files in force. Pure, so that
// the same rule decides when a call begins and again when the files have changed.

import { AnnalsError } from "../domain/errors.ts";
import type { AccessFile, OidcSettings } from "./access-file.ts";
import { united, type Grants } from "./grants.ts";
import type { Tokens } from "./token-file.ts";

/** The files in force. */
export interface Directory {
  readonly access: AccessFile;
  readonly tokens: Tokens;
}

/** What was proven: that the caller has this token, certificate or subject. */
export type Proof =
  | { readonly kind: "token"; readonly id: string; readonly hash: string }
  /** The certificate's names, the most specific first. */
  | { readonly kind: "certificate"; readonly names: readonly string[]; readonly endsMs: number }
  | {
      readonly kind: "oidc";
      /** By which it was proven. */
      readonly settings: OidcSettings;
      readonly subject: string;
      readonly roles: readonly string[];
      readonly endsMs: number;
    };

export interface Principal {
  readonly name: string;
  readonly grants: Grants;
  /** When it expires, in milliseconds since 1970. Infinity: never. */
  readonly endsMs: number;
}

/** Throws UNAUTHENTICATED. */
export function identify(proof: Proof, { access, tokens }: Directory, nowMs: number): Principal {
  switch (proof.kind) {
    case "token": {
      const token = tokens.get(proof.id);
      if (token === undefined || token.hash !== proof.hash) throw unauthenticated("revoked");
      const { name, roles, expiresMs, revokedMs } = token;
      if (revokedMs !== undefined) throw unauthenticated("revoked");
      const own = roles.length > 0 ? roles : (access.principals.get(name)?.roles ?? []);
      return inForce({ name, grants: grantsOf(own, access), endsMs: expiresMs }, nowMs);
    }
    case "certificate": {
      const { names, endsMs } = proof;
      const known = names.find((one) => access.certificates.has(one));
      const name = known === undefined ? undefined : access.certificates.get(known);
      if (name === undefined) throw unauthenticated("unknown");
      return inForce(principalNamed(name, endsMs, access), nowMs);
    }
    case "oidc": {
      const { settings, subject, roles, endsMs } = proof;
      // What another issuer said, or what was said for another audience, proves nothing any more.
      if (JSON.stringify(settings) !== JSON.stringify(access.oidc))
        throw unauthenticated("unknown");
      const name = access.subjects.get(subject);
      if (name !== undefined) return inForce(principalNamed(name, endsMs, access), nowMs);
      const known = roles.filter((role) => access.roles.has(role));
      if (known.length === 0) throw unauthenticated("unknown");
      const grants = grantsOf(known, access);
      return inForce({ name: `oidc:${subject}`, grants, endsMs }, nowMs);
    }
  }
}

function principalNamed(name: string, endsMs: number, access: AccessFile): Principal {
  const roles = access.principals.get(name)?.roles ?? [];
  return { name, grants: grantsOf(roles, access), endsMs };
}

/** A role that the file has no more grants nothing. */
function grantsOf(roles: readonly string[], access: AccessFile): Grants {
  return united(roles.map((role) => access.roles.get(role) ?? {}));
}

function inForce(principal: Principal, nowMs: number): Principal {
  if (nowMs >= principal.endsMs) throw unauthenticated("expired");
  return principal;
}

/** Why nobody knows who calls. */
export type CredentialFault = "missing" | "invalid" | "unknown" | "expired" | "revoked";

const faultTexts: Readonly<Record<CredentialFault, string>> = {
  missing: "this server asks who calls: send a token, as `authorization: Bearer TOKEN`",
  invalid: "the credential is not valid here",
  unknown: "the certificate or subject is that of no principal",
  expired: "the credential has expired",
  revoked: "the token was revoked",
};

export function unauthenticated(credential: CredentialFault): AnnalsError {
  return new AnnalsError({ reason: "UNAUTHENTICATED", credential }, faultTexts[credential]);
}
