// The single executable: Node with the bundled program and LevelDB's native addon inside (Node's
// "single executable applications"). It runs where no Node is installed.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { rolldown } from "rolldown";
import { sbomOf } from "../bill.mjs";

/** By name of the CPU in Node: the file among the addon's prebuilt ones for glibc. */
const addons = { x64: "classic-level.node", arm64: "classic-level.armv8.node" };
const addonName = "classic-level.node";
const addonLoader = resolve("scripts/packages/addon.cjs");
/** The flags for Node's memory: as src/bin.ts. */
const execArgv = ["--max-semi-space-size=8", "--initial-old-space-size=64", "--expose-gc"];
/** Marks the place in Node's executable that says whether it contains a program. */
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

export function addonPath() {
  return `node_modules/classic-level/prebuilds/linux-${process.arch}/${addons[process.arch]}`;
}

/** Writes the program as one file; answers the paths in node_modules of the packages in it. */
async function bundle(file, version) {
  const build = await rolldown({
    input: "./src/bin.ts",
    platform: "node",
    // grpc-js loads it for channelz and ORCA reports only, which Annals does not use.
    external: ["@grpc/proto-loader"],
    plugins: [
      {
        name: "addon",
        load: (id) =>
          id.endsWith("/classic-level/binding.js")
            ? `module.exports = require(${JSON.stringify(addonLoader)});`
            : undefined,
      },
    ],
    transform: {
      define: { ANNALS_VERSION: JSON.stringify(version), "import.meta.url": "undefined" },
    },
  });
  const { output } = await build.write({ file, format: "cjs", codeSplitting: false });
  if (output.length !== 1) throw new Error("the bundle is not one file");
  const modules = Object.keys(output[0].modules);
  const paths = modules.map((id) => /node_modules\/.*(?<=node_modules\/)(@[^/]+\/)?[^/]+/.exec(id));
  return new Set(paths.flatMap((found) => found ?? []).filter((path) => path?.includes("node_")));
}

/** The folder of the Node that builds: its executable and its licence. */
function nodeFolder() {
  const executable = realpathSync(process.execPath);
  const folders = [
    join(dirname(executable), ".."),
    join(dirname(executable), `../node_modules/node-linux-${process.arch}`),
  ];
  const folder = folders.find((each) => existsSync(join(each, "LICENSE")));
  if (folder === undefined) throw new Error(`no LICENSE beside ${executable}: run npm ci`);
  return folder;
}

/** The licences of everything in the executable: what one who passes it on has to pass on, too. */
function licences(bundled) {
  const texts = [...bundled].toSorted().map((path) => {
    const { name, version } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    const [file] = globSync("{LICENSE,LICENCE,license}*", { cwd: path }).toSorted();
    const text = file === undefined ? "Licence: see its package" : readFileSync(join(path, file));
    return `${name} ${version}\n\n${text}`;
  });
  for (const part of globSync("node_modules/classic-level/deps/**/{LICENSE,COPYING}").toSorted()) {
    texts.push(`${dirname(part).replace(/^node_modules\//, "")}\n\n${readFileSync(part)}`);
  }
  texts.push(`Node.js ${process.version}\n\n${readFileSync(join(nodeFolder(), "LICENSE"))}`);
  return texts.join(`\n${"=".repeat(80)}\n\n`);
}

/** Node and the libraries compiled into it, which scanners know by these names. */
function nodeComponents() {
  const component = (name, version) => {
    const purl = `pkg:generic/${name}@${version}`;
    return { type: "library", "bom-ref": purl, name, version, scope: "required", purl };
  };
  const { node, modules: _, napi: __, ...others } = process.versions;
  const known = Object.entries(others).filter(([, version]) => version !== "");
  return [
    { ...component("node", node), cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*` },
    ...known.toSorted().map(([name, version]) => component(name, version)),
  ];
}

function run(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
}

/** Makes the executable `file`; answers its licences and its bill. */
export async function executable(scratch, file) {
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
  const { name, version, license, dependencies } = lock.packages[""];
  mkdirSync(scratch, { recursive: true });
  const [main, blob] = ["annals.cjs", "annals.blob"];
  const bundled = await bundle(join(scratch, main), version);
  // No code cache: it would save 50 ms of each start, but its bytes differ from build to build.
  const options = { disableExperimentalSEAWarning: true, useCodeCache: false, execArgv };
  const assets = { [addonName]: resolve(addonPath()) };
  const config = JSON.stringify({ main, output: blob, assets, ...options });
  writeFileSync(join(scratch, "sea.json"), config);
  // Within the folder, since the path of the program becomes part of the executable.
  run(process.execPath, ["--experimental-sea-config", "sea.json"], { cwd: scratch });
  copyFileSync(process.execPath, file);
  run("postject", [file, "NODE_SEA_BLOB", join(scratch, blob), "--sentinel-fuse", fuse]);
  const sbom = sbomOf(lock, {
    root: { type: "application", name, version, license },
    dependencies: Object.keys(dependencies),
    isPart: (path) => bundled.has(path),
    others: nodeComponents(),
  });
  return { version, licences: licences(bundled), sbom };
}
