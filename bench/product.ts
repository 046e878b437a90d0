// The product as a separate process on a given folder and a free port. It is identified by its
// process id and stopped by SIGTERM, or killed where that is measured.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";

const startMsMax = 120_000;

export interface ProductOptions {
  /** The compiled program, or its sources. */
  readonly entry: string;
  readonly folder: string;
  /** A file for V8's CPU profile, written when it stops. */
  readonly profile?: { readonly folder: string; readonly name: string } | undefined;
  /** Flags of `annals serve` besides folder and port. */
  readonly flags?: readonly string[];
}

export interface Product {
  readonly pid: number;
  readonly host: string;
  readonly port: number;
  /** The time from the start of the process until it reported that it serves. */
  readonly startSeconds: number;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export async function startProduct(options: ProductOptions): Promise<Product> {
  const { entry, folder, profile, flags: more = [] } = options;
  mkdirSync(folder, { recursive: true });
  const profiling = profile
    ? ["--cpu-prof", `--cpu-prof-dir=${profile.folder}`, `--cpu-prof-name=${profile.name}`]
    : [];
  const flags = ["serve", "--data", folder, "--port", "0", "--log-level", "warn", ...more];
  const since = performance.now();
  const child = spawn(process.execPath, [...profiling, entry, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stopWithUs = () => child.kill("SIGKILL");
  process.once("exit", stopWithUs);
  try {
    const { host, port } = await serving(child);
    return {
      pid: child.pid ?? 0,
      host,
      port,
      startSeconds: (performance.now() - since) / 1_000,
      stop: () => end(child, "SIGTERM", stopWithUs),
      kill: () => end(child, "SIGKILL", stopWithUs),
    };
  } catch (error) {
    await end(child, "SIGKILL", stopWithUs);
    throw error;
  }
}

function serving(child: ChildProcess): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error("the server did not start")), startMsMax);
    const listen = (bytes: Buffer) => {
      said += bytes.toString();
      const [, host, port] = /serves on ([\d.]+):(\d+)/.exec(said) ?? [];
      if (host === undefined || port === undefined) return;
      clearTimeout(timer);
      resolve({ host, port: Number(port) });
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", (bytes: Buffer) => {
      if (said.length < 10_000) said += bytes.toString();
      process.stderr.write(bytes);
    });
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`the server ended with ${signal ?? code}: ${said}`));
    });
  });
}

function end(child: ChildProcess, signal: NodeJS.Signals, listener: () => void): Promise<void> {
  process.off("exit", listener);
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill(signal);
  });
}
