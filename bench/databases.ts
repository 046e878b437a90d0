// Measures the engine of PostgreSQL: servers over a database of the benchmark's own, and programs
// without a server on the same one.

import { startChild } from "./child.ts";
import type { BareJob, BareResult } from "./limits/bare-postgres.ts";
import type { LoadJob, LoadResult, Part } from "./load/job.ts";
import { nameCount } from "./load/events.ts";
import type { Probe, Sample, Store } from "./probe.ts";
import { startProduct, type Product } from "./product.ts";
import { preload, type Load, type Stores } from "./stores.ts";
import {
  postgresPrograms,
  startPostgres,
  type PostgresServer,
} from "../test/postgres/postgres-server.ts";

export type ServersProbe = Extract<Probe, { readonly at: "servers" }>;
export type BareProbe = Extract<Probe, { readonly at: "bare-database" }>;

export interface DatabasesOptions {
  readonly stores: Stores;
  readonly load: Load;
  readonly entry: string;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly profileFolder?: string | undefined;
  /** Of a database that somebody else runs. Undefined: one of the benchmark's own. */
  readonly storage?: string | undefined;
}

const emptyStreams = 10_000;
/** Stores of earlier runs may be in the same database. */
const run = Date.now().toString(36);

export class Databases {
  private readonly options: DatabasesOptions;
  private database: PostgresServer | undefined;
  private second: Load | undefined;
  private products = new Map<string, Product[]>();
  private readonly preloaded = new Set<number>();
  private schemas = 0;

  constructor(options: DatabasesOptions) {
    this.options = options;
  }

  static get isThere(): boolean {
    return postgresPrograms() !== undefined;
  }

  /** The load is divided among the servers. */
  async servers({ servers, store, parts }: ServersProbe): Promise<readonly LoadResult[]> {
    const products = await this.productsOn(store, servers);
    const loads = [this.options.load, (this.second ??= await startChild("load/process.ts"))];
    const { warmUpMs, measureMs } = this.options;
    const jobs = products.map(({ host, port, pid: serverPid }): LoadJob => {
      const shared = parts.map((part) => shareOf(part, servers));
      return { host, port, protocol: "annals", parts: shared, warmUpMs, measureMs, serverPid };
    });
    const answers = jobs.map((job, i) => (loads[i] as Load).ask(job));
    return (await Promise.all(answers)).map(({ result }) => result);
  }

  async bare({ what, atATime, store }: BareProbe): Promise<BareResult> {
    const url = await this.url();
    const schema = await this.schemaOf(store);
    const streams = store === "empty" ? emptyStreams : nameCount(store.events);
    const { warmUpMs, measureMs } = this.options;
    const child = await startChild<BareJob, BareResult>("limits/bare-postgres.ts");
    try {
      return await child.ask({ what, url, schema, atATime, streams, warmUpMs, measureMs });
    } finally {
      await child.stop();
    }
  }

  /** Stops the servers of a workload. */
  async settle(): Promise<void> {
    for (const products of this.products.values()) {
      await Promise.all(products.map((product) => product.stop()));
    }
    this.products.clear();
  }

  async stop(): Promise<void> {
    await this.settle();
    await this.second?.stop();
    await this.database?.remove();
    this.database = undefined;
  }

  private async url(): Promise<string> {
    if (this.options.storage !== undefined) return this.options.storage;
    this.database ??= await startPostgres(postgresPrograms() as string);
    return this.database.connectionString;
  }

  private async schemaOf(store: Store): Promise<string> {
    if (store === "empty") return `empty_${run}_${++this.schemas}`;
    const schema = `preloaded_${run}_${store.events}`;
    if (this.preloaded.has(store.events)) return schema;
    this.preloaded.add(store.events);
    const product = await this.start(schema);
    const { host, port } = product;
    await preload(this.options.load, { host, port, protocol: "annals" }, store.events);
    await product.stop();
    return schema;
  }

  private async productsOn(store: Store, servers: number): Promise<Product[]> {
    const key = JSON.stringify([store, servers]);
    const known = this.products.get(key);
    if (known !== undefined) return known;
    const schema = await this.schemaOf(store);
    const products: Product[] = [];
    for (let i = 0; i < servers; i++) products.push(await this.start(schema));
    this.products.set(key, products);
    return products;
  }

  private async start(schema: string): Promise<Product> {
    const { entry, stores, profileFolder } = this.options;
    const name = `${schema}-${++this.schemas}.cpuprofile`;
    const profile = profileFolder === undefined ? undefined : { folder: profileFolder, name };
    const flags = ["--storage", await this.url(), "--storage-schema", schema];
    return startProduct({ entry, folder: stores.path("unused"), profile, flags });
  }
}

function shareOf(part: Part, servers: number): Part {
  if (part.kind !== "calls") return part;
  const { concurrency, connections } = part;
  return { ...part, concurrency: concurrency / servers, connections: connections / servers };
}

/** What several servers did together. */
export function together(samples: readonly Sample[]): Sample {
  const [first, ...rest] = samples as readonly [Sample, ...Sample[]];
  const parts = first.parts.map((part, i) => {
    const all = [part, ...rest.flatMap((sample) => sample.parts[i] ?? [])];
    const sum = (of: "callsPerSecond" | "eventsPerSecond"): number =>
      all.reduce((total, each) => total + each[of], 0);
    const most = (of: "p50" | "p99" | "p999"): number => Math.max(...all.map((each) => each[of]));
    return {
      ...part,
      callsPerSecond: sum("callsPerSecond"),
      eventsPerSecond: sum("eventsPerSecond"),
      p50: most("p50"),
      p99: most("p99"),
      p999: most("p999"),
    };
  });
  const cpu = samples.reduce((total, { serverCpu = 0 }) => total + serverCpu, 0);
  return { ...first, parts, serverCpu: cpu };
}
