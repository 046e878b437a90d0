// What is done to a cluster and to the servers over it. Each fault undoes itself before it returns;
// that everything recovers by itself afterwards is not its business.
import { setTimeout as pause } from "node:timers/promises";
import type { ServerProcess } from "../support/server-process.ts";
import { nodeNumbers, type LocalCluster, type NodeNumber } from "./local-cluster.ts";
import { cancelCommits } from "./observers.ts";

export interface Scene {
  readonly cluster: LocalCluster;
  readonly primary: NodeNumber;
  readonly standby: NodeNumber;
  readonly random: () => number;
  /** The servers of Annals, by name. */
  readonly servers: ReadonlyMap<string, ServerProcess>;
  readonly restart: (server: string) => Promise<void>;
  /** Clients of a server give it up. */
  readonly abandon: (server: string) => void;
  /** Waits until another node is the primary. */
  readonly moved: () => Promise<void>;
}

export interface Fault {
  /** Whether another node has to become the primary. */
  readonly moves: boolean;
  /** How many times it is in the deck of its kind. Absent: once. */
  readonly cards?: number;
  readonly strike: (scene: Scene) => Promise<void>;
}

/** Longer than Patroni's lease. */
const longMs = 8_000;

export const faults: Readonly<Record<string, Fault>> = {
  "the primary is killed": {
    moves: true,
    cards: 3,
    async strike({ cluster, primary, moved }) {
      await cluster.signal(`node${primary}`, "SIGKILL");
      await moved();
      await cluster.tell("run", `node${primary}`);
    },
  },
  "the primary and a server are killed": {
    moves: true,
    async strike({ cluster, primary, random, servers, restart, moved }) {
      const server = serverIn(servers, random);
      await Promise.all([servers.get(server)?.kill(), cluster.signal(`node${primary}`, "SIGKILL")]);
      const restarted = restart(server);
      await moved();
      await cluster.tell("run", `node${primary}`);
      await restarted;
    },
  },
  "the primary hangs": {
    moves: true,
    async strike({ cluster, primary, random, moved }) {
      await cluster.signal(`node${primary}`, "SIGSTOP");
      await Promise.all([moved(), pause(longMs + random() * 3_000)]);
      await cluster.signal(`node${primary}`, "SIGCONT");
    },
  },
  "PostgreSQL of the primary hangs beside its Patroni": {
    moves: true,
    cards: 2,
    async strike({ cluster, primary, random, moved }) {
      cluster.signalPostgres(primary, "SIGSTOP", "all");
      await Promise.all([moved(), pause(longMs + random() * 6_000)]);
      cluster.signalPostgres(primary, "SIGCONT", "all");
    },
  },
  "Patroni of the primary is killed beside its PostgreSQL": {
    moves: true,
    async strike({ cluster, primary, random, moved }) {
      await cluster.signalPatroni(primary, "SIGKILL");
      // Nobody tells it that there is another primary by now.
      await Promise.all([moved(), pause(longMs + random() * longMs)]);
      await cluster.tell("run", `node${primary}`);
    },
  },
  "the primary is cut off from everything": {
    moves: true,
    async strike({ cluster, primary, random, moved }) {
      await cluster.tell("cut", `node${primary}`);
      await Promise.all([moved(), pause(random() * 4_000)]);
      await cluster.tell("join", `node${primary}`);
    },
  },
  "the primary is cut off from the other nodes alone": {
    moves: true,
    cards: 2,
    async strike({ cluster, primary, random, moved }) {
      await cluster.tell("split", `node${primary}`);
      await Promise.all([moved(), pause(random() * 4_000)]);
      await cluster.tell("join", `node${primary}`);
    },
  },
  "another node becomes the primary in order": {
    moves: true,
    async strike({ cluster, primary, moved }) {
      await cluster.switchover(primary);
      await moved();
    },
  },
  "PostgreSQL of the primary is killed beside its Patroni": {
    moves: false,
    async strike({ cluster, primary }) {
      cluster.signalPostgres(primary, "SIGKILL", "postmaster");
    },
  },
  "the synchronous standby is killed": {
    moves: false,
    async strike({ cluster, standby, random }) {
      await cluster.signal(`node${standby}`, "SIGKILL");
      await pause(random() * 3_000);
      await cluster.tell("run", `node${standby}`);
    },
  },
  "the synchronous standby hangs": {
    moves: false,
    async strike({ cluster, standby, random }) {
      await cluster.signal(`node${standby}`, "SIGSTOP");
      await pause(1_000 + random() * longMs);
      await cluster.signal(`node${standby}`, "SIGCONT");
    },
  },
  "commits that wait for a standby are cancelled": {
    moves: false,
    async strike({ cluster, primary }) {
      const others = nodeNumbers.filter((node) => node !== primary);
      for (const node of others) cluster.signalPostgres(node, "SIGSTOP", "all");
      await pause(500);
      await cancelCommits(cluster.databaseOf(primary)).catch(() => {});
      for (const node of others) cluster.signalPostgres(node, "SIGCONT", "all");
    },
  },
  "the leader of etcd is killed": {
    moves: false,
    async strike({ cluster }) {
      const leader = (await cluster.etcdLeader()) ?? 1;
      await cluster.signal(`etcd${leader}`, "SIGKILL");
      await pause(1_000);
      await cluster.tell("run", `etcd${leader}`);
    },
  },
  "all of etcd hangs": {
    moves: false,
    async strike({ cluster, random }) {
      for (const node of nodeNumbers) await cluster.signal(`etcd${node}`, "SIGSTOP");
      await pause(1_000 + random() * longMs);
      for (const node of nodeNumbers) await cluster.signal(`etcd${node}`, "SIGCONT");
    },
  },
  "a server is killed": {
    moves: false,
    async strike({ random, servers, restart }) {
      const server = serverIn(servers, random);
      await servers.get(server)?.kill();
      await restart(server);
    },
  },
  "a server hangs": {
    moves: false,
    async strike({ random, servers, abandon }) {
      const server = serverIn(servers, random);
      servers.get(server)?.process.kill("SIGSTOP");
      await pause(500);
      if (random() < 0.7) abandon(server);
      await pause(random() * longMs);
      servers.get(server)?.process.kill("SIGCONT");
    },
  },
  "a server is cut off": {
    moves: false,
    async strike({ cluster, random, servers, abandon }) {
      const server = serverIn(servers, random);
      await cluster.tell("cut", server);
      await pause(500);
      if (random() < 0.7) abandon(server);
      await pause(random() * longMs);
      await cluster.tell("join", server);
    },
  },
};

/** Deals all of its faults, in an order by chance, before one comes again. */
export class Deck {
  private readonly names: readonly string[];
  private readonly random: () => number;
  private left: string[] = [];

  constructor(random: () => number, isIn: (name: string, fault: Fault) => boolean) {
    const among = Object.entries(faults).filter(([name, fault]) => isIn(name, fault));
    this.names = among.flatMap(([name, { cards = 1 }]) => Array<string>(cards).fill(name));
    this.random = random;
  }

  draw(): string {
    if (this.left.length === 0) this.left = [...this.names];
    const [drawn = ""] = this.left.splice(Math.floor(this.random() * this.left.length), 1);
    return drawn;
  }
}

function serverIn(servers: ReadonlyMap<string, unknown>, random: () => number): string {
  return [...servers.keys()][Math.floor(random() * servers.size)] ?? "";
}
