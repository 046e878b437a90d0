// What `npm run packages` builds, each tried where nothing of this repository is: the npm packages
// on Node 22 and 24, the executable without any Node and as another user, the tarball and the image.
// All servers use one store after another, so that each opens what the others wrote.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { execute, missingTool } from "../clients/build-cache.ts";
import { repository, startLiveServer } from "../clients/live-server.ts";
import { installed, Machine, nobody, nodeFolder, visitConsole } from "./machine.ts";
import type { NodeMajor, Served } from "./machine.ts";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const base = `annals-${version}-linux-${process.arch}`;
const systemPath = ["/usr/bin", "/bin"];

let built = "";
const machines: Machine[] = [];
const inPackages = (name: string): string => join(built, "first", name);

const build = (name: string, ...kinds: string[]): Promise<string> =>
  execute(["node", "scripts/packages.mjs", join(built, name), ...kinds], repository);

beforeAll(async () => {
  built = mkdtempSync(join(tmpdir(), "annals-packages-"));
  await build("first");
});
afterEach(() => {
  for (const machine of machines.splice(0)) machine.remove();
});
afterAll(() => rmSync(built, { recursive: true, force: true }));

async function machineWith(major: NodeMajor | undefined, user?: number): Promise<Machine> {
  const path = major === undefined ? ["/nonexistent"] : [await nodeFolder(major), ...systemPath];
  const machine = new Machine(path, user);
  machines.push(machine);
  return machine;
}

const argumentsOf = ({ pid }: Served): string[] =>
  readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
const environmentOf = ({ pid }: Served): string[] =>
  readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
const mallocSettings = ["MALLOC_ARENA_MAX=2", "MALLOC_MMAP_THRESHOLD_=262144"];

/** Appends an event and reads it again, by the command line. */
async function converse(machine: Machine, annals: readonly string[], at: Served): Promise<void> {
  const address = ["--address", at.address];
  const append = [...annals, "append", "user-1", "Seen", '{"by":"test"}', ...address];
  await machine.output(append);
  const read = await machine.output([...annals, "read", "user-1", "--json", ...address]);
  expect(read).toContain('"json":{"by":"test"}');
  expect(await machine.output([...annals, "health", ...address])).toBe("serving\n");
  await visitConsole(at);
}

describe("the folder of packages", () => {
  test("is the same, byte for byte, when it is built again", async () => {
    // The image contains the executable.
    await build("again", "npm", "image");
    const sums = (name: string): string[] =>
      readFileSync(join(built, name, "SHA256SUMS"), "utf8")
        .trim()
        .split("\n");
    const again = sums("again");
    expect(again).toHaveLength(6);
    expect(again.filter((line) => !sums("first").includes(line))).toEqual([]);
    expect(sums("first")).toHaveLength(9);
  });

  test("has checksums that hold", async () => {
    const checked = await execute(["sha256sum", "--check", "SHA256SUMS"], join(built, "first"));
    expect(
      checked
        .trim()
        .split("\n")
        .every((line) => line.endsWith(": OK")),
    ).toBe(true);
  });

  test("has a client with whose exports and types publint and attw find no fault", async () => {
    const file = inPackages(`annals-client-${version}.tgz`);
    expect(await execute(["publint", file, "--strict"], repository)).toContain("All good");
    await execute(["attw", file, "--profile", "esm-only", "--quiet"], repository);
  });

  test("has a bill of materials for each, with versions, whose references lead somewhere", () => {
    const bills = globSync("*.cdx.json", { cwd: join(built, "first") });
    expect(bills.toSorted()).toEqual(
      [`${base}.cdx.json`, `${base}.oci.cdx.json`, `annals-${version}.cdx.json`].concat(
        `annals-client-${version}.cdx.json`,
      ),
    );
    for (const name of bills) {
      const bill = JSON.parse(readFileSync(inPackages(name), "utf8")) as {
        readonly metadata: { readonly component: { readonly "bom-ref": string } };
        readonly components: readonly { readonly "bom-ref": string; readonly version: string }[];
        readonly dependencies: readonly { readonly ref: string; readonly dependsOn: string[] }[];
      };
      const refs = bill.components.map((each) => each["bom-ref"]);
      expect(new Set(refs).size, name).toBe(refs.length);
      const known = new Set([...refs, bill.metadata.component["bom-ref"]]);
      const named = bill.dependencies.flatMap(({ ref, dependsOn }) => [ref, ...dependsOn]);
      expect(named.filter((ref) => !known.has(ref))).toEqual([]);
      expect(bill.components.every((each) => each.version.length > 0)).toBe(true);
    }
  });
});

const esm = `
import { connect } from "annals-client";
import { sqliteReadModel } from "annals-client/sqlite";
const client = connect({ address: process.argv[2] });
const { lastPosition } = await client.append("esm-1", { type: "Seen", data: { by: "esm" } });
const { head } = await client.info();
console.log(lastPosition > 0, head >= lastPosition, typeof sqliteReadModel);
client.close();
`;
const commonjs = `
const { connect } = require("annals-client");
const client = connect({ address: process.argv[2] });
client.append("cjs-1", { type: "Seen", data: {} }).then(({ lastPosition }) => {
  console.log(lastPosition > 0);
  client.close();
});
`;
const typed = `
import { connect, defineEvents, type AnnalsClient } from "annals-client";
import { postgresReadModel } from "annals-client/postgres";
type Seen = { readonly type: "Seen"; readonly data: { readonly by: string } };
const client = connect({ events: defineEvents<Seen>() });
// @ts-expect-error an event needs its data
void client.append("s", { type: "Seen" });
export type { AnnalsClient };
export { postgresReadModel };
`;

describe.each([22, 24] as const)("on Node %i", (major) => {
  test("the client installs alone, and is imported, required and compiled against", async () => {
    const live = await startLiveServer();
    try {
      const machine = await machineWith(major);
      const { folder } = machine;
      await machine.install(inPackages(`annals-client-${version}.tgz`));
      expect(globSync("**/*.node", { cwd: folder })).toEqual([]);
      const { dependencies } = JSON.parse(
        readFileSync(join(folder, "node_modules/annals-client/package.json"), "utf8"),
      ) as { dependencies: object };
      expect(Object.keys(dependencies)).toEqual(["@bufbuild/protobuf", "@grpc/grpc-js"]);
      writeFileSync(join(folder, "program.mjs"), esm);
      writeFileSync(join(folder, "program.cjs"), commonjs);
      const imported = await machine.output(["node", "program.mjs", live.address]);
      expect(imported).toBe("true true function\n");
      expect(await machine.output(["node", "program.cjs", live.address])).toBe("true\n");
      writeFileSync(join(folder, "program.mts"), typed);
      mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
      const types = join(folder, "node_modules/@types/node");
      rmSync(types, { recursive: true, force: true });
      symlinkSync(join(repository, "node_modules/@types/node"), types);
      const options = ["--strict", "--module", "nodenext", "--target", "es2023", "--noEmit"];
      const tsc = ["tsc", ...options, "--skipLibCheck", "false", "--types", "node", "program.mts"];
      await execute(tsc, folder);
    } finally {
      await live.stop();
    }
  });

  test("the server installs without a registry, and serves", async () => {
    const machine = await machineWith(major);
    const { folder } = machine;
    // Everything is in it: no registry is asked.
    await machine.install("--offline", inPackages(`annals-${version}.tgz`));
    const { components } = JSON.parse(
      readFileSync(inPackages(`annals-${version}.cdx.json`), "utf8"),
    ) as { components: { name: string; version: string }[] };
    expect(installed(folder)).toEqual(
      components.map((each) => `${each.name}@${each.version}`).toSorted(),
    );
    const annals = ["npx", "--offline", "annals"];
    const program = join(folder, "node_modules/.bin/annals");
    const server = await machine.serve([program, "serve", "--data", join(folder, "data")]);
    expect(argumentsOf(server)).toContain("--max-semi-space-size=8");
    expect(environmentOf(server)).toEqual(expect.arrayContaining(mallocSettings));
    await converse(machine, annals, server);
    expect(await server.stop()).toBe(0);
    const data = join(folder, "data");
    await machine.output([...annals, "verify", data]);
    // The executable goes on with a store of the package, and the other way round.
    const alone = await machineWith(undefined);
    cpSync(data, join(alone.folder, "data"), { recursive: true });
    const other = inPackages(base);
    const next = await alone.serve([other, "serve", "--data", join(alone.folder, "data")]);
    await converse(alone, [other], next);
    expect(await next.stop()).toBe(0);
    await machine.output([...annals, "verify", join(alone.folder, "data")]);
  });
});

describe("the executable", () => {
  test("serves, backs up and restores where there is no Node, for another user", async () => {
    const machine = await machineWith(undefined, nobody);
    const annals = join(machine.folder, "annals");
    cpSync(inPackages(base), annals);
    const data = join(machine.folder, "data");
    const server = await machine.serve([annals, "serve", "--data", data]);
    expect(readdirSync(machine.temporary)).toEqual([]);
    await converse(machine, [annals], server);
    const backup = join(machine.folder, "backup");
    await machine.output([annals, "backup", data, backup]);
    expect(await server.stop()).toBe(0);
    await machine.output([annals, "restore", backup, join(machine.folder, "restored")]);
    await machine.output([annals, "verify", join(machine.folder, "restored")]);
    expect(await machine.output([annals, "version"])).toBe(`annals ${version}\n`);
    expect(readdirSync(machine.temporary)).toEqual([]);
    expect(readdirSync(machine.home)).toEqual([]);
  });

  test("runs with the settings for memory that the package has", async () => {
    const machine = await machineWith(undefined);
    const report = join(machine.folder, "report.json");
    const options = `--report-on-signal --report-signal=SIGUSR2 --report-filename=${report}`;
    const server = await machine.serve([inPackages(base), "serve", "--memory"], {
      NODE_OPTIONS: options,
    });
    expect(environmentOf(server)).toEqual(expect.arrayContaining(mallocSettings));
    process.kill(server.pid, "SIGUSR2");
    await expect.poll(() => existsSync(report) && readFileSync(report, "utf8")).toBeTruthy();
    expect(await server.stop()).toBe(0);
    const { javascriptHeap } = JSON.parse(readFileSync(report, "utf8")) as {
      javascriptHeap: { heapSpaces: { new_space: { capacity: number } } };
    };
    // Half of a young generation of 2 x 8 MiB is what can be filled.
    expect(javascriptHeap.heapSpaces.new_space.capacity).toBeLessThanOrEqual(8 * 1024 * 1024);
  });

  test("loads a file of NODE_OPTIONS before it serves, for traces", async () => {
    const machine = await machineWith(undefined);
    const file = join(machine.folder, "telemetry.cjs");
    writeFileSync(file, 'console.error("loaded first");');
    const options = { NODE_OPTIONS: `--require=${file}` };
    const { code, output, errors } = await machine.run([inPackages(base), "version"], options);
    expect({ code, output, errors }).toEqual({
      code: 0,
      output: `annals ${version}\n`,
      errors: "loaded first\n",
    });
  });

  test("says what to do where it cannot unpack its addon", async () => {
    const machine = await machineWith(undefined);
    const nowhere = { TMPDIR: join(machine.folder, "missing") };
    const annals = join(machine.folder, "annals");
    cpSync(inPackages(base), annals);
    const { code, errors } = await machine.run([annals, "serve", "--memory"], nowhere);
    expect(code).toBe(1);
    expect(errors).toContain("put classic-level.node beside");
    expect(errors).not.toContain("    at ");
    cpSync(addonOf(), join(machine.folder, "classic-level.node"));
    const server = await machine.serve([annals, "serve", "--memory"], nowhere);
    expect(await server.stop()).toBe(0);
    // Another file of that name is not loaded.
    writeFileSync(join(machine.folder, "classic-level.node"), "another addon");
    expect((await machine.run([annals, "serve", "--memory"], nowhere)).code).toBe(1);
  });
});

function addonOf(): string {
  const folder = join(repository, "node_modules/classic-level/prebuilds");
  const name = process.arch === "x64" ? "classic-level.node" : "classic-level.armv8.node";
  return join(folder, `linux-${process.arch}`, name);
}

describe("the tarball", () => {
  test("unpacks to a folder that serves without writing beside the store", async () => {
    const machine = await machineWith(undefined);
    const archive = inPackages(`${base}.tar.gz`);
    await execute(["tar", "-xzf", archive, "-C", machine.folder], repository);
    expect(readdirSync(machine.folder)).toEqual([base]);
    const folder = join(machine.folder, base);
    for (const name of ["LICENSE", "NOTICE", "THIRD-PARTY-LICENSES", "sbom.cdx.json"]) {
      expect(readFileSync(join(folder, name), "utf8").length).toBeGreaterThan(100);
    }
    const annals = join(folder, "annals");
    const nowhere = { TMPDIR: join(machine.folder, "missing") };
    const data = join(machine.folder, "data");
    const server = await machine.serve([annals, "serve", "--data", data], nowhere);
    await converse(machine, [annals], server);
    expect(await server.stop()).toBe(0);
  });
});

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

describe("the image", () => {
  let layout = "";
  let environmentOfImage: readonly string[] = [];
  const blob = ({ digest, size }: Descriptor): Buffer => {
    const bytes = readFileSync(join(layout, "blobs", digest.replace(":", "/")));
    expect(bytes.length).toBe(size);
    expect(`sha256:${createHash("sha256").update(bytes).digest("hex")}`).toBe(digest);
    return bytes;
  };
  const parsed = (bytes: Buffer): unknown => JSON.parse(bytes.toString());

  beforeAll(async () => {
    layout = join(built, "layout");
    mkdirSync(layout);
    await execute(["tar", "-xf", inPackages(`${base}.oci.tar`), "-C", layout], repository);
  });

  test("is a layout whose digests, sizes and layers agree", () => {
    const index = parsed(readFileSync(join(layout, "index.json"))) as { manifests: Descriptor[] };
    const [described] = index.manifests;
    if (described === undefined) throw new Error("no manifest");
    const manifest = parsed(blob(described)) as { config: Descriptor; layers: Descriptor[] };
    const config = parsed(blob(manifest.config)) as {
      config: Record<string, unknown>;
      rootfs: { diff_ids: string[] };
    };
    const rootfs = join(built, "rootfs");
    mkdirSync(rootfs);
    const unpacked = manifest.layers.map((layer) => {
      blob(layer);
      const file = join(layout, "blobs", layer.digest.replace(":", "/"));
      const plain = spawnSync("gzip", ["-dc"], {
        input: readFileSync(file),
        maxBuffer: 2 ** 30,
      }).stdout;
      spawnSync("tar", ["-x", "-C", rootfs], { input: plain });
      return `sha256:${createHash("sha256").update(plain).digest("hex")}`;
    });
    expect(config.rootfs.diff_ids).toEqual(unpacked);
    environmentOfImage = config.config["Env"] as string[];
    expect(config.config).toMatchObject({
      User: "1000:1000",
      Entrypoint: ["annals"],
      Cmd: ["serve"],
      Volumes: { "/data": {} },
      StopSignal: "SIGTERM",
      Healthcheck: { Test: ["CMD", "annals", "health"] },
    });
    expect(readdirSync(join(rootfs, "usr/local/bin"))).toEqual(["annals"]);
    expect(existsSync(join(rootfs, "bin"))).toBe(false);
  });

  test("is read and unpacked by the tools for images", async ({ skip }) => {
    const missing = await missingTool({
      name: "images",
      needs: [
        ["skopeo", "--version"],
        ["umoci", "--version"],
      ],
      debianPackages: ["skopeo", "umoci"],
      build: [],
      run: [],
    });
    if (missing !== undefined) skip(missing);
    const archive = `oci-archive:${inPackages(`${base}.oci.tar`)}:${version}`;
    const read = await execute(["skopeo", "inspect", archive], repository);
    expect(read).toContain('"org.opencontainers.image.title": "annals"');
    const unpack = ["umoci", "raw", "unpack", "--rootless", "--image", `${layout}:${version}`];
    await execute([...unpack, join(built, "unpacked")], repository);
    expect(existsSync(join(built, "unpacked/usr/local/bin/annals"))).toBe(true);
  });

  test("serves as its own user, with nothing but what is in it", async ({ skip }) => {
    if (nobody === undefined) skip("only root may change into it");
    const machine = await machineWith(undefined);
    const rootfs = join(built, "rootfs");
    expect(dirname(rootfs)).toBe(built);
    const inside = (...command: string[]): string[] =>
      ["/usr/sbin/chroot", "--userspec=1000:1000", rootfs, "/usr/local/bin/annals"].concat(command);
    const given = environmentOfImage.filter((variable) => /^(LD|MALLOC)_/.test(variable));
    const settings = Object.fromEntries(given.map((each) => each.split(/=(.*)/).slice(0, 2)));
    const environment = { ...settings, ANNALS_DATA: "/data", TMPDIR: "/missing" };
    const server = await machine.serve(inside("serve"), environment);
    await converse(machine, inside(), server);
    expect(readFileSync(`/proc/${server.pid}/maps`, "latin1")).toContain("/libjemalloc.so.2");
    expect(await server.stop()).toBe(0);
    expect(readdirSync(join(rootfs, "data"))).toContain("IDENTITY");
  });
});
