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
import { faults, type Deck, type Scene } from "./faults.ts";
import { nodeNumbers, Unhealed, type LocalCluster } from "./local-cluster.ts";
import { SqlTail, type CommitProbe } from "./observers.ts";
import { Silence } from "./silence.ts";

export const serverPort = 7420;
/** From when the cluster is healthy to when each server has to be. */
const readyMsMax = 30_000;
const restartMsMax = 90_000;
/** Beside a fault that moves the primary, something happens to a server so often. */
const serverFaultShare = 0.25;
/** How often it is looked whether something was acknowledged. */
const listenMs = 10;

export interface RoundParts {
  readonly local: LocalCluster;
  readonly probe: CommitProbe;
  readonly seed: number;
  readonly schema: string;
  readonly random: () => number;
  /** What may happen to a server beside another fault. */
  readonly serverFaults: Deck;
  readonly report: (line: string) => void;
}

export interface Cycle {
  readonly failovers: number;
  /** Milliseconds without an acknowledged append, at the longest, and without a bare commit. */
  readonly ours: number;
  readonly bare: number;
  /** Milliseconds to the end of the fault, until all was compared, and until all nodes were back. */
  readonly phases: readonly [number, number, number];
}

export class ClusterRound {
  readonly name: string;
  /** What Patroni did not do in time. */
  readonly unhealed: string[] = [];
  private readonly parts: RoundParts;
  private readonly history: History;
  private readonly places: readonly ServerPlace[];
  private readonly servers = new Map<string, ServerProcess>();
  private readonly crowd: ClusterCrowd;
  private readonly groups: ClusterGroups;
  private tails: readonly SqlTail[] = [];
  private timeline = 0;
  private readonly silence = new Silence();
  private acknowledged = 0;
  private readonly listening: NodeJS.Timeout;

  constructor(parts: RoundParts) {
    this.parts = parts;
    this.name = `seed ${parts.seed}`;
    this.history = new History(parts.seed);
    this.places = ["server1", "server2"].map((name) => {
      return { host: parts.local.addressOf(name), port: serverPort, name };
    });
    const own = seededRandom(parts.seed);
    this.crowd = new ClusterCrowd(this.history, own, this.places);
    this.groups = new ClusterGroups(own, this.places);
    this.listening = setInterval(() => {
      if (this.history.acknowledgedOps > this.acknowledged) this.silence.heard();
      this.acknowledged = this.history.acknowledgedOps;
    }, listenMs);
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
  async oneCycle(name: string): Promise<Cycle> {
    const { probe, random, serverFaults } = this.parts;
    const fault = faults[name];
    if (fault === undefined) throw new Error(`there is no fault: ${name}`);
    const scene = await this.scene(name);
    const before = this.timeline;
    const began = performance.now();
    this.silence.take();
    probe.silence.take();
    const isBeside = fault.moves && random() < serverFaultShare && !name.includes("server");
    const beside = isBeside ? faults[serverFaults.draw()] : undefined;
    await Promise.all([
      fault.strike(scene),
      beside && pause(random() * 4_000).then(() => beside.strike(scene)),
    ]);
    const struck = performance.now();
    // What is back serves, while the former primary still becomes a standby.
    const healing = this.whole(name);
    const comparing = this.compared(name, healing);
    await Promise.allSettled([healing, comparing]);
    this.timeline = (await healing).timeline;
    const compared = await comparing;
    const whole = performance.now();
    const [ours, bare] = [this.silence.take(), probe.silence.take()];
    const phases = [struck - began, compared - struck, whole - struck] as const;
    return { failovers: this.timeline - before, ours, bare, phases };
  }

  /** Each server serves, and what is there is compared. Returns when. */
  private async compared(fault: string, healing: Promise<unknown>): Promise<number> {
    const { random, report } = this.parts;
    await Promise.all(this.places.map((place) => this.ready(place, fault, healing)));
    const place = this.places[Math.floor(random() * this.places.length)] as ServerPlace;
    await pause(300 + random() * 1_200);
    if (!(await this.crowd.verify(place))) {
      report(await this.told());
      this.violate(`${place.name} cannot be read (${fault})`);
    }
    return performance.now();
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
    clearInterval(this.listening);
    this.crowd.stop();
    await Promise.all([this.groups.stop(), ...this.tails.map((tail) => tail.stop())]);
    await Promise.all([...this.servers.values()].map((server) => server.kill()));
  }

  private async scene(fault: string): Promise<Scene> {
    const { local: cluster, random } = this.parts;
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
      random,
      servers: this.servers,
      restart: (name) => this.restart(name),
      abandon: (name) => this.crowd.abandon(name),
      // Whatever Patroni does not do: the fault ends all the same.
      moved: () => cluster.movedFrom(primary).catch((error: unknown) => this.tell(fault, error)),
    };
  }

  /** What everything says now, for people. */
  async told(): Promise<string> {
    const logs = [...this.servers].map(([name, { log }]) => `${name}: ${log.slice(-3_000)}`);
    return [await this.parts.local.told(), ...logs].join("\n");
  }

  /** The cluster is whole again: by itself, or else an operator copies what does not run. */
  private async whole(fault: string): Promise<{ readonly timeline: number }> {
    const { local } = this.parts;
    try {
      return await local.healthy();
    } catch (error) {
      await this.tell(fault, error);
    }
    await local.mend();
    return local.healthy();
  }

  /** Patroni is judged apart, and so that its reasons can be read. */
  private async tell(fault: string, error: unknown): Promise<void> {
    if (!(error instanceof Unhealed)) throw error;
    const { local, report } = this.parts;
    this.unhealed.push(`${fault}: ${error.message}`);
    report(`UNHEALED ${this.name}: ${fault}: ${error.message}\n${await local.told()}`);
  }

  /** A server that finds no primary ends, and is started again, as an operator's system does. */
  private async restart(name: string): Promise<void> {
    const { local, schema } = this.parts;
    const until = performance.now() + restartMsMax;
    const flags = ["--storage", local.url, "--storage-schema", schema].concat(
      ["--storage-durability", "replicated", "--host", local.addressOf(name)],
      ["--allow-remote", "--no-auth"],
      // One of the two reads from standbys as well.
      name === "server2" ? ["--storage-read", local.url] : [],
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

  /** A server has to be ready some time after the cluster is whole, or before that. */
  private async ready(
    { host, port, name }: ServerPlace,
    fault: string,
    healing: Promise<unknown>,
  ): Promise<void> {
    let until = Infinity;
    const whole = (): number => (until = performance.now() + readyMsMax);
    healing.then(whole, whole);
    while (performance.now() < until) {
      const signal = AbortSignal.timeout(1_000);
      const answer = await fetch(`http://${host}:${port}/readyz`, { signal }).catch(() => null);
      await answer?.text().catch(() => {});
      if (answer?.status === 200) return;
      await pause(50);
    }
    throw new Error(`${name} is not ready again after: ${fault}`);
  }
}
