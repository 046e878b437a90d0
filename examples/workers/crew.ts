// The workers as the shop sees them: processes that it starts, listens to and kills.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("worker.ts", import.meta.url));

/** What a worker prints, one line each. */
export interface Said {
  readonly worker: string;
  readonly took?: string;
  readonly attempt?: number;
  readonly packed?: string;
  readonly customer?: string;
  readonly for?: string;
}

export interface Worker {
  readonly name: string;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export function hire(address: string, name: string, hear: (said: Said) => void): Worker {
  const child: ChildProcess = spawn(process.execPath, [program, address, name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout !== null) {
    createInterface(child.stdout).on("line", (line) => hear(JSON.parse(line) as Said));
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    // Not "exit": what it printed has been heard by then.
    await once(child, "close");
  };
  return { name, kill: () => end("SIGKILL"), stop: () => end("SIGTERM") };
}
