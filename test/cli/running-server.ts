// The real server in a process of its own, on a free port, with a folder of its own: started,
// killed and started again by a test, and ended by its own process id.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { connect } from "../../src/client/sdk.ts";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

const startTimeoutMs = 25_000;

export interface RunningServer {
  readonly address: string;
  /** Starts it again on the same port, on its own folder or another. */
  start(data?: string): Promise<void>;
  /** SIGKILL: what a crash is like. */
  kill(): Promise<void>;
  /** SIGTERM; answers the exit code. */
  stop(): Promise<number | null>;
}

/** A folder that goes when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "annals-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Spawned {
  readonly process: ChildProcess;
  /** What it printed, on both outputs. */
  readonly printed: () => string;
  /** Answers the exit code; null where a signal ended it. */
  readonly ended: Promise<number | null>;
  kill(signal?: NodeJS.Signals): void;
}

/** `annals ...argv` in a process of its own. */
export function spawnAnnals(argv: readonly string[]): Spawned {
  const child = spawn(process.execPath, [main, ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = once(child, "close").then(([code]) => code as number | null);
  return {
    process: child,
    printed: () => text,
    ended,
    kill: (signal = "SIGKILL") => void child.kill(signal),
  };
}

export async function startServer(data: string): Promise<RunningServer> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  let spawned: Spawned | undefined;
  const start = async (folder = data) => {
    spawned = spawnAnnals(["serve", "--data", folder, "--port", String(port)]);
    await answering(address, spawned);
  };
  const end = async (signal: NodeJS.Signals) => {
    const ending = spawned;
    spawned = undefined;
    ending?.kill(signal);
    return ending === undefined ? null : ending.ended;
  };
  await start();
  return {
    address,
    start,
    kill: async () => void (await end("SIGKILL")),
    stop: () => end("SIGTERM"),
  };
}

async function answering(address: string, { ended, printed }: Spawned): Promise<void> {
  const client = connect({ address });
  const died = ended.then(() => Promise.reject(new Error(`the server ended: ${printed()}`)));
  try {
    await Promise.race([client.ready(startTimeoutMs), died]);
  } finally {
    client.close();
    died.catch(() => {});
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
