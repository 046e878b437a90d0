// Builds everything that can be installed into the folder packages/: the npm packages of the server
// and of the client, the single executable, alone and in a tarball, and the OCI image; for each its
// bill of materials (CycloneDX), and SHA256SUMS over all. The same sources, lockfile, Node and
// Debian packages give the same bytes.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { chmodSync, globSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { addonPath, executable } from "./packages/executable.mjs";
import { image } from "./packages/image.mjs";
import { clientPackage, serverPackage } from "./packages/npm.mjs";
import { tar } from "./packages/tar.mjs";

const kinds = ["npm", "executable", "image"];
const out = process.argv[2] ?? "packages";
const given = process.argv.slice(3);
const asked = given.length === 0 ? kinds : given;
const unknown = asked.filter((kind) => !kinds.includes(kind));
if (unknown.length > 0) {
  console.error(`no such kind: ${unknown.join(", ")}; there are ${kinds.join(", ")}`);
  process.exit(2);
}

function run(command, args) {
  const { status, signal } = spawnSync(command, args, { stdio: "inherit" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${signal ?? status}`);
}

const git = (...args) => spawnSync("git", args, { encoding: "utf8" }).stdout?.trim() ?? "";
/** The time of all files in archives, in seconds: the commit's. */
const epoch = Number(process.env["SOURCE_DATE_EPOCH"] ?? (git("log", "-1", "--format=%ct") || 0));
const commit = git("rev-parse", "HEAD") || "unknown";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const { repository } = JSON.parse(readFileSync("package.json", "utf8"));
const { name, version, license } = lock.packages[""];
const uri = repository.url.replace(/^git\+|\.git$/g, "");
const text = (value) => `${JSON.stringify(value, null, 2)}\n`;
const write = (file, data) => writeFileSync(join(out, file), data);

/** What stands beside the executable in the tarball and in the image. */
function filesBeside(made, file) {
  return [
    { path: "annals", from: file, mode: 0o755 },
    { path: "classic-level.node", from: addonPath(), mode: 0o755 },
    { path: "LICENSE", from: "LICENSE" },
    { path: "NOTICE", from: "NOTICE" },
    { path: "THIRD-PARTY-LICENSES", data: made.licences },
    { path: "sbom.cdx.json", data: text(made.sbom) },
  ];
}

/** The folder of the tarball: the files, and the recipes of deploy/ that need no repository. */
function tarball(base, files) {
  const recipes = globSync("deploy/{systemd,observability,backup}/**/*", { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  const entries = [
    { path: base },
    ...files.map((file) => ({ ...file, path: `${base}/${file.path}` })),
    ...recipes.map((from) => ({ path: `${base}/${from}`, from })),
  ];
  return gzipSync(tar(entries, epoch), { level: 6 });
}

async function executables(scratch) {
  const base = `annals-${version}-linux-${process.arch}`;
  const file = join(scratch, "annals");
  const made = await executable(scratch, file);
  chmodSync(file, 0o755);
  const files = filesBeside(made, file);
  if (asked.includes("executable")) {
    copyFileSync(file, join(out, base));
    write(`${base}.cdx.json`, text(made.sbom));
    write(`${base}.tar.gz`, tarball(base, files));
  }
  if (!asked.includes("image")) return;
  const about = { files, version, license, commit, uri, epoch };
  const { archive, packages, digest } = image(scratch, about);
  write(`${base}.oci.tar`, archive);
  write(`${base}.oci.cdx.json`, text(imageBill(made.sbom, packages, digest)));
  console.log(`packages: the image is ${digest}`);
}

/** The bill of the image: the executable's, and Debian's packages. */
function imageBill(sbom, packages, digest) {
  const purl = `pkg:oci/annals@${encodeURIComponent(digest)}`;
  const { component: program } = sbom.metadata;
  const debian = packages.map(({ name: deb, version: debVersion }) => {
    const ref = `pkg:deb/debian/${encodeURIComponent(deb)}@${encodeURIComponent(debVersion)}`;
    return { type: "library", "bom-ref": ref, name: deb, version: debVersion, purl: ref };
  });
  const dependsOn = [program, ...debian].map((each) => each["bom-ref"]);
  return {
    ...sbom,
    metadata: { component: { "bom-ref": purl, type: "container", name, version, purl } },
    components: [program, ...sbom.components, ...debian],
    dependencies: [{ ref: purl, dependsOn }, ...sbom.dependencies],
  };
}

const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
mkdirSync(".tmp", { recursive: true });
const scratch = mkdtempSync(".tmp/packages-");
try {
  if (asked.includes("npm")) {
    run("npm", ["run", "--silent", "build"]);
    const folder = resolve(out);
    const [server, client] = [serverPackage(scratch, folder), clientPackage(scratch, folder)];
    copyFileSync("dist/sbom.cdx.json", join(out, server.replace(/\.tgz$/, ".cdx.json")));
    const bill = join(scratch, "client/dist/sbom.cdx.json");
    copyFileSync(bill, join(out, client.replace(/\.tgz$/, ".cdx.json")));
  }
  if (asked.includes("executable") || asked.includes("image")) await executables(scratch);
  const files = readdirSync(out).toSorted();
  write("SHA256SUMS", files.map((file) => `${sha256(join(out, file))}  ${file}\n`).join(""));
  for (const file of files) {
    const { length } = readFileSync(join(out, file));
    console.log(`packages: ${(length / 1e6).toFixed(1).padStart(6)} MB  ${join(out, file)}`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
