// Measures probes: starts what a probe needs, runs it once, returns what was measured. Servers run
// as long as the workload that needs them.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createToken } from "../src/access/token-file.ts";
import { startChild, type Child } from "./child.ts";
import { Databases, together } from "./databases.ts";
import type { LevelJob, LevelResult } from "./limits/level-chunks.ts";
import type { NoopShape } from "./limits/noop-server.ts";
import type { SyncJob, SyncResult } from "./limits/data-sync.ts";
import { payloadBytes } from "./load/events.ts";
import type { LoadJob, Part, Protocol } from "./load/job.ts";
import { memoryOf } from "./load/proc.ts";
import type { Probe, Sample, Store } from "./probe.ts";
import { startProduct, type Product } from "./product.ts";
import { partOf, sampleOf, shapeLike, withoutExpectation } from "./samples.ts";
import { bytesOf, preload, type Load, type Stores } from "./stores.ts";
import { beginTruncation, truncationFlags } from "./truncation.ts";

/** Bytes of a stored event of every load: 256 of payload, names, id, position and time. */
const storedEventBytes = 460;
const loadBeforeKillMs = 1_500;
const idleMs = 1_500;
/** Measurements that a soak takes: a quarter of an hour, and the pause after it. */
const soakTimes = 300;
const soakRestMs = 120_000;
/** The first load on a new server also warms up the code. */
const firstWarmUpMs = 1_000;

export interface Foreign {
  readonly host: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** The process whose CPU and memory are measured. Absent: they are not. */
  readonly pid?: number | undefined;
}

type ProductProbe = Extract<Probe, { readonly at: "product" }>;
type SoakProbe = Extract<Probe, { readonly at: "soak" }>;

/** A token for appends, in a file of its own. */
async function newToken(folder: string): Promise<{ file: string; text: string }> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "tokens.json");
  writeFileSync(file, '{"tokens":[]}');
  const wish = { name: "load", roles: ["service"], nowMs: Date.now(), expiresMs: Infinity };
  const { text } = await createToken(file, wish);
  return { file, text };
}

export interface MeasureOptions {
  readonly stores: Stores;
  readonly load: Load;
  /** The product's program. */
  readonly entry: string;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** A server that is measured instead of the product. */
  readonly foreign?: Foreign | undefined;
  readonly profileFolder?: string | undefined;
  readonly storage?: string | undefined;
}

/** The probe cannot be measured here. The message is the reason, for people. */
export class NotMeasured extends Error {
  override readonly name = "NotMeasured";
}

export class Measurements {
  private readonly options: MeasureOptions;
  private readonly products = new Map<string, Product>();
  private readonly warm = new Set<number>();
  /** What calls show, by the process of the server that asks. */
  private readonly tokens = new Map<number, string>();
  private noop: Child<NoopShape, unknown> | undefined;
  private group = 0;
  private workload = "";
  private preloadedForeign = 0;
  private own: Databases | undefined;

  constructor(options: MeasureOptions) {
    this.options = options;
  }

  /** Names the workload of the next probes. */
  begin(workload: string): void {
    this.workload = workload;
  }

  /** `before` has the samples of the workload's other probes in this round. */
  async measure(probe: Probe, before: ReadonlyMap<string, Sample>): Promise<Sample> {
    switch (probe.at) {
      case "product":
        return this.onProduct(probe);
      case "noop": {
        const like = before.get(probe.like);
        if (!like) throw new Error(`${probe.like} must be measured before its limit`);
        return this.onNoop(probe.parts, shapeLike(like, probe.messageBytes));
      }
      case "level":
        return this.onLevel(probe.events);
      case "sync":
        return this.onDisk(probe.bytes);
      case "servers":
        return together((await this.databases.servers(probe)).map(sampleOf));
      case "bare-database": {
        const result = await this.databases.bare(probe);
        return { parts: [partOf(result.callsPerSecond, result, result.eventsPerSecond)] };
      }
      case "start":
        return this.start(probe.events, probe.after);
      case "bare-start":
        return bareStart();
      case "idle":
        return this.idle(probe.store);
      case "soak":
        return this.soak(probe);
      case "disk":
        return this.disk(probe.events);
    }
  }

  /** Stops the servers of a workload. */
  async settle(): Promise<void> {
    await this.own?.settle();
    for (const [key, product] of this.products) {
      this.products.delete(key);
      await product.stop();
    }
  }

  async stop(): Promise<void> {
    await this.settle();
    await this.noop?.stop();
    this.noop = undefined;
    await this.own?.stop();
  }

  private get databases(): Databases {
    this.refuseForeign("PostgreSQL");
    if (!Databases.isThere) throw new NotMeasured("PostgreSQL is not installed");
    return (this.own ??= new Databases(this.options));
  }

  private async onProduct({
    store,
    parts,
    settleMs = firstWarmUpMs,
    watched,
    through,
    flags = [],
  }: ProductProbe): Promise<Sample> {
    const { foreign, measureMs, warmUpMs } = this.options;
    if (foreign) {
      await this.fillForeign(foreign, store);
      const { host, port, protocol, pid } = foreign;
      return this.run({
        host,
        port,
        protocol,
        ...(pid !== undefined && { serverPid: pid }),
        parts: this.grouped(parts.map(withoutExpectation)),
        warmUpMs,
        measureMs,
      });
    }
    const more = [...flags, ...(through === undefined ? [] : ["--protocol", "kurrentdb"])];
    const { host, port, pid } = await this.productOn(store, watched, more);
    const fresh = !this.warm.has(pid);
    this.warm.add(pid);
    return this.run({
      host,
      port,
      protocol: through ?? "annals",
      authorization: this.tokens.get(pid),
      parts: this.grouped(parts),
      warmUpMs: fresh ? warmUpMs + settleMs : warmUpMs,
      measureMs,
      serverPid: pid,
    });
  }

  private async onNoop(parts: readonly Part[], shape: NoopShape): Promise<Sample> {
    this.noop ??= await startChild<NoopShape, unknown>("limits/noop-server.ts");
    await this.noop.ask(shape);
    const { port } = this.noop.greeting as { port: number };
    const { warmUpMs, measureMs } = this.options;
    const fresh = !this.warm.has(this.noop.pid);
    this.warm.add(this.noop.pid);
    return this.run({
      host: "127.0.0.1",
      port,
      protocol: "annals",
      parts: parts.map(withoutExpectation),
      warmUpMs: fresh ? warmUpMs + firstWarmUpMs : warmUpMs,
      measureMs,
      serverPid: this.noop.pid,
    });
  }

  private async run(job: LoadJob): Promise<Sample> {
    const { foreign } = this.options;
    const { result } = await this.options.load.ask(job).catch((error: unknown) => {
      if (!foreign || job.port !== foreign.port) throw error;
      throw new NotMeasured((error as Error).message);
    });
    return sampleOf(result);
  }

  private async productOn(
    store: Store,
    watched?: ProductProbe["watched"],
    more: readonly string[] = [],
  ): Promise<Product> {
    const key = JSON.stringify([store, watched, more]);
    const known = this.products.get(key);
    if (known) return known;
    const { stores, entry, profileFolder } = this.options;
    const folder =
      store === "empty"
        ? stores.path(`empty${watched ?? ""}`)
        : await stores.get(store.events, store.written === true);
    const name = `${this.workload}-${this.products.size + 1}.cpuprofile`;
    const profile = profileFolder === undefined ? undefined : { folder: profileFolder, name };
    const truncated = store !== "empty" && store.truncated === true;
    const flags = [...more, ...(truncated ? truncationFlags : [])];
    if (watched === "bare") flags.push("--no-metrics");
    const token = watched === "all" ? await newToken(stores.path("tokens")) : undefined;
    if (token !== undefined) flags.push("--tokens-file", token.file);
    const product = await startProduct({ entry, folder, profile, flags });
    this.products.set(key, product);
    if (token !== undefined) this.tokens.set(product.pid, `Bearer ${token.text}`);
    if (truncated) await beginTruncation(product, store.events);
    return product;
  }

  private async fillForeign(foreign: Foreign, store: Store): Promise<void> {
    if (store === "empty" || this.preloadedForeign === store.events) return;
    if (this.preloadedForeign > 0) throw new NotMeasured("another server is preloaded once");
    await preload(this.options.load, foreign, store.events);
    this.preloadedForeign = store.events;
  }

  /** Gives streams that must be new their own names. */
  private grouped(parts: readonly Part[]): Part[] {
    return parts.map((part) => {
      const { call } = part;
      const grouped = call.verb === "append-expecting-version" || call.verb === "subscribe-idle";
      if (!grouped) return part;
      const group = Date.now() * 1_000 + ++this.group;
      return { ...part, call: { ...call, group } };
    });
  }

  private async onLevel(events: number): Promise<Sample> {
    const child = await startChild<LevelJob, LevelResult>("limits/level-chunks.ts");
    try {
      const { warmUpMs, measureMs, stores } = this.options;
      const folder = stores.path("level");
      const eventBytes = storedEventBytes;
      const result = await child.ask({ folder, events, eventBytes, warmUpMs, measureMs });
      return { parts: [partOf(result.eventsPerSecond / events, result, result.eventsPerSecond)] };
    } finally {
      await child.stop();
    }
  }

  private async onDisk(bytes: number): Promise<Sample> {
    const child = await startChild<SyncJob, SyncResult>("limits/data-sync.ts");
    try {
      const { measureMs, stores } = this.options;
      const result = await child.ask({ file: stores.path("sync"), bytes, measureMs });
      return { parts: [partOf(result.perSecond, result)] };
    } finally {
      await child.stop();
    }
  }

  private async start(events: number, after: "stop" | "kill"): Promise<Sample> {
    this.refuseForeign("a start");
    const { entry, stores } = this.options;
    const folder = await stores.get(events, true);
    if (after === "kill") {
      const product = await startProduct({ entry, folder });
      const call = { verb: "append", events: 100, streams: 10_000 } as const;
      const parts: Part[] = [{ kind: "pipe", call, window: 64, connections: 1 }];
      const { host, port } = product;
      const job = { host, port, protocol: "annals", parts, warmUpMs: 0 } as const;
      await this.run({ ...job, measureMs: loadBeforeKillMs });
      await product.kill();
    }
    const product = await startProduct({ entry, folder });
    await product.stop();
    return { parts: [], seconds: product.startSeconds };
  }

  private async idle(store: Store): Promise<Sample> {
    this.refuseForeign("an idle server");
    const { pid } = await this.productOn(store);
    await sleep(idleMs);
    const peak = memoryOf(pid);
    return { parts: [], peak, ...(peak ? { megabytes: peak.rssBytes / 1e6 } : {}) };
  }

  private async soak({ store, parts }: SoakProbe): Promise<Sample> {
    this.refuseForeign("a soak");
    const { host, port, pid } = await this.productOn(store);
    const job = { host, port, protocol: "annals", parts: this.grouped(parts) } as const;
    const measureMs = this.options.measureMs * soakTimes;
    const sample = await this.run({ ...job, warmUpMs: 0, measureMs, serverPid: pid });
    await sleep(soakRestMs);
    const [most, after] = [sample.peak, memoryOf(pid)];
    return {
      ...sample,
      ...(most && { megabytes: most.anonymousBytes / 1e6 }),
      ...(after && { megabytesAfter: after.anonymousBytes / 1e6 }),
    };
  }

  private async disk(events: number): Promise<Sample> {
    this.refuseForeign("a folder");
    await this.settle();
    const bytes = bytesOf(await this.options.stores.get(events, false));
    return { parts: [], bytesPerPayloadByte: bytes / (events * payloadBytes) };
  }

  private refuseForeign(what: string): void {
    if (this.options.foreign) throw new NotMeasured(`${what} is measured on our own process only`);
  }
}

async function bareStart(): Promise<Sample> {
  const since = performance.now();
  const child = await startChild("limits/noop-server.ts");
  const seconds = (performance.now() - since) / 1_000;
  await child.stop();
  return { parts: [], seconds };
}
