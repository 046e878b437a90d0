// The OCI image, as a layout in a tar archive, built without a daemon: one layer with the shared
// libraries that the executable needs, from Debian's packages, and one with the executable. There is
// no shell in it and no package manager. The same executable and packages give the same bytes.
import { spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { globSync, lstatSync, mkdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tar } from "./tar.mjs";

const user = 1000;
const architectures = { x64: "amd64", arm64: "arm64" };
/** `base-files` says which distribution it is, for scanners. */
const debianPackages = ["base-files", "ca-certificates", "libc6", "libgcc-s1"].concat([
  "libjemalloc2",
  "libstdc++6",
]);
/** What is taken of them. */
const wanted = /^\/?(usr\/)?lib(64)?\/([^/]+-linux-gnu[^/]*\/)?[^/]+\.so[^/]*$|\/copyright$/;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const json = (value) => Buffer.from(JSON.stringify(value));

function run(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr || status}`);
  return stdout;
}

/** Downloads and unpacks the packages; apt verifies their signatures. */
function unpackDebian(scratch) {
  const debs = join(scratch, "debs");
  mkdirSync(debs, { recursive: true });
  const download = () => run("apt-get", ["download", "-qq", ...debianPackages], { cwd: debs });
  try {
    download();
  } catch {
    run("apt-get", ["update", "-qq"]);
    download();
  }
  const root = join(scratch, "debian");
  return globSync("*.deb", { cwd: debs })
    .toSorted()
    .map((file) => {
      const deb = join(debs, file);
      const folder = join(root, file);
      mkdirSync(folder, { recursive: true });
      run("dpkg-deb", ["--extract", deb, folder]);
      const control = run("dpkg-deb", ["--field", deb]);
      const field = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(control)?.[1] ?? "";
      return { name: field("Package"), version: field("Version"), control, folder };
    });
}

/** Debian 12 keeps `/lib` as a link to `/usr/lib`: both are one folder in the image. */
function libraries({ folder }) {
  return globSync("**/*", { cwd: folder })
    .filter((path) => wanted.test(path) && !lstatSync(join(folder, path)).isDirectory())
    .map((path) => {
      const full = join(folder, path);
      const at = path.replace(/^(lib|lib64)\//, "usr/$1/");
      const { mode } = lstatSync(full);
      return lstatSync(full).isSymbolicLink()
        ? { path: at, link: readlinkSync(full) }
        : { path: at, from: full, mode: mode & 0o755 };
    });
}

/** The bundle of authorities, as `update-ca-certificates` makes it. */
function certificates({ folder }) {
  const files = globSync("usr/share/ca-certificates/mozilla/*.crt", { cwd: folder }).toSorted();
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  for (const text of texts) new X509Certificate(text);
  return `${texts.join("\n")}\n`;
}

function baseEntries(packages) {
  const byName = Object.fromEntries(packages.map((each) => [each.name, each]));
  const release = readFileSync(join(byName["base-files"].folder, "usr/lib/os-release"));
  const files = [
    { path: "etc/group", data: `root:x:0:\nannals:x:${user}:\n` },
    { path: "etc/nsswitch.conf", data: "hosts: files dns\n" },
    { path: "etc/os-release", data: release },
    {
      path: "etc/passwd",
      data:
        "root:x:0:0:root:/root:/usr/sbin/nologin\n" +
        `annals:x:${user}:${user}:Annals:/data:/usr/sbin/nologin\n`,
    },
    { path: "etc/ssl/certs/ca-certificates.crt", data: certificates(byName["ca-certificates"]) },
    { path: "lib", link: "usr/lib" },
    { path: "lib64", link: "usr/lib64" },
    // What a runtime mounts.
    ...["dev", "proc", "sys"].map((path) => ({ path })),
    { path: "tmp", mode: 0o1777 },
    ...packages.flatMap(libraries),
    // Where scanners look for the packages of an image without a package manager.
    ...packages.map(({ name, control }) => ({
      path: `var/lib/dpkg/status.d/${name}`,
      data: control,
    })),
  ];
  return withFolders(files);
}

/** Each folder before what is in it, in one order. */
function withFolders(entries) {
  const given = new Set(entries.map(({ path }) => path));
  const folders = new Set(
    entries.flatMap(({ path }) =>
      path
        .split("/")
        .slice(0, -1)
        .map((_, index, parts) => parts.slice(0, index + 1).join("/")),
    ),
  );
  const all = [
    ...[...folders].filter((path) => !given.has(path)).map((path) => ({ path })),
    ...entries,
  ];
  return all.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function layerOf(entries, mtime) {
  const bytes = tar(entries, mtime);
  return { diffId: `sha256:${sha256(bytes)}`, bytes: gzipSync(bytes, { level: 6 }) };
}

function configOf({ version, license, commit, created, layers, uri }) {
  const probe = { Interval: 10e9, Timeout: 3e9, StartPeriod: 10e9, Retries: 3 };
  return {
    created,
    architecture: architectures[process.arch],
    os: "linux",
    config: {
      User: `${user}:${user}`,
      ExposedPorts: { "7420/tcp": {} },
      // As in the Dockerfile, which says why.
      Env: [
        "PATH=/usr/local/bin",
        "ANNALS_DATA=/data",
        "ANNALS_HOST=0.0.0.0",
        "ANNALS_ALLOW_REMOTE=true",
        "MALLOC_ARENA_MAX=2",
        "MALLOC_MMAP_THRESHOLD_=262144",
        "MALLOC_CONF=narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0",
        "LD_PRELOAD=libjemalloc.so.2",
      ],
      Entrypoint: ["annals"],
      Cmd: ["serve"],
      Volumes: { "/data": {} },
      WorkingDir: "/",
      StopSignal: "SIGTERM",
      // Docker's own; OCI has none, and others ignore it.
      Healthcheck: { Test: ["CMD", "annals", "health"], ...probe },
      Labels: {
        "org.opencontainers.image.title": "annals",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": license,
        "org.opencontainers.image.source": uri,
        "org.opencontainers.image.revision": commit,
      },
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: [
      { created, created_by: `Debian's ${debianPackages.join(", ")}` },
      { created, created_by: `annals ${version}` },
    ],
  };
}

/** `files`: what the image has besides libraries, by name. Answers the archive and Debian's packages. */
export function image(scratch, { files, version, license, commit, uri, epoch }) {
  const packages = unpackDebian(scratch);
  const own = [
    { path: "data", mode: 0o700, owner: user },
    ...files.map(({ path, ...rest }) => ({ path: `usr/local/lib/annals/${path}`, ...rest })),
    { path: "usr/local/bin/annals", link: "../lib/annals/annals" },
  ];
  const layers = [layerOf(baseEntries(packages), epoch), layerOf(withFolders(own), epoch)];
  const created = new Date(epoch * 1_000).toISOString();
  const type = "application/vnd.oci.image";
  const config = json(configOf({ version, license, commit, created, layers, uri }));
  const descriptor = (mediaType, bytes) => ({
    mediaType,
    digest: `sha256:${sha256(bytes)}`,
    size: bytes.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${type}.manifest.v1+json`,
    config: descriptor(`${type}.config.v1+json`, config),
    layers: layers.map(({ bytes }) => descriptor(`${type}.layer.v1.tar+gzip`, bytes)),
  });
  const named = {
    ...descriptor(`${type}.manifest.v1+json`, manifest),
    platform: { architecture: architectures[process.arch], os: "linux" },
    annotations: {
      "org.opencontainers.image.ref.name": version,
      // What `docker load` and containerd name it.
      "io.containerd.image.name": `docker.io/library/annals:${version}`,
    },
  };
  const index = { schemaVersion: 2, mediaType: `${type}.index.v1+json`, manifests: [named] };
  const blobs = [config, manifest, ...layers.map(({ bytes }) => bytes)];
  const archive = tar(
    withFolders([
      { path: "oci-layout", data: json({ imageLayoutVersion: "1.0.0" }) },
      { path: "index.json", data: json(index) },
      ...blobs.map((data) => ({ path: `blobs/sha256/${sha256(data)}`, data })),
    ]),
    epoch,
  );
  return { archive, packages, digest: named.digest };
}
