// The two npm packages: the server with the command `annals`, and the TypeScript client alone,
// which has no native modules. Both contain what `npm run build` made, in folders of their own, with
// a package.json that says what users need and nothing of the development.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { reached } from "./reached.mjs";
import { sbomOf } from "../bill.mjs";

const entries = ["sdk", "projection/sqlite-read-model", "projection/postgres-read-model"];
const clientName = "annals-client";

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const text = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** What both packages say of themselves. */
function about({ version, description, license, type, engines, repository }) {
  return { version, description, license, repository, type, engines };
}

/**
 * Copies everything that the server runs on, as `npm ci` has verified it against the lockfile. It is
 * in the package: what is installed is what was tested, also where no registry is reached.
 */
function copyDependencies(folder) {
  const { packages } = json("package-lock.json");
  for (const [path, { dev, devOptional, peer }] of Object.entries(packages)) {
    if (path === "" || dev || devOptional || peer) continue;
    // Packages within others are listed on their own.
    const isOwn = (file) => !relative(path, file).split(sep).includes("node_modules");
    cpSync(path, join(folder, path), { recursive: true, filter: isOwn });
  }
}

/** Packs a folder; answers the name of the tarball. */
function pack(folder, out) {
  // An absolute path: npm takes `made/client` for a repository on GitHub.
  const path = resolve(folder);
  const args = ["pack", "--silent", "--ignore-scripts", "--pack-destination", out, path];
  const { status, stdout } = spawnSync("npm", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${status}`);
  return stdout.trim();
}

export function serverPackage(scratch, out) {
  const source = json("package.json");
  const folder = join(scratch, "server");
  mkdirSync(folder, { recursive: true });
  for (const name of ["dist", "proto", "LICENSE", "NOTICE"]) {
    cpSync(name, join(folder, name), { recursive: true });
  }
  for (const name of ["README.md", "CHANGELOG.md"]) {
    writeFileSync(join(folder, name), pageOutside(name, source));
  }
  const { name, bin, exports, dependencies, peerDependencies, peerDependenciesMeta } = source;
  const files = ["dist", "proto", "CHANGELOG.md", "NOTICE"];
  const needs = { dependencies, bundleDependencies: true, peerDependencies, peerDependenciesMeta };
  const own = { bin, files, exports, ...needs };
  const manifest = { name, ...about(source), ...own };
  writeFileSync(join(folder, "package.json"), text(manifest));
  copyDependencies(folder);
  return pack(folder, out);
}

/** A page as one reads it outside the repository: its links lead there. */
function pageOutside(path, { repository }) {
  const base = repository.url.replace(/^git\+|\.git$/g, "");
  return readFileSync(path, "utf8").replaceAll(
    /\]\((?!\w+:|#)([^)]+)\)/g,
    (_, target) => `](${base}/blob/main/${join(dirname(path), target)})`,
  );
}

export function clientPackage(scratch, out) {
  const source = json("package.json");
  const folder = join(scratch, "client");
  const copy = (file) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(file, join(folder, file));
    if (existsSync(`${file}.map`)) cpSync(`${file}.map`, join(folder, `${file}.map`));
  };
  for (const entry of entries) {
    for (const kind of ["js", "d.ts"]) {
      const { files } = reached(`dist/client/${entry}.${kind}`);
      for (const file of files) copy(file);
    }
  }
  for (const name of ["LICENSE", "NOTICE"]) copy(name);
  const target = (entry) => ({
    types: `./dist/client/${entry}.d.ts`,
    default: `./dist/client/${entry}.js`,
  });
  const names = [".", "./sqlite", "./postgres"];
  const { peerDependencies, peerDependenciesMeta } = source;
  const dependencies = Object.fromEntries(
    ["@bufbuild/protobuf", "@grpc/grpc-js"].map((name) => [name, `^${source.dependencies[name]}`]),
  );
  const manifest = {
    name: clientName,
    ...about(source),
    description: "The TypeScript client of Annals, an event store as a gRPC service",
    files: ["dist", "NOTICE"],
    sideEffects: false,
    exports: {
      ...Object.fromEntries(names.map((name, index) => [name, target(entries[index])])),
      "./package.json": "./package.json",
    },
    dependencies,
    peerDependencies,
    peerDependenciesMeta,
  };
  writeFileSync(join(folder, "package.json"), text(manifest));
  const page = pageOutside("docs/clients/typescript-sdk.md", source);
  writeFileSync(join(folder, "README.md"), page.replaceAll("annals/client", clientName));
  const sbom = sbomOf(json("package-lock.json"), {
    root: { type: "library", name: clientName, version: source.version, license: source.license },
    dependencies: Object.keys(dependencies),
  });
  writeFileSync(join(folder, "dist/sbom.cdx.json"), text(sbom));
  return pack(folder, out);
}
