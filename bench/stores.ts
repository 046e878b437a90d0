// Stores on disk for a run. A store is preloaded once through the product's pipe and kept. A
// workload that writes gets a cheap copy: tables never change and are linked, the rest is copied.

import {
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Child } from "./child.ts";
import type { LoadJob, LoadResult, Part } from "./load/job.ts";
import { startProduct } from "./product.ts";

const preloadEvents = 100;
const preloadWindow = 48;

export type Load = Child<LoadJob, { result: LoadResult }>;

export class Stores {
  readonly root: string;
  private readonly load: Load;
  private readonly say: (line: string) => void;
  private readonly entry: string;
  private readonly preloaded = new Map<number, string>();
  private count = 0;

  /** The run's folder is made in `parent`. Absent: in the system's temporary folder. */
  constructor(load: Load, entry: string, say: (line: string) => void, parent = tmpdir()) {
    this.load = load;
    this.entry = entry;
    this.say = say;
    this.root = mkdtempSync(join(parent, "annals-bench-"));
    // Also if the run ends with an error.
    process.once("exit", () => this.remove());
  }

  path(name: string): string {
    return join(this.root, `${name}-${++this.count}`);
  }

  /** A store with this many events: the original to read from, or a copy to write to. */
  async get(events: number, written: boolean): Promise<string> {
    let folder = this.preloaded.get(events);
    if (folder === undefined) {
      folder = this.path(`preloaded-${events}`);
      await this.fill(folder, events);
      this.preloaded.set(events, folder);
    }
    return written ? this.copy(folder) : folder;
  }

  copy(folder: string): string {
    const copy = this.path("copy");
    copyTree(folder, copy);
    return copy;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  private async fill(folder: string, events: number): Promise<void> {
    const since = performance.now();
    const product = await startProduct({ entry: this.entry, folder });
    try {
      const { host, port } = product;
      await preload(this.load, { host, port, protocol: "annals" }, events);
    } finally {
      await product.stop();
    }
    const seconds = (performance.now() - since) / 1_000;
    const rate = Math.round(events / seconds).toLocaleString("en-US");
    this.say(
      `preloaded ${events.toLocaleString("en-US")} events in ${seconds.toFixed(1)} s, ${rate}/s`,
    );
  }
}

/**
 * Preloads through a pipe if the protocol has one. In order, so that event n gets position n + 1.
 */
export async function preload(
  load: Load,
  server: Pick<LoadJob, "host" | "port" | "protocol">,
  total: number,
): Promise<void> {
  const call = { verb: "preload", events: preloadEvents, from: 0, total } as const;
  const bounded = { call, connections: 1, requests: Math.ceil(total / preloadEvents) };
  // Without a pipe, one call at a time, so that event n gets position n + 1.
  const window = server.protocol === "umadb" ? 1 : preloadWindow;
  const part: Part = { kind: "pipe", window, orUnary: true, ...bounded };
  const { result } = await load.ask({
    ...server,
    parts: [part],
    warmUpMs: 0,
    measureMs: 0,
  });
  const [loaded] = result.parts;
  if (loaded === undefined || loaded.failed > 0) {
    throw new Error(`preloading failed: ${loaded?.firstFailure ?? "no answer"}`);
  }
}

/** Bytes of all files of a folder. */
export function bytesOf(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    bytes += entry.isDirectory() ? bytesOf(path) : statSync(path).size;
  }
  return bytes;
}

export function copyTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) copyTree(source, target);
    else if (entry.name.endsWith(".ldb")) linkSync(source, target);
    // Sockets are skipped, because they belong to a process.
    else if (entry.isFile()) copyFileSync(source, target);
  }
}
