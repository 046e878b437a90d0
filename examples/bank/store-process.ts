// The bank's store: a server on its own folder, which the tour kills and starts again.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export interface StoreProcess {
  readonly address: string;
  start(): void;
  /** Like a power cut: nothing is finished and nothing is said. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export async function storeProcess(folder: string): Promise<StoreProcess> {
  const port = await freePort();
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null) return;
    ending.kill(signal);
    await once(ending, "exit");
  };
  return {
    address: `127.0.0.1:${port}`,
    start() {
      const args = ["serve", "--data", folder, "--port", String(port), "--log-level", "error"];
      child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    },
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
