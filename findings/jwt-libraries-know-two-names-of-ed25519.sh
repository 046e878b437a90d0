#!/usr/bin/env bash
# A token signed with Ed25519 whose header says `Ed25519`, the name of RFC 9864, is refused by PyJWT; one
# that says `EdDSA`, the name that RFC deprecates, is taken by both libraries.
#
# Versions: jose 6.2.18 (npm), PyJWT 2.15.1, cryptography (PyPI), Node 20.20, Python 3.11.
# Guess:    the newest name of an algorithm is the safe choice for new tokens.
# Seen:     the signature is the same; the name decides. PyJWT has no algorithm of the new name, also when it
#           is listed as allowed. An issuer that moves to it locks such verifiers out; a verifier accepts
#           both names.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund jose@6.2.18
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check PyJWT==2.15.1 cryptography

cat >run.mjs <<'END'
import { writeFileSync } from "node:fs";
import { exportSPKI, generateKeyPair, jwtVerify, SignJWT } from "jose";

const { privateKey, publicKey } = await generateKeyPair("Ed25519", { extractable: true });
writeFileSync("key.pem", await exportSPKI(publicKey));
for (const alg of ["Ed25519", "EdDSA"]) {
  const token = await new SignJWT({ sub: "a" }).setProtectedHeader({ alg }).sign(privateKey);
  writeFileSync(alg, token);
  const { payload } = await jwtVerify(token, publicKey);
  console.log(`jose ${alg}: ${payload.sub}`);
}
END
cat >run.py <<'END'
import jwt

key = open("key.pem", encoding="ascii").read()
for alg in ("Ed25519", "EdDSA"):
    token = open(alg, encoding="ascii").read()
    try:
        print(f"PyJWT {alg}: {jwt.decode(token, key, algorithms=['Ed25519', 'EdDSA'])['sub']}")
    except jwt.InvalidAlgorithmError as error:
        print(f"PyJWT {alg}: {error}")
END
cat >expected <<'END'
jose Ed25519: a
jose EdDSA: a
PyJWT Ed25519: Algorithm not supported
PyJWT EdDSA: a
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
