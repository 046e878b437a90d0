// Who may call, as the configuration says: certificates, and the files of tokens and grants.

import { resolve } from "node:path";
import { AccessControl, type AccessParts } from "./access/access-control.ts";
import { AuditTrail } from "./access/audit.ts";
import type { VerifyAccessToken } from "./access/authenticator.ts";
import { accessTokenVerifier } from "./access/oidc.ts";
import { asksWhoCalls } from "./config.ts";
import type { Certificates } from "./sockets/certificates.ts";
import type { Logger } from "./logger.ts";
import type { Config } from "./options.ts";

interface ConfiguredAccess {
  /** Undefined: there is no TLS. */
  readonly certificates: Certificates | undefined;
  /** Undefined: callers are not authenticated. */
  readonly access: AccessControl | undefined;
}

/** Reads them before the server listens, and watches them from then on. */
export async function configuredAccess(config: Config, logger: Logger): Promise<ConfiguredAccess> {
  const certificates = await certificatesOf(config, logger);
  try {
    return { certificates, access: await accessOf(config, logger) };
  } catch (error) {
    certificates?.close();
    throw error;
  }
}

async function certificatesOf(config: Config, logger: Logger): Promise<Certificates | undefined> {
  const { tlsCert: cert, tlsKey: key, tlsClientCa, tlsMinVersion } = config;
  if (cert === "") return undefined;
  const clientCa = tlsClientCa === "" ? undefined : tlsClientCa;
  const { loadCertificates } = await import("./sockets/certificates.ts");
  return loadCertificates({ cert, key, clientCa }, tlsMinVersion, logger);
}

/** The verifier, and with it the keys it has fetched, stays while the issuer does. */
function verifiers(logger: Logger): AccessParts["verifierFor"] {
  let known: { readonly settings: string; readonly verify: VerifyAccessToken } | undefined;
  return ({ oidc }) => {
    if (oidc === undefined) return undefined;
    const settings = JSON.stringify(oidc);
    if (known?.settings !== settings) {
      known = { settings, verify: accessTokenVerifier(oidc, logger) };
    }
    return known.verify;
  };
}

async function accessOf(config: Config, logger: Logger): Promise<AccessControl | undefined> {
  if (!asksWhoCalls(config)) return undefined;
  const pathOf = (option: string): string | undefined =>
    option === "" ? undefined : resolve(option);
  const nowMs = (): number => Date.now();
  const audit = new AuditTrail({ file: pathOf(config.auditFile), watcher: logger, nowMs });
  return AccessControl.begin({
    audit,
    files: { accessFile: pathOf(config.accessFile), tokensFile: pathOf(config.tokensFile) },
    watcher: logger,
    nowMs,
    verifierFor: verifiers(logger),
  });
}
