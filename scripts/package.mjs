// Checks the package as its users would: its exports and types with publint and attw, what the
// client's entry points import, its bill of materials and provenance, and a program that is compiled
// and run against the installed package. Needs dist/ (`npm run build`).
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { packages, reached } from "./packages/reached.mjs";

const entries = ["sdk", "projection/sqlite-read-model", "projection/postgres-read-model"];
function run(command, args, options = {}) {
  const { status, signal } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${signal ?? status}`);
}

function checkImports() {
  for (const entry of entries) {
    for (const kind of ["js", "d.ts"]) {
      const { files, faults } = reached(`dist/client/${entry}.${kind}`);
      if (faults.length > 0) throw new Error(`the client pulls in more:\n${faults.join("\n")}`);
      console.log(`package: ${entry}.${kind} reaches ${files.size} files, all of the client`);
    }
  }
}

/** A source map that points at files which are not in the package says nothing to anybody. */
function checkSourceMaps() {
  const maps = globSync("dist/**/*.map");
  const empty = maps.filter((file) => {
    const { sources, sourcesContent } = JSON.parse(readFileSync(file, "utf8"));
    return sources.some((_, index) => typeof sourcesContent?.[index] !== "string");
  });
  if (empty.length > 0) throw new Error(`maps without their sources:\n${empty.join("\n")}`);
  console.log(`package: ${maps.length} source maps, each with its source`);
}

/**
 * The bill against the packages that npm says are installed without those of development, and the
 * provenance against the bytes of the files in the package.
 */
function checkBill(installed) {
  const read = (name) => JSON.parse(readFileSync(join(installed, "dist", name), "utf8"));
  const { components } = read("sbom.cdx.json");
  const listed = components.map(({ name, version }) => `${name}@${version}`);
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
  const wanted = Object.entries(lock.packages).flatMap(([path, { version, ...flags }]) => {
    const isNeeded = path !== "" && !flags.dev && !flags.devOptional && !flags.peer;
    return isNeeded ? [`${path.replace(/^.*node_modules\//, "")}@${version}`] : [];
  });
  const differs = (one, other) => one.filter((name) => !other.includes(name));
  const faults = [...differs(wanted, listed), ...differs(listed, wanted)];
  if (faults.length > 0)
    throw new Error(`sbom.cdx.json and package-lock.json: ${faults.join(", ")}`);
  const { subject } = read("provenance.json");
  const digests = new Map(subject.map(({ name, digest }) => [name, digest.sha256]));
  const packed = globSync(["dist/**/*", "proto/**/*"], { cwd: installed, withFileTypes: true });
  for (const entry of packed.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(installed, path);
    if (name === "dist/provenance.json") continue;
    const digest = createHash("sha256").update(readFileSync(path)).digest("hex");
    if (digests.get(name) !== digest) throw new Error(`provenance.json: ${name} is another file`);
    digests.delete(name);
  }
  if (digests.size > 0) throw new Error(`not in the package: ${[...digests.keys()].join(", ")}`);
  console.log(
    `package: a bill of ${listed.length} packages, the digests of ${subject.length} files`,
  );
}

const program = `
import { connect, defineEvents, repository, runProjection, isStoreError } from "annals/client";
import { postgresReadModel, type PostgresPool } from "annals/client/postgres";
import { sqliteReadModel } from "annals/client/sqlite";
import { DatabaseSync } from "node:sqlite";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

type Counted = { readonly type: "Counted"; readonly data: { readonly by: number } };
const client = connect({ events: defineEvents<Counted>(), timeoutMs: 50 });
const position: Promise<number> = client
  .append("s", { type: "Counted", data: { by: 1 } })
  .then(({ lastPosition }) => lastPosition, (error: unknown) => (isStoreError(error) ? -1 : -2));
const model = sqliteReadModel(new DatabaseSync(":memory:"));
const proto = fileURLToPath(import.meta.resolve("annals/proto/annals/v1/append.proto"));
if (!readFileSync(proto, "utf8").includes("AppendRequest")) throw new Error("no proto");
declare const pool: PostgresPool;
const unused = () => [postgresReadModel(pool), repository, runProjection];
if ((await model.checkpoint("p")) !== undefined || unused.length > 0) throw new Error("wrong");
console.log("package: a program that imports it runs, and was told " + (await position));
client.close();
`;

/**
 * Installs the tarball with its dependencies, compiles a program against it in strict mode, and
 * runs it.
 */
function checkProgram() {
  mkdirSync(".tmp", { recursive: true });
  const folder = mkdtempSync(".tmp/package-");
  try {
    run("npm", ["pack", "--silent", "--pack-destination", folder], { stdio: "ignore" });
    const { version } = JSON.parse(readFileSync("package.json", "utf8"));
    const installed = join(folder, "node_modules/annals");
    mkdirSync(installed, { recursive: true });
    const tarball = join(folder, `annals-${version}.tgz`);
    run("tar", ["-xzf", tarball, "-C", installed, "--strip-components", "1"]);
    checkBill(installed);
    if (existsSync(join(installed, "src"))) throw new Error("the sources are in the package");
    const strict = { strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false };
    const node = { module: "nodenext", target: "es2023", types: ["node"], outDir: "out" };
    const compilerOptions = { ...strict, ...node };
    const config = { compilerOptions, include: ["program.ts"] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "program.ts"), program);
    for (const name of [...packages, "@types/node"]) {
      const link = join(folder, "node_modules", name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(resolve("node_modules", name), link);
    }
    run("tsc", ["-p", folder]);
    run("node", [join(folder, "out/program.js")]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

run("publint", ["--strict"]);
run("attw", ["--pack", ".", "--profile", "esm-only", "--quiet"]);
checkImports();
checkSourceMaps();
checkProgram();
