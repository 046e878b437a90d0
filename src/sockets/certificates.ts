// TLS from certificate files that may be renewed while the server runs. New connections get the new
// certificate. While the files are being written, key and certificate may not match: that is
// reported, and the certificate in use is kept.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type TlsOptions } from "node:tls";
import type { Logger } from "../logger.ts";

export interface CertificateFiles {
  /** PEM: the server's certificate, then the intermediate certificates. */
  readonly cert: string;
  readonly key: string;
  /** The certificate of the authority that signs clients. Absent: clients need no certificate. */
  readonly clientCa: string | undefined;
}

export interface Certificates {
  readonly tls: TlsOptions;
  /** When the server's certificate ends: milliseconds since 1970. */
  readonly endsMs: number;
  /** Called when new certificates are in use. */
  onRenewed(listener: (tls: TlsOptions) => void): void;
  /** Checks the files now, in addition to the regular checks. */
  look(): Promise<void>;
  close(): void;
}

/** How often the files are checked. */
const lookMs = 2_000;

export type TlsVersion = "1.2" | "1.3";

/** The cipher suites of TLS 1.3, and the AEAD suites of TLS 1.2 with forward secrecy. */
const suites = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  ...["ECDSA", "RSA"].flatMap((kind) => [
    `ECDHE-${kind}-AES128-GCM-SHA256`,
    `ECDHE-${kind}-AES256-GCM-SHA384`,
    `ECDHE-${kind}-CHACHA20-POLY1305`,
  ]),
].join(":");

/** Throws if the files cannot be read or key and certificate do not match. */
export async function loadCertificates(
  files: CertificateFiles,
  minVersion: TlsVersion,
  logger: Logger,
): Promise<Certificates> {
  let inUse = await readFiles(files);
  checkFit(files, inUse);
  const listeners: ((tls: TlsOptions) => void)[] = [];
  let refusal = "";

  const look = async (): Promise<void> => {
    try {
      const found = await readFiles(files);
      if (isSame(found, inUse)) return;
      checkFit(files, found);
      inUse = found;
      for (const listener of listeners) listener(tlsOf(found, minVersion));
      refusal = "";
      const { subject, validTo, fingerprint256 } = new X509Certificate(found.cert);
      logger.info("certificate renewed", { subject, validTo, fingerprint256 });
    } catch (error) {
      if (String(error) === refusal) return;
      refusal = String(error);
      logger.error("certificate not renewed; the one in use is kept", { error });
    }
  };
  const timer = setInterval(() => void look(), lookMs).unref();
  return {
    get tls() {
      return tlsOf(inUse, minVersion);
    },
    get endsMs() {
      return new X509Certificate(inUse.cert).validToDate.getTime();
    },
    onRenewed: (listener) => listeners.push(listener),
    look,
    close: () => clearInterval(timer),
  };
}

interface Pem {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

/** Clients need a certificate if an authority for clients is configured. */
function tlsOf(pem: Pem, version: TlsVersion): TlsOptions {
  const isMutual = pem.ca !== undefined;
  const minVersion = `TLSv${version}` as const;
  return {
    ...pem,
    ciphers: suites,
    minVersion,
    requestCert: isMutual,
    rejectUnauthorized: isMutual,
  };
}

async function readFiles({ cert, key, clientCa }: CertificateFiles): Promise<Pem> {
  const pair = { cert: await readFile(cert), key: await readFile(key) };
  return clientCa === undefined ? pair : { ...pair, ca: await readFile(clientCa) };
}

function checkFit(files: CertificateFiles, pem: Pem): void {
  try {
    createSecureContext(pem);
    if (pem.ca !== undefined) void new X509Certificate(pem.ca);
  } catch (error) {
    const names = [files.cert, files.key, files.clientCa].filter((name) => name !== undefined);
    const what = `${names.join(", ")}: ${(error as Error).message}`;
    throw new Error(`certificate files that do not fit together: ${what}`, { cause: error });
  }
}

function isSame(a: Pem, b: Pem): boolean {
  const sameCa = a.ca === undefined || b.ca === undefined ? a.ca === b.ca : a.ca.equals(b.ca);
  return a.cert.equals(b.cert) && a.key.equals(b.key) && sameCa;
}
