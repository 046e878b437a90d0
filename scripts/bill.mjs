// Writes what the built package is made of: dist/sbom.cdx.json (CycloneDX 1.6), every package that
// it installs, with the hash that the lockfile pins, and dist/provenance.json (an in-toto statement
// with SLSA provenance, unsigned), the sources and tools of the build and the digest of each file.
// Both are the same for the same sources and tools: without times and random numbers.
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";

const repositoryUri = "https://github.com/annals-store/annals";

/** The packages of the lockfile that the `direct` ones lead to, with them, by their path in it. */
function installedPackages(lock, direct) {
  const { packages } = lock;
  const found = new Map();
  const look = (from, needed, isOptional) => {
    for (const name of Object.keys(needed ?? {})) {
      const path = resolvedPath(packages, from, name);
      if (path === undefined) {
        if (isOptional) continue;
        throw new Error(`package-lock.json: ${from || "the root"} lacks ${name}`);
      }
      found.get(from)?.uses.add(path);
      if (found.has(path)) continue;
      found.set(path, { name, uses: new Set(), ...packages[path] });
      look(path, packages[path].dependencies, false);
      look(path, packages[path].optionalDependencies, true);
    }
  };
  look("", Object.fromEntries(direct.map((name) => [name, ""])), false);
  return found;
}

/** As Node finds a package: in the nearest `node_modules` that has it. */
function resolvedPath(packages, from, name) {
  for (let base = from; ; base = base.slice(0, Math.max(0, base.lastIndexOf("/node_modules/")))) {
    const path = `${base === "" ? "" : `${base}/`}node_modules/${name}`;
    if (packages[path] !== undefined) return path;
    if (base === "") return undefined;
  }
}

const purlOf = ({ name, version }) => `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;

/** The hash in hexadecimal of a lockfile's `sha512-BASE64`. */
function sha512Of({ name, integrity = "" }) {
  if (!integrity.startsWith("sha512-")) throw new Error(`package-lock.json: no SHA-512 of ${name}`);
  return Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
}

function componentOf(each) {
  return {
    type: "library",
    "bom-ref": purlOf(each),
    name: each.name,
    version: each.version,
    scope: "required",
    hashes: [{ alg: "SHA-512", content: sha512Of(each) }],
    ...(each.license && { licenses: licensesOf(each.license) }),
    purl: purlOf(each),
  };
}

const byRef = (a, b) => (a.ref < b.ref ? -1 : 1);
const byPurl = (a, b) => (a.purl < b.purl ? -1 : 1);

/**
 * The bill of `root`: a package (name, version, license, type) with the npm packages it directly
 * depends on. `isPart`: of those that they lead to, the ones to list. `others`: further components,
 * on which `root` depends directly.
 */
export function sbomOf(lock, { root, dependencies, isPart = () => true, others = [] }) {
  const all = [...installedPackages(lock, dependencies)];
  const found = new Map(all.filter(([path]) => isPart(path)));
  const refs = (paths) =>
    [...paths].filter((path) => found.has(path)).map((path) => purlOf(found.get(path)));
  const { name, version, license, type } = root;
  const purl = root.purl ?? purlOf(root);
  const own = { type, name, version, purl, licenses: licensesOf(license) };
  const direct = dependencies.map((each) => resolvedPath(lock.packages, "", each));
  const indirect = [...found.values()].map((each) => ({
    ref: purlOf(each),
    dependsOn: refs(each.uses).toSorted(),
  }));
  const dependsOn = [...refs(direct), ...others.map((each) => each["bom-ref"])];
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component: { "bom-ref": purl, ...own } },
    components: [...[...found.values()].map(componentOf).toSorted(byPurl), ...others],
    dependencies: [{ ref: purl, dependsOn }, ...indirect.toSorted(byRef)],
  };
}

function licensesOf(license) {
  return /[ ()]/.test(license) ? [{ expression: license }] : [{ license: { id: license } }];
}

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** The commit that is built. An image's build has no repository and is told the commit. */
function sources() {
  const uri = `git+${repositoryUri}`;
  const { SOURCE_COMMIT: told = "" } = process.env;
  if (/^[0-9a-f]{40}$/.test(told)) return { uri, digest: { gitCommit: told } };
  const git = (...args) => spawnSync("git", args, { encoding: "utf8" });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) return { uri, annotations: { commit: "unknown" } };
  const built = ["src", "web", "proto", "scripts", "package.json", "package-lock.json"];
  const { stdout: changed } = git("status", "--porcelain", "--", ...built);
  const digest = { gitCommit: head.stdout.trim() };
  return changed === "" ? { uri, digest } : { uri, digest, annotations: { changed: "true" } };
}

function provenance(lock) {
  const files = globSync(["dist/**/*", "proto/**/*"], { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`)
    .filter((path) => path !== "dist/provenance.json");
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: files.toSorted().map((name) => ({ name, digest: { sha256: sha256(name) } })),
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: `${repositoryUri}/blob/main/scripts/build.mjs`,
        externalParameters: { command: "npm run build" },
        internalParameters: {
          node: process.version,
          typescript: lock.packages["node_modules/typescript"].version,
        },
        resolvedDependencies: [
          sources(),
          { uri: "package-lock.json", digest: { sha256: sha256("package-lock.json") } },
        ],
      },
      runDetails: { builder: { id: "unsigned: says what was built, and does not prove who did" } },
    },
  };
}

export function writeBill() {
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
  const write = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
  const { name, version, license, dependencies } = lock.packages[""];
  const root = { type: "application", name, version, license };
  write("dist/sbom.cdx.json", sbomOf(lock, { root, dependencies: Object.keys(dependencies) }));
  write("dist/provenance.json", provenance(lock));
}
