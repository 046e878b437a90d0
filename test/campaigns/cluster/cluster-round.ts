// One store of the campaign: its servers, everybody who works with it, fault after fault, and its
// end, when everything is compared.
import { setTimeout as pause } from "node:timers/promises";
import { spawnAnnals } from "../../cli/running-server.ts";
import { seededRandom } from "../../support/seeded.ts";
import { History } from "../support/history.ts";
import { ServerProcess } from "../support/server-process.ts";
import type { ServerPlace } from "../support/wire-client.ts";
import { ClusterCrowd } from "./cluster-crowd.ts";
import { ClusterGroups } from "./cluster-groups.ts";
import { anyServerFault, faults, type Fault, type Scene } from "./faults.ts";
import { nodeNumbers, type LocalCluster } from "./local-cluster.ts";
import { SqlTail, type CommitProbe } from "./observers.ts";

export const serverPort = 7420;
/** From when the cluster is healthy to when each server has to be. */
const readyMsMax = 30_000;
const restartMsMax = 90_000;
/** Beside a fault that moves the primary, something happens to a server so often. */
const serverFaultShare = 0.25;
/** An answer that was under way when the primary died is no sign of life. */
const underWayMs = 1_500;

export interface RoundParts {
  readonly local: LocalCluster;
  readonly probe: CommitProbe;
  readonly seed: number;
  readonly schema: string;
}

export interface Cycle {
  readonly ms: number;
  readonly failovers: number;
  readonly stall: { readonly ours: number; readonly bare: number } | undefined;
}

export class ClusterRound {
  readonly name: string;
  readonly random: () => number;
  private readonly parts: RoundParts;
  private readonly history: History;
  private readonly places: readonly ServerPlace[];
  private readonly servers = new Map<string, ServerProcess>();
  private readonly crowd: ClusterCrowd;
  private readonly groups: ClusterGroups;
  private tails: readonly SqlTail[] = [];
  private timeline = 0;
  private stall: Cycle["stall"];

  constructor(parts: RoundParts, random: () => number) {
    this.parts = parts;
    this.random = random;
    this.name = `seed ${parts.seed}`;
    this.history = new History(parts.seed);
    this.places = ["server1", "server2"].map((name) => {
      return { host: parts.local.addressOf(name), port: serverPort, name };
    });
    const own = seededRandom(parts.seed);
    this.crowd = new ClusterCrowd(this.history, own, this.places);
    this.groups = new ClusterGroups(own, this.places);
  }

  get violations(): string[] {
    const gaps = this.tails.flatMap((tail) => tail.gaps);
    return [...this.history.violations, ...this.groups.violations, ...gaps];
  }

  get events(): number {
    return this.history.acknowledgedEvents;
  }

  get observations(): number {
    return this.history.observations;
  }

  get deliveries(): number {
    return this.groups.deliveries;
  }

  /** Rows that readers of the table saw. */
  get rows(): number {
    return this.tails.reduce((sum, { rows }) => sum + rows, 0);
  }

  violate(text: string): void {
    this.history.violate(text);
  }

  async begin(): Promise<void> {
    const { local, schema } = this.parts;
    this.timeline = (await local.healthy()).timeline;
    await Promise.all(this.places.map(({ name }) => this.restart(name)));
    this.tails = nodeNumbers.map((node) => new SqlTail(local.databaseOf(node), schema));
    this.crowd.begin();
    this.groups.begin();
    await pause(1_000);
  }

  /** A fault, until everything is well again. */
  async oneCycle(name: string, fault: Fault): Promise<Cycle> {
    const { local } = this.parts;
    const began = performance.now();
    const scene = await this.scene();
    const before = this.timeline;
    this.stall = undefined;
    const beside = fault.moves && this.random() < serverFaultShare && !name.includes("server");
    const besideName = beside ? anyServerFault(this.random) : "";
    await Promise.all([
      fault.strike(scene),
      beside && pause(this.random() * 4_000).then(() => faults[besideName]?.strike(scene)),
    ]);
    this.timeline = (await local.healthy()).timeline;
    await Promise.all(this.places.map((place) => this.ready(place, name)));
    await pause(300 + this.random() * 1_200);
    const place = this.places[Math.floor(this.random() * this.places.length)] as ServerPlace;
    if (!(await this.crowd.verify(place))) {
      const log = this.servers.get(place.name)?.log.slice(-3_000);
      this.violate(`${place.name} cannot be read (${name}): ${log}`);
    }
    const ms = performance.now() - began;
    return { ms, failovers: this.timeline - before, stall: this.stall };
  }

  async finish(): Promise<void> {
    await this.crowd.finish();
    await this.groups.finish();
    for (const [name, server] of this.servers) {
      const { code } = await server.stop();
      if (code !== 0) this.violate(`${name} stopped with ${code}: ${server.log}`);
    }
    const { local, schema } = this.parts;
    const verifying = spawnAnnals(
      ["verify", "--storage", local.url].concat("--storage-schema", schema),
    );
    const code = await verifying.ended;
    if (code !== 0) this.violate(`the store is not sound: ${verifying.printed()}`);
  }

  /** Everybody and everything goes, however the round ended. */
  async end(): Promise<void> {
    this.crowd.stop();
    await Promise.all([this.groups.stop(), ...this.tails.map((tail) => tail.stop())]);
    await Promise.all([...this.servers.values()].map((server) => server.kill()));
  }

  private async scene(): Promise<Scene> {
    const { local: cluster } = this.parts;
    const { primary } = await cluster.healthy();
    const members = await cluster.members();
    const standby =
      members.find(({ role }) => role === "sync_standby")?.node ??
      nodeNumbers.find((node) => node !== primary) ??
      primary;
    return {
      cluster,
      primary,
      standby,
      random: this.random,
      servers: this.servers,
      restart: (name) => this.restart(name),
      abandon: (name) => this.crowd.abandon(name),
      struck: () => void this.measure(),
      // Patroni may not notice that its PostgreSQL hangs: the fault ends all the same.
      moved: () => cluster.movedFrom(primary).catch(() => {}),
    };
  }

  /** A server that finds no primary ends, and is started again, as an operator's system does. */
  private async restart(name: string): Promise<void> {
    const { local, schema } = this.parts;
    const until = performance.now() + restartMsMax;
    const flags = ["--storage", local.url, "--storage-schema", schema].concat(
      ["--storage-durability", "replicated", "--host", local.addressOf(name)],
      ["--allow-remote", "--no-auth"],
    );
    for (;;) {
      const server = await ServerProcess.start({
        folder: local.folder,
        port: serverPort,
        flags,
        under: ["ip", "netns", "exec", local.namespaceOf(name)],
      });
      if (server.serves) return void this.servers.set(name, server);
      if (performance.now() > until) throw new Error(`${name} does not start: ${server.log}`);
      await pause(300);
    }
  }

  private async ready({ host, port, name }: ServerPlace, fault: string): Promise<void> {
    const until = performance.now() + readyMsMax;
    while (performance.now() < until) {
      const signal = AbortSignal.timeout(1_000);
      const answer = await fetch(`http://${host}:${port}/readyz`, { signal }).catch(() => null);
      await answer?.text().catch(() => {});
      if (answer?.status === 200) return;
      await pause(50);
    }
    const log = this.servers.get(name)?.log ?? "";
    throw new Error(`${name} is not ready again after: ${fault}: ${log.slice(-2_000)}`);
  }

  /** How long nothing is acknowledged from now on, and how long a bare client commits nothing. */
  private async measure(): Promise<void> {
    const { history, parts } = this;
    const began = performance.now();
    await pause(underWayMs);
    const acknowledged = history.acknowledgedOps;
    const next = parts.probe.next();
    while (history.acknowledgedOps === acknowledged) await pause(5);
    const ours = Math.round(performance.now() - began);
    this.stall = { ours, bare: Math.round((await next) - began) };
  }
}
