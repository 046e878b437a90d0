// One run: a world from a seed, a server over a simulated disk, clients, faults, crashes; then,
// with all faults gone, what is there is read once more and everything is checked.
import { storedEvent } from "../../../src/domain/record.ts";
import { snapshotName } from "../../../src/domain/snapshot.ts";
import { firstHash } from "../../../src/storage/leveldb/format/chunk.ts";
import { idOf, recordsOf } from "../../support/events.ts";
import { violationsOf } from "./checker.ts";
import { Clients, Disconnected, type Connection, type Session } from "./clients.ts";
import { SimulatedDisk } from "./disk.ts";
import { crashPoints, drawPlan } from "./faults.ts";
import { History } from "./history.ts";
import { Refused, startServer, type Breakage, type SimulatedServer } from "./server.ts";
import { World } from "./world.ts";

export interface RunResult {
  readonly violations: readonly string[];
  /** Events that were acknowledged. */
  readonly events: number;
  readonly steps: number;
  readonly hits: ReadonlyMap<string, number>;
  readonly ending: "checked" | "refused";
}

const stepsMax = 60_000;
const restartMs = 50;
const crashesMax = 4;

/** `trace` is told of everything that strikes. */
export async function simulate(
  seed: number,
  breakage: Breakage = {},
  trace?: (line: string) => void,
): Promise<RunResult> {
  const world = new World(seed, trace);
  return await world.inhabit(() => new Run(world, seed, breakage).live());
}

class Run {
  private readonly world: World;
  private readonly seed: number;
  private readonly breakage: Breakage;
  private readonly disk: SimulatedDisk;
  private readonly history = new History();
  private server: SimulatedServer | undefined;
  private refusal: Refused | undefined;
  private crashes = 0;
  private dying: (() => void)[] = [];
  /** What was asked of the server and not answered yet. */
  private readonly calls = new Set<{ readonly what: string }>();
  private arriving: ((session: Session | undefined) => void)[] = [];
  private ids = 0;
  /** From here on nothing goes wrong any more. */
  private calm = false;

  constructor(world: World, seed: number, breakage: Breakage) {
    this.world = world;
    this.seed = seed;
    this.breakage = breakage;
    this.disk = new SimulatedDisk(world, { withoutSync: breakage.withoutSync ?? false });
    this.disk.advanceMark({ position: 0, sequence: 0, hash: firstHash });
    world.whenCrashed(() => this.crashed());
  }

  async live(): Promise<RunResult> {
    const { world } = this;
    this.start();
    if (world.chance(0.4)) await this.liveBefore();
    world.setPlan(drawPlan(world));
    const clients = this.clients();
    await this.runUntil(() => clients.done || this.refusal !== undefined);
    if (this.refusal === undefined) await this.comeToRest();
    const records = this.refusal === undefined ? await this.finalRecords() : undefined;
    const violations = records ? this.check(records) : this.judgeRefusal();
    return {
      violations: violations.map((each) => `seed ${this.seed}: ${each}`),
      events: this.history.acknowledged,
      steps: world.steps,
      hits: world.hits,
      ending: records ? "checked" : "refused",
    };
  }

  /** An earlier life without faults: then what is read later is read from the disk. */
  private async liveBefore(): Promise<void> {
    const { world } = this;
    const before = this.running((clients) => [clients.writer(2 + world.below(4))]);
    await this.runUntil(() => before.done);
    world.crash();
    await world.step();
  }

  private clients(): { readonly done: boolean } {
    const { world } = this;
    return this.running((clients) => [
      ...Array.from({ length: 1 + world.below(3) }, () => clients.writer(2 + world.below(5))),
      ...Array.from({ length: world.below(3) }, () => clients.reader(1 + world.below(6))),
      ...Array.from({ length: world.below(3) }, () => clients.subscriber(1 + world.below(4))),
      ...Array.from({ length: world.below(2) }, () => clients.keeper(1 + world.below(4))),
    ]);
  }

  private running(begin: (clients: Clients) => Promise<void>[]): { readonly done: boolean } {
    const { world, history } = this;
    const connection: Connection = {
      session: () => this.reachable(),
      durable: () => this.disk.durablePosition,
      nextId: () => idOf(this.seed * 1_000 + ++this.ids),
    };
    const clients = new Clients(world, history, connection);
    const state = { done: false };
    void Promise.all(begin(clients)).then(
      () => (state.done = true),
      (error: Error) => {
        history.violations.push(`a client failed: ${error.stack ?? error.message}`);
        state.done = true;
      },
    );
    return state;
  }

  private start(): void {
    void this.startNow(this.world.life);
  }

  private async startNow(life: number): Promise<void> {
    try {
      const server = await startServer(this.world, this.disk, this.breakage);
      if (life !== this.world.life) return;
      this.server = server;
      for (const arrive of this.arriving.splice(0)) arrive(this.sessionWith(server));
    } catch (error) {
      if (life !== this.world.life) return;
      if (error instanceof Refused) this.refuse(error);
      // A supervisor starts it again.
      else this.world.after(restartMs, () => this.start());
    }
  }

  private refuse(refusal: Refused): void {
    this.refusal = refusal;
    for (const arrive of this.arriving.splice(0)) arrive(undefined);
  }

  private crashed(): void {
    this.crashes++;
    this.server = undefined;
    this.disk.crash(this.world.chance(0.5) && !this.calm ? "power cut" : "kill");
    for (const die of this.dying.splice(0)) die();
    this.world.after(restartMs, () => this.start());
  }

  private sessionWith(server: SimulatedServer): Session {
    return {
      log: server.log,
      call: (what, ask) => {
        if (this.server !== server) return Promise.reject(new Disconnected());
        return this.unlessDead(what, ask());
      },
    };
  }

  private reachable(): Promise<Session | undefined> {
    if (this.refusal) return Promise.resolve(undefined);
    if (this.server) return Promise.resolve(this.sessionWith(this.server));
    return new Promise((resolve) => this.arriving.push(resolve));
  }

  private unlessDead<T>(what: string, promise: Promise<T>): Promise<T> {
    const call = { what };
    this.calls.add(call);
    const settled = new Promise<T>((resolve, reject) => {
      this.dying.push(() => reject(new Disconnected()));
      promise.then(resolve, reject);
    });
    return settled.finally(() => this.calls.delete(call));
  }

  private async runUntil(isDone: () => boolean): Promise<void> {
    for (let i = 0; !isDone(); i++) {
      if (!(await this.world.step()) && !isDone()) return this.stuck("nothing can happen any more");
      if (i > stepsMax) return this.stuck(`still running after ${stepsMax} steps`);
      // Now and then the process ends just so.
      const suddenly = !this.calm && this.crashes < crashesMax && this.world.chance(0.0005);
      if (suddenly && this.server) {
        this.world.hit(crashPoints.suddenly);
        this.world.crash();
      }
    }
  }

  private stuck(words: string): void {
    const open = [...this.calls].map(({ what }) => what).join(", ");
    this.history.violations.push(`liveness: ${words}; not answered: ${open || "nothing"}`);
    this.refusal ??= new Refused(["stuck"]);
  }

  /** No more faults: the server ends in order or not, and starts once more. */
  private async comeToRest(): Promise<void> {
    const { world } = this;
    await this.runUntil(() => this.server !== undefined || this.refusal !== undefined);
    const { server } = this;
    if (server && world.chance(0.6)) {
      let closed = false;
      const closing = server.log.stop().then(() => server.storage.close());
      closing.then(
        () => (closed = true),
        () => (closed = true),
      );
      await this.runUntil(() => closed || this.server !== server);
      world.setPlan([]);
      if (this.server === server) this.endLife();
    } else {
      world.setPlan([]);
      world.crash();
      await world.step();
    }
    this.calm = true;
    await this.runUntil(() => this.server !== undefined || this.refusal !== undefined);
  }

  /** The process ended in order. */
  private endLife(): void {
    this.world.crash();
    this.calm = true;
    this.server = undefined;
  }

  private async finalRecords(): Promise<Uint8Array[] | undefined> {
    const { server } = this;
    if (!server) return undefined;
    let records: Uint8Array[] | undefined;
    const reading = async (): Promise<Uint8Array[]> => {
      const found = await recordsOf(server.storage);
      await this.checkKept(server);
      return found;
    };
    reading().then(
      (found) => (records = found),
      (error: Error) => {
        this.history.violations.push(`I1: the log cannot be read: ${error.message}`);
        return (records = []);
      },
    );
    await this.runUntil(() => records !== undefined);
    return records;
  }

  /** I14, and that what was acknowledged beside the log is there. */
  private async checkKept({ storage, log }: SimulatedServer): Promise<void> {
    const { snapshots, checkpoints, violations } = this.history;
    for (const { stream, version, data, acknowledged } of snapshots) {
      const name = snapshotName({ stream, kind: "", version });
      const found = (await storage.sideValues.get("snapshot", [name])).get(name);
      const known = snapshots.filter((each) => each.stream === stream && each.version === version);
      if (found === undefined) {
        if (acknowledged) violations.push(`I14: the snapshot of ${stream} at ${version} is gone`);
        continue;
      }
      const text = Buffer.from(found).toString("latin1");
      if (!known.some((each) => text.includes(each.data))) {
        violations.push(`I8: the snapshot of ${stream} at ${version} is not ${data}`);
      }
      const facts = await storage.stream(stream);
      if (version > (facts?.version ?? 0)) {
        violations.push(
          `I14: a snapshot at ${version} of ${stream}, which is at ${facts?.version}`,
        );
      }
    }
    const reached = new Map<string, { least: number; most: number }>();
    for (const { consumer, position, acknowledged } of checkpoints) {
      const known = reached.get(consumer) ?? { least: 0, most: 0 };
      if (acknowledged) known.least = Math.max(known.least, position);
      known.most = Math.max(known.most, position);
      reached.set(consumer, known);
    }
    for (const [consumer, { least, most }] of reached) {
      const found = await log.checkpoints.get(consumer).catch(() => undefined);
      const position = found?.position ?? 0;
      if (position >= least && position <= most) continue;
      violations.push(`a checkpoint at ${position}: ${least} was acknowledged, ${most} asked for`);
    }
  }

  private check(records: readonly Uint8Array[]): string[] {
    const found = violationsOf(this.history, records);
    for (const key of this.disk.overwritten) {
      found.push(`F6: key ${Buffer.from(key, "latin1").toString("hex")} was written twice`);
    }
    const last = records.at(-1);
    const head = last ? storedEvent(last).position : 0;
    if (head < this.history.acknowledged) {
      found.push(`I1: the log ends at ${head}; ${this.history.acknowledged} was acknowledged`);
    }
    return found;
  }

  /** A start may be refused only where bytes were corrupted. */
  private judgeRefusal(): string[] {
    const { violations } = this.history;
    if (this.disk.wasCorrupted) return violations;
    return [...violations, `I19: refused without cause: ${this.refusal?.message}`];
  }
}
