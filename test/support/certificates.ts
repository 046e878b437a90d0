// Certificates for tests, made by openssl: an authority, and certificates that it signed.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Authority {
  readonly cert: string;
  readonly key: string;
}

/** openssl is required: a TLS test that passed without it would prove nothing. */
function openssl(...args: string[]): void {
  try {
    execFileSync("openssl", args, { stdio: "pipe" });
  } catch (error) {
    throw new Error(`these tests need the openssl command: ${String(error)}`, { cause: error });
  }
}

const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];

export function makeAuthority(folder: string, name: string): Authority {
  const cert = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);
  const subject = ["-subj", `/CN=${name}`, "-days", "2"];
  openssl("req", "-x509", ...curve, "-keyout", key, "-out", cert, ...subject);
  return { cert, key };
}

/** A certificate for `localhost` and the loopback address, signed by the authority. */
export function sign(folder: string, name: string, authority: Authority): Authority {
  const cert = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);
  const request = join(folder, `${name}.csr`);
  const names = join(folder, `${name}.ext`);
  writeFileSync(names, "subjectAltName=DNS:localhost,IP:127.0.0.1");
  openssl("req", "-new", ...curve, "-keyout", key, "-out", request, "-subj", `/CN=${name}`);
  const by = ["-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial"];
  openssl("x509", "-req", "-in", request, "-out", cert, ...by, "-days", "2", "-extfile", names);
  return { cert, key };
}
