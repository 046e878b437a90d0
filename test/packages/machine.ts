// A machine that has none of this repository, as far as one machine can be another: an empty folder
// with an empty home, an environment of its own, and on the path a Node of the version asked for,
// or none at all.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { cacheRoot, execute } from "../clients/build-cache.ts";
import { freePort, repository } from "../clients/live-server.ts";

/** The latest release of Node 22 that these tests have seen. */
const node22 = "22.23.3";

export type NodeMajor = 22 | 24;

/** The folder with the executable of a Node. Node 22 comes from npm, once. */
export async function nodeFolder(major: NodeMajor): Promise<string> {
  if (major === 24) return join(repository, "node_modules/node/bin");
  const name = `node-linux-${process.arch}`;
  const folder = join(cacheRoot(), `node-${node22}`);
  const bin = join(folder, "node_modules", name, "bin");
  if (!existsSync(join(bin, "node"))) {
    mkdirSync(folder, { recursive: true });
    const install = ["npm", "install", "--no-save", "--prefix", folder, `${name}@${node22}`];
    await execute(install, folder);
  }
  return bin;
}

/** The user `nobody`, where the test may become another one. */
export const nobody: number | undefined = process.getuid?.() === 0 ? 65_534 : undefined;

export interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

export interface Served {
  readonly pid: number;
  readonly address: string;
  readonly errors: () => string;
  /** By SIGTERM; the exit code. */
  stop(): Promise<number | null>;
}

export class Machine {
  readonly home: string;
  readonly folder: string;
  readonly temporary: string;
  private readonly root: string;
  private readonly running = new Set<ChildProcess>();
  private readonly path: string;
  private readonly user: number | undefined;

  /** `path`: the folders in which commands are found. `user`: who owns the folders. */
  constructor(path: readonly string[], user?: number) {
    this.path = path.join(":");
    this.user = user;
    this.root = mkdtempSync(join(tmpdir(), "annals-machine-"));
    const folders = ["home", "work", "tmp"].map((name) => join(this.root, name));
    [this.home, this.folder, this.temporary] = folders as [string, string, string];
    for (const each of folders) mkdirSync(each);
    chmodSync(this.root, 0o755);
    if (user !== undefined) {
      const { status } = spawnSync("chown", [String(user), ...folders]);
      if (status !== 0) throw new Error("chown failed");
    }
  }

  private spawned(command: readonly string[], more: Record<string, string>): ChildProcess {
    const [program = "", ...args] = command;
    const env = {
      HOME: this.home,
      PATH: this.path,
      TMPDIR: this.temporary,
      ...more,
    };
    const user = this.user === undefined ? {} : { uid: this.user, gid: this.user };
    const stdio = ["ignore", "pipe", "pipe"] as const;
    const child = spawn(program, args, { cwd: this.folder, env, stdio: [...stdio], ...user });
    this.running.add(child);
    child.once("close", () => this.running.delete(child));
    return child;
  }

  /** Runs a command to its end. */
  async run(command: readonly string[], more: Record<string, string> = {}): Promise<Ended> {
    const child = this.spawned(command, more);
    const said = { output: "", errors: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (said.output += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (said.errors += text));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    return { code, ...said };
  }

  /** What a command printed. Throws unless it ended with 0. */
  async output(command: readonly string[], more: Record<string, string> = {}): Promise<string> {
    const { code, output, errors } = await this.run(command, more);
    if (code === 0) return output;
    throw new Error(`${command.join(" ")}: exit code ${code}\n${output}${errors}`);
  }

  /** Installs npm packages, through the cache and the registry of the machine that tests. */
  async install(...packages: readonly string[]): Promise<void> {
    writeFileSync(join(this.folder, "package.json"), '{ "private": true }');
    const reach = /^(npm_config_(registry|cafile)|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy)$/i;
    const own = Object.entries(process.env).filter(([name]) => reach.test(name));
    const cache = { npm_config_cache: join(cacheRoot(), "npm") };
    const env = { ...(Object.fromEntries(own) as Record<string, string>), ...cache };
    await this.output(["npm", "install", "--prefer-offline", ...packages], env);
  }

  /** Starts a server by `command` on a free port; waits until it serves. */
  async serve(command: readonly string[], more: Record<string, string> = {}): Promise<Served> {
    const port = await freePort();
    const child = this.spawned([...command, "--port", String(port)], more);
    const ended = once(child, "close");
    let errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (errors += text));
    await new Promise<void>((resolve, reject) => {
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        if (text.includes(" serves on ")) resolve();
      });
      child.once("error", reject);
      child.once("close", (code) => reject(new Error(`ended with ${code}:\n${errors}`)));
    });
    const { pid = 0 } = child;
    const address = `127.0.0.1:${port}`;
    return {
      pid,
      address,
      errors: () => errors,
      async stop() {
        child.kill("SIGTERM");
        const [code] = (await ended) as [number | null];
        return code;
      },
    };
  }

  /** Ends what still runs, and removes the folders. */
  remove(): void {
    for (const child of this.running) child.kill("SIGKILL");
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The packages below the server's own folder or beside it, each with its version. */
export function installed(folder: string): string[] {
  const files = globSync("node_modules/**/package.json", { cwd: folder });
  const isPackage = (path: string): boolean => {
    const inside = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    return inside.split("/").length === (inside.startsWith("@") ? 3 : 2);
  };
  const read = (path: string): { name: string; version: string } =>
    JSON.parse(readFileSync(join(folder, path), "utf8")) as { name: string; version: string };
  return files
    .filter(isPackage)
    .map(read)
    .filter(({ name }) => name !== "annals")
    .map((each) => `${each.name}@${each.version}`)
    .toSorted();
}

/** Loads the console as a browser does: the page, and what the page names. */
export async function visitConsole({ address }: Served): Promise<void> {
  const page = await fetch(`http://${address}/`);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const html = await page.text();
  const named = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path = ""]) => path);
  expect(named).toEqual(
    expect.arrayContaining(["/console/app.js", "/console/app.css", "/console/icon.svg"]),
  );
  for (const path of named) {
    const part = await fetch(`http://${address}${path}`);
    expect(part.status, path).toBe(200);
    expect((await part.text()).length).toBeGreaterThan(100);
  }
}
