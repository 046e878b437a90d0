// A server as people run one: a process of its own, a folder, a port or a Unix socket; it can be
// stopped in order and started again at the same place.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const repository = resolve(import.meta.dirname, "../..");
export const node = join(repository, "node_modules/.bin/node");

const stopMsMax = 10_000;

export type Transport = "TCP" | "a Unix socket";

export interface LiveServer {
  /** `127.0.0.1:PORT` or `unix:PATH`. */
  readonly address: string;
  /** Orderly, by SIGTERM, then up again with the same data at the same address. */
  restart(): Promise<void>;
  /** By SIGKILL, in the middle of whatever it does, then up again as after `restart`. */
  crash(): Promise<void>;
  /** Orderly; what it stored is deleted. Throws unless it exited with 0. */
  stop(): Promise<void>;
}

/** `flags` are further options of `annals serve`. */
export async function startLiveServer(
  transport: Transport = "TCP",
  flags: readonly string[] = [],
): Promise<LiveServer> {
  const folder = mkdtempSync(join(tmpdir(), "annals-clients-"));
  const socket = join(folder, "run/annals.sock");
  const port = transport === "TCP" ? await freePort() : 0;
  const where =
    transport === "TCP" ? ["--port", String(port)] : ["--no-tcp", "--unix-socket", socket];
  const options = ["--data", join(folder, "data"), ...where, ...flags];
  let running = await launch(options);
  return {
    address: transport === "TCP" ? `127.0.0.1:${port}` : `unix:${socket}`,
    async restart() {
      await stopOrderly(running);
      running = await launch(options);
    },
    async crash() {
      const ended = once(running.process, "close");
      running.process.kill("SIGKILL");
      await ended;
      running = await launch(options);
    },
    async stop() {
      try {
        await stopOrderly(running);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

interface Running {
  readonly process: ChildProcess;
  /** What it logged. */
  readonly log: () => string;
}

async function launch(options: readonly string[]): Promise<Running> {
  const args = ["src/main.ts", "serve", ...options];
  const server = spawn(node, args, { cwd: repository, stdio: ["ignore", "pipe", "pipe"] });
  // A test that is cut off leaves no server behind.
  const orphaned = (): boolean => server.kill("SIGKILL");
  process.once("exit", orphaned);
  server.once("close", () => process.off("exit", orphaned));
  let log = "";
  server.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const up = new Promise<void>((ready, failed) => {
    let said = "";
    server.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes(" serves on ")) ready();
    });
    server.once("error", failed);
    server.once("close", (code) => failed(new Error(`the server ended with ${code}:\n${log}`)));
  });
  await up;
  return { process: server, log: () => log };
}

async function stopOrderly({ process: server, log }: Running): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) {
    const ended = once(server, "close");
    server.kill("SIGTERM");
    const overdue = setTimeout(() => server.kill("SIGKILL"), stopMsMax);
    await ended;
    clearTimeout(overdue);
  }
  if (server.exitCode !== 0) {
    const how = server.signalCode ?? `exit code ${server.exitCode}`;
    throw new Error(`the server did not stop in order: ${how}\n${log()}`);
  }
}
