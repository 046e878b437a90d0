// The cluster of deploy/cluster on this machine, each node and each server in a network namespace of
// its own: started, broken in every way, mended and removed. Needs root.
import { execFile, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import type { DatabasePlace } from "./observers.ts";
import { scratchFolder } from "../support/server-process.ts";

const script = resolve(import.meta.dirname, "../../../deploy/cluster/cluster.sh");
const execute = promisify(execFile);
const askMsMax = 1_000;
/** Between two looks for a state to come. */
const lookMs = 100;
const healthyMsMax = 90_000;
const startMsMax = 240_000;
/** Of the log of each node, for people. */
const toldLines = 25;

export type NodeNumber = 1 | 2 | 3;
export const nodeNumbers: readonly NodeNumber[] = [1, 2, 3];

export interface ClusterOptions {
  /** False: commits wait for no standby, so that a failover loses some. */
  readonly isSynchronous: boolean;
}

export interface Member {
  readonly node: NodeNumber;
  readonly role: string;
  readonly state: string;
  readonly timeline: number;
}

/** Why there can be no cluster here, for people. Undefined: there can be one. */
export function cannotCluster(): string | undefined {
  if (process.getuid?.() !== 0) return "it needs root, for network namespaces";
  for (const [command, ...args] of [
    ["patroni", "--version"],
    ["etcd", "--version"],
    ["ip", "-V"],
  ] as const) {
    try {
      execFileSync(command, args, { stdio: "ignore" });
    } catch {
      return `${command} is missing (Debian: apt-get install postgresql patroni etcd-server)`;
    }
  }
  return undefined;
}

/** Patroni has not brought the cluster to where it has to be. */
export class Unhealed extends Error {
  override readonly name = "Unhealed";
}

export class LocalCluster {
  readonly folder = scratchFolder("cluster");
  /** The first three numbers of its addresses; others' campaigns have other ones. */
  readonly prefix = `10.${100 + (process.pid % 100)}.${clusters++ % 250}`;
  private readonly environment: NodeJS.ProcessEnv;
  private knownUrl: string | undefined;

  private constructor({ isSynchronous }: ClusterOptions) {
    this.environment = {
      ...process.env,
      CLUSTER_DIR: this.folder,
      NETWORK: "namespaces",
      PREFIX: this.prefix,
      SERVERS: "2",
      TTL: "5",
      LOOP_WAIT: "1",
      RETRY_TIMEOUT: "2",
      SYNCHRONOUS: `${isSynchronous}`,
      WAL_KEEP_SIZE: "256MB",
    };
  }

  static async start(options: ClusterOptions): Promise<LocalCluster> {
    const cluster = new LocalCluster(options);
    // What a campaign that is cut off has started ends with it.
    process.once("exit", cluster.abandoned);
    for (const signal of interruptions) process.once(signal, interrupted);
    try {
      await cluster.tell("start-database");
    } catch (error) {
      await cluster.remove();
      throw error;
    }
    return cluster;
  }

  private readonly abandoned = (): void => {
    execFileSync(script, ["remove"], { env: this.environment, stdio: "ignore" });
  };

  async remove(): Promise<void> {
    process.off("exit", this.abandoned);
    for (const signal of interruptions) process.off(signal, interrupted);
    await this.tell("remove");
  }

  /** For --storage. */
  get url(): string {
    const { environment: env } = this;
    this.knownUrl ??= execFileSync(script, ["url"], { env, encoding: "utf8" }).trim();
    return this.knownUrl;
  }

  /** For the role of Annals. */
  databaseOf(node: NodeNumber): DatabasePlace {
    return { host: this.addressOf(`node${node}`), password: new URL(firstOf(this.url)).password };
  }

  /** The network namespace of a part. */
  namespaceOf(part: string): string {
    const number = part.startsWith("server") ? `1${part.slice(-1)}` : part.slice(-1);
    return `an${this.prefix.split(".").slice(1).join("-")}-${number}`;
  }

  addressOf(part: string): string {
    const number = part.startsWith("server") ? `1${part.slice(-1)}` : part.slice(-1);
    return `${this.prefix}.${number}`;
  }

  /** A command of cluster.sh. Returns what it prints. */
  async tell(...command: readonly string[]): Promise<string> {
    const { environment: env } = this;
    const { stdout } = await execute(script, command, { env, timeout: startMsMax });
    return stdout;
  }

  /** Sends a signal to all processes of a node or of an etcd. */
  async signal(part: string, signal: NodeJS.Signals): Promise<void> {
    const printed = await this.tell("processes", part);
    for (const pid of printed.split("\n").map(Number)) end(pid, signal);
  }

  /** Sends a signal to the PostgreSQL of a node, and not to its Patroni. */
  signalPostgres(node: NodeNumber, signal: NodeJS.Signals, which: "all" | "postmaster"): void {
    const file = join(this.folder, `node${node}/data/postmaster.pid`);
    const first = Number.parseInt(readFileSync(file, "utf8"), 10);
    // A negative one is of a process alone, by which Patroni recovers a node before it starts it.
    end(Math.abs(first), signal);
    if (which === "postmaster" || first < 0) return;
    const children = readFileSync(`/proc/${first}/task/${first}/children`, "utf8");
    for (const pid of children.trim().split(" ").map(Number)) end(pid, signal);
  }

  async signalPatroni(node: NodeNumber, signal: NodeJS.Signals): Promise<void> {
    // The first of a part's processes is the one that was started.
    const [pid = ""] = (await this.tell("processes", `node${node}`)).split("\n");
    end(Number(pid), signal);
  }

  /** As the first node sees it that answers. Empty: none does. */
  async members(without?: NodeNumber): Promise<readonly Member[]> {
    for (const node of nodeNumbers) {
      if (node === without) continue;
      const members = await this.ask(node, "8008/cluster").catch(() => undefined);
      const listed = (members as { members?: readonly Listed[] } | undefined)?.members ?? [];
      if (listed.length === 0) continue;
      return listed.map(({ name, role, state, timeline = 0 }) => {
        return { node: Number(name.slice(1)) as NodeNumber, role, state, timeline };
      });
    }
    return [];
  }

  /** Waits until all three nodes run and one of them is the primary. Throws Unhealed. */
  async healthy(): Promise<{ readonly primary: NodeNumber; readonly timeline: number }> {
    const until = performance.now() + healthyMsMax;
    let members: readonly Member[] = [];
    while (performance.now() < until) {
      members = await this.members();
      const isUp = members.filter(({ state }) => state === "running" || state === "streaming");
      const primary = isUp.find(({ role }) => role === "leader");
      const isOne = primary !== undefined && (await this.isPrimary(primary.node));
      const areReplicated =
        this.environment["SYNCHRONOUS"] === "false" ||
        isUp.some(({ role }) => role === "sync_standby");
      if (isUp.length === 3 && isOne && areReplicated) {
        return { primary: primary.node, timeline: primary.timeline };
      }
      await pause(lookMs);
    }
    const told = members.map(({ node, role, state }) => `n${node} ${role} ${state}`).join(", ");
    throw new Unhealed(`the cluster does not recover: ${told}`);
  }

  /** Copies the nodes anew that do not run, as an operator does. Throws Unhealed. */
  async mend(): Promise<void> {
    for (const { node, role, state } of await this.members()) {
      if (role === "leader" || state === "running" || state === "streaming") continue;
      await this.reinitialize(node).catch(() => {});
    }
    await this.healthy();
  }

  /** What Patroni and etcd say, for people who look for the reason of something. */
  async told(): Promise<string> {
    const none = (error: unknown): string => `no answer (${(error as Error).message})`;
    const nodes = nodeNumbers.map(async (node) => {
      const patroni = await this.ask(node, "8008/patroni").catch(none);
      const etcd = await this.ask(node, "2379/v2/stats/self").catch(none);
      const { state = etcd } = etcd as { readonly state?: unknown };
      const log = readFileSync(join(this.folder, `log/node${node}.log`), "utf8");
      const lines = log.trimEnd().split("\n").slice(-toldLines);
      const head = `n${node}: ${JSON.stringify(patroni)}; its etcd: ${JSON.stringify(state)}`;
      return [head, ...lines.map((line) => `  ${line}`)].join("\n");
    });
    const keys = nodeNumbers.map((node) => this.ask(node, "2379/v2/keys/service/annals"));
    const known = await Promise.any(keys).catch(none);
    return [...(await Promise.all(nodes)), `etcd: ${JSON.stringify(known)}`].join("\n");
  }

  /** Waits until another node is the primary. Throws Unhealed. */
  async movedFrom(former: NodeNumber): Promise<void> {
    const until = performance.now() + healthyMsMax;
    while (performance.now() < until) {
      const members = await this.members(former);
      const primary = members.find(({ role, node }) => role === "leader" && node !== former);
      if (primary !== undefined && (await this.isPrimary(primary.node))) return;
      await pause(lookMs);
    }
    throw new Unhealed(`no other node becomes the primary instead of node ${former}`);
  }

  /** The etcd that leads. Undefined: none is known to. */
  async etcdLeader(): Promise<NodeNumber | undefined> {
    for (const node of nodeNumbers) {
      const stats = await this.ask(node, "2379/v2/stats/self").catch(() => undefined);
      if ((stats as { state?: string } | undefined)?.state === "StateLeader") return node;
    }
    return undefined;
  }

  /** Asks Patroni to make another node the primary, in order. */
  async switchover(leader: NodeNumber): Promise<void> {
    const body = JSON.stringify({ leader: `n${leader}` });
    const url = `http://${this.addressOf(`node${leader}`)}:8008/switchover`;
    await fetch(url, { method: "POST", body, signal: AbortSignal.timeout(30_000) });
  }

  /** Throws away what a node has, and copies it from the primary. */
  async reinitialize(node: NodeNumber): Promise<void> {
    const url = `http://${this.addressOf(`node${node}`)}:8008/reinitialize`;
    const body = JSON.stringify({ force: true });
    await fetch(url, { method: "POST", body, signal: AbortSignal.timeout(30_000) });
  }

  private async isPrimary(node: NodeNumber): Promise<boolean> {
    const url = `http://${this.addressOf(`node${node}`)}:8008/primary`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(askMsMax) }).catch(() => null);
    return answer?.status === 200;
  }

  private async ask(node: NodeNumber, where: string): Promise<unknown> {
    const url = `http://${this.addressOf(`node${node}`)}:${where}`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(askMsMax) });
    return answer.json();
  }
}

let clusters = 0;

const interruptions = ["SIGINT", "SIGTERM"] as const;
const interrupted = (): never => process.exit(1);

/** The URL of the first of several hosts. */
function firstOf(url: string): string {
  return url.replace(/,[^/]*/, "");
}

interface Listed {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
}

/** A process that is gone already is as good. */
function end(pid: number, signal: NodeJS.Signals): void {
  if (!Number.isInteger(pid) || pid <= 1) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
