// UmaDB's own server, which its Python package holds, as a process on a fresh folder and a free
// port. The package is installed once, into a folder of the benchmark that git ignores.

import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Peer } from "./peer.ts";

const version = "0.7.8";
const environment = fileURLToPath(new URL("../../.tmp/umadb", import.meta.url));
const python = join(environment, "bin", "python");
const serve = "import sys, umadb; umadb.run_server_from_args(sys.argv)";
const startMsMax = 10_000;
const lookEveryMs = 50;

export async function startUmadb(folder: string): Promise<Peer> {
  if (!existsSync(join(environment, "ready-" + version))) install();
  const host = "127.0.0.1";
  const port = await freePort(host);
  const flags = ["--listen", `${host}:${port}`, "--db-path", folder];
  const child = spawn(python, ["-c", serve, ...flags], { stdio: "ignore" });
  const stopWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", stopWithUs);
  for (const since = performance.now(); !(await listens(host, port)); await sleep(lookEveryMs)) {
    if (child.exitCode !== null || performance.now() - since > startMsMax) {
      child.kill("SIGKILL");
      throw new Error("the server of UmaDB does not start");
    }
  }
  return {
    name: `UmaDB ${version}`,
    server: { host, port, protocol: "umadb", pid: child.pid },
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => {
          process.off("exit", stopWithUs);
          resolve();
        });
        child.kill("SIGKILL");
      }),
  };
}

function install(): void {
  const run = (file: string, ...args: string[]): void =>
    void execFileSync(file, args, { stdio: ["ignore", 2, 2] });
  run("python3", "-m", "venv", environment);
  run(python, "-m", "pip", "install", "--quiet", `umadb==${version}`);
  run(python, "-c", `open(${JSON.stringify(join(environment, "ready-" + version))}, "w")`);
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
