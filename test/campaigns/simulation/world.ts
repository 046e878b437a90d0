// The simulated world: a seeded scheduler of everything that may happen next, a virtual clock, and
// the faults that are planned for this run. Nothing in it depends on anything but the seed.
import { syncBuiltinESMExports } from "node:module";
import timersPromises from "node:timers/promises";
import { seededRandom } from "../../support/seeded.ts";

const drainTurn = globalThis.setImmediate;

/** Lets every promise that can settle do so. */
function drained(): Promise<void> {
  return new Promise((resolve) => drainTurn(resolve));
}

interface Action {
  readonly run: () => void;
  /** The life of the server it belongs to; it dies with it. 0: it belongs to nobody's. */
  readonly life: number;
}

interface Timer extends Action {
  readonly at: number;
}

/** Something that goes wrong at the nth time that a point is passed. */
export interface PlannedFault {
  readonly point: string;
  readonly nth: number;
  readonly times: number;
}

const epochMicros = 1_767_225_600_000_000;

export class World {
  readonly random: () => number;
  /** The life of the server that runs now; a crash ends it. */
  life = 1;
  nowMs = 0;
  steps = 0;
  /** How often each failpoint did what it is there for. */
  readonly hits = new Map<string, number>();
  private ready: Action[] = [];
  private timers: Timer[] = [];
  private clockShift = 0;
  private passed = new Map<string, number>();
  private plan: readonly PlannedFault[] = [];
  private onCrash: (() => void) | undefined;
  private crashing = false;

  private readonly trace: ((line: string) => void) | undefined;

  constructor(seed: number, trace?: (line: string) => void) {
    this.random = seededRandom(seed);
    this.trace = trace;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  below(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  setPlan(plan: readonly PlannedFault[]): void {
    this.plan = plan;
  }

  /** Whether a planned fault strikes here, now. */
  strikes(point: string): boolean {
    const count = (this.passed.get(point) ?? 0) + 1;
    this.passed.set(point, count);
    const planned = this.plan.find((each) => each.point === point);
    if (!planned || count < planned.nth || count >= planned.nth + planned.times) return false;
    this.hit(point);
    return true;
  }

  hit(point: string): void {
    this.trace?.(`step ${this.steps}, life ${this.life}: ${point}`);
    this.hits.set(point, (this.hits.get(point) ?? 0) + 1);
  }

  /** Resolves at some later step of the life that runs now; never, if that ends before. */
  turn(life = this.life): Promise<void> {
    return new Promise((run) => this.ready.push({ run, life }));
  }

  /** As `turn`, for those who outlive the server. */
  ownTurn(): Promise<void> {
    return this.turn(0);
  }

  /** As `setImmediate`, for the server's code. */
  soon(run: () => void): void {
    this.ready.push({ run, life: this.life });
  }

  after(ms: number, run: () => void, life = this.life): () => void {
    const timer = { at: this.nowMs + ms, run, life };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((each) => each !== timer);
    };
  }

  /** Microseconds since 1970; it may jump, also back. */
  clock(): number {
    if (this.strikes("clock jumps back")) this.clockShift -= 1 + this.below(5_000_000);
    if (this.strikes("clock jumps ahead")) this.clockShift += 1 + this.below(5_000_000);
    return epochMicros + Math.floor(this.nowMs * 1_000) + this.clockShift + this.steps;
  }

  /**
   * The server's process ends, here and now, if that is planned. The promise then never settles.
   */
  async mayCrash(point: string): Promise<void> {
    if (!this.strikes(point)) return;
    this.crash();
    await new Promise(() => {});
  }

  crash(): void {
    this.crashing = true;
  }

  whenCrashed(callback: () => void): void {
    this.onCrash = callback;
  }

  /** One thing happens. False: nothing can any more. */
  async step(): Promise<boolean> {
    await drained();
    if (this.crashing) {
      this.crashing = false;
      const life = this.life++;
      this.ready = this.ready.filter((each) => each.life !== life);
      this.timers = this.timers.filter((each) => each.life !== life);
      this.onCrash?.();
      return true;
    }
    this.steps++;
    const action = this.takeReady() ?? this.takeTimer();
    if (!action) return false;
    action.run();
    return true;
  }

  /** One of those that are ready; now and then none, though there are, so that time goes by. */
  private takeReady(): Action | undefined {
    const { ready } = this;
    if (ready.length === 0 || (this.timers.length > 0 && this.chance(0.02))) return undefined;
    const at = this.below(ready.length);
    const action = ready[at];
    ready[at] = ready.at(-1) as Action;
    ready.pop();
    return action;
  }

  private takeTimer(): Action | undefined {
    let first: Timer | undefined;
    for (const timer of this.timers) if (!first || timer.at < first.at) first = timer;
    if (!first) return this.ready.length > 0 ? this.takeAnyReady() : undefined;
    this.timers = this.timers.filter((each) => each !== first);
    this.nowMs = Math.max(this.nowMs, first.at);
    return first;
  }

  private takeAnyReady(): Action | undefined {
    return this.ready.splice(this.below(this.ready.length), 1)[0];
  }

  /** While it runs, the code under test gets its immediates from this world, also as promises. */
  async inhabit<T>(live: () => Promise<T>): Promise<T> {
    const original = globalThis.setImmediate;
    const { setImmediate: promised } = timersPromises;
    const ours = (run: (...args: unknown[]) => void, ...args: unknown[]): void => {
      this.soon(() => run(...args));
    };
    const oursPromised = (value?: unknown) => new Promise((resolve) => ours(resolve, value));
    globalThis.setImmediate = ours as unknown as typeof setImmediate;
    timersPromises.setImmediate = oursPromised as typeof promised;
    syncBuiltinESMExports();
    try {
      return await live();
    } finally {
      globalThis.setImmediate = original;
      timersPromises.setImmediate = promised;
      syncBuiltinESMExports();
    }
  }
}
