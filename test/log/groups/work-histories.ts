// Groups over the log as workers see them: whatever fails, is killed or restarted, each event is
// dealt with at least once, in the order of its stream, and never again once that was answered.
import fc from "fast-check";
import { expect } from "vitest";
import type { GroupSettings } from "../../../src/domain/group/settings.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../../src/domain/lifecycle/lifecycle-event.ts";
import { recordsIn, scanRecord } from "../../../src/domain/record.ts";
import type { MemberDelivery, MemberMessage } from "../../../src/log/group-verbs.ts";
import { appendAll, openLog, settled, type Opened } from "../harness.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { Worker } from "./worker.ts";

const settings: GroupSettings = {
  query: { items: [{ streams: [], streamPrefixes: [], types: ["T"], tags: [], tagsAny: [] }] },
  ordering: { kind: "stream" },
  leaseMs: 1_000,
  attemptsMax: 4,
  retryDelayMs: 100,
  retryDelayMaxMs: 400,
  inFlightMax: 50,
};

class Workplace {
  opened: Opened = openLog();
  workers: Worker[] = [];
  /** Those that have said their last word to the process there is. */
  private parting: Worker[] = [];
  readonly faults: string[] = [];
  /** Positions that a worker said it was done with, or put aside. */
  private readonly done = new Set<number>();
  /** Tokens that were acknowledged, and not refused. */
  private readonly acked = new Set<string>();
  private readonly answered = new Set<number>();
  private readonly positions = new Map<string, number>();
  private tokens = new Map<string, { readonly stream: string; readonly worker: Worker }>();
  private readonly streams = new Map<number, string>();
  private appended = 0;
  /** Positions of deleted events; and those of which every worker must know by now. */
  private readonly deleted = new Set<number>();
  private readonly removed = new Set<number>();

  async begin(): Promise<void> {
    await this.opened.log.groups.create("g", settings, { kind: "after-position", position: 0 });
  }

  async append(streams: readonly string[], type: string): Promise<void> {
    for (const stream of streams) {
      try {
        await appendAll(this.opened.log, { stream, type });
      } catch {
        // What became of it, the log says.
      }
    }
    this.look();
  }

  /** Deletes a stream; its events come no more, unless a worker was sent them before. */
  async remove(stream: string): Promise<void> {
    const cause = { actor: "", reason: "", expected: undefined };
    try {
      await this.opened.log.streams.remove({ ...cause, stream, permanent: false });
    } catch {
      // What became of it, the log says.
    }
    await settled();
    this.look();
    for (const position of this.deleted) this.removed.add(position);
  }

  /** What the log holds, failed appends and deletions that got there included. */
  look(): void {
    for (const { stream, type, position, frame } of this.opened.storage.data.events) {
      this.appended = position;
      if (type === "T") this.streams.set(position, stream);
      if (streamKeptIn(stream) === undefined) continue;
      const [record = new Uint8Array()] = recordsIn(frame);
      const of = lifecycleRecordOf(record).stream;
      for (const [earlier, other] of this.streams) {
        if (earlier < position && other === of) this.forget(earlier);
      }
    }
  }

  private forget(position: number): void {
    this.deleted.add(position);
    this.done.add(position);
  }

  async join(permits: number): Promise<void> {
    if (this.workers.length >= 3) return;
    const tell = (message: MemberMessage, worker: Worker): void => this.hear(message, worker);
    try {
      this.workers.push(await Worker.join(this.opened.log, "g", permits, tell));
    } catch {
      // The store is recovering: another time.
    }
  }

  leave(choice: number): void {
    const worker = this.workers[choice % Math.max(1, this.workers.length)];
    if (worker === undefined) return;
    this.workers = this.workers.filter((other) => other !== worker);
    worker.leave();
    this.letGo((held) => held.worker === worker);
  }

  /** Says no more: its messages end when what it said is answered. */
  goHome(choice: number): void {
    const worker = this.workers[choice % Math.max(1, this.workers.length)];
    if (worker === undefined) return;
    this.workers = this.workers.filter((other) => other !== worker);
    this.parting.push(worker);
    worker.finish();
    this.letGo((held) => held.worker === worker);
  }

  ack(choice: number, count: number): void {
    const worker = this.workers[choice % Math.max(1, this.workers.length)];
    const chosen = this.chosen(worker, choice, count);
    for (const { token } of chosen) {
      this.acked.add(token);
      this.done.add(this.positions.get(token) ?? 0);
    }
    worker?.ack(chosen);
    this.letGo((_, token) => chosen.some((delivery) => delivery.token === token));
  }

  nack(choice: number, count: number, delayMs: number | undefined): void {
    const worker = this.workers[choice % Math.max(1, this.workers.length)];
    const chosen = this.chosen(worker, choice, count);
    worker?.nack(chosen, delayMs);
    this.letGo((_, token) => chosen.some((delivery) => delivery.token === token));
  }

  async pass(ms: number): Promise<void> {
    await this.opened.timers.pass(ms);
  }

  /** The process is killed; another one begins over what is on disk. */
  async crash(): Promise<void> {
    await this.markParked();
    for (const worker of this.workers) worker.ask({ kind: "permits", count: 0 });
    const { storage } = this.opened;
    const data = { ...storage.data, events: [...storage.data.events] };
    // What the old process still does, it does to nothing.
    storage.control.beforeCommit = () => new Promise(() => {});
    this.opened = openLog({ storage: createModelStorage({ data }) });
    this.workers = [];
    this.parting = [];
    this.tokens = new Map();
    this.passedOver.clear();
  }

  /** Everything works: until all is done. */
  async finish(): Promise<void> {
    this.opened.storage.control.setWriteState("accepting");
    this.look();
    for (let round = 0; round < 60; round++) {
      if (this.workers.every(({ ended }) => ended)) {
        this.workers = [];
        await this.join(20);
      }
      await this.pass(round % 3 === 2 ? 2_000 : 300);
      this.workers.forEach((worker, i) => this.ack(i, worker.held.length));
      await this.markParked();
      const { position } = await this.opened.log.groups.get("g");
      if (position === this.appended) break;
    }
    await settled();
    if (this.parting.some(({ ended }) => !ended)) this.faults.push("a worker is not let go");
    const left = [...this.streams.keys()].filter((position) => !this.done.has(position));
    const { position } = await this.opened.log.groups.get("g");
    if (left.length > 0) this.faults.push(`${left.join(" ")} were never dealt with`);
    if (position !== this.appended) this.faults.push(`the group is at ${position}`);
  }

  /** Parked events are dealt with as far as their stream is concerned. */
  async markParked(): Promise<void> {
    const page = { group: "g", after: 0, limit: 1_000, bytesMax: 1_000_000 };
    const parked = await this.opened.log.groups.listParked(page).catch(() => []);
    for (const { position } of parked) this.done.add(position);
  }

  private hear(message: MemberMessage, worker: Worker): void {
    if (message.kind === "settled") {
      for (const token of message.tokens) {
        if (this.acked.has(token)) this.answered.add(this.positions.get(token) ?? 0);
      }
    }
    if (message.kind === "refused") for (const token of message.tokens) this.takeBack(token);
    if (message.kind !== "deliveries" || !this.workers.includes(worker)) return;
    this.look();
    for (const delivery of message.deliveries) this.delivered(delivery, worker);
  }

  /** An acknowledgement that did not count. */
  private takeBack(token: string): void {
    this.acked.delete(token);
    const position = this.positions.get(token);
    const others = [...this.acked].some((other) => this.positions.get(other) === position);
    if (others || position === undefined || this.deleted.has(position)) return;
    this.done.delete(position);
  }

  private delivered({ token, record, attempt }: MemberDelivery, worker: Worker): void {
    const { stream, position, type } = scanRecord(record);
    const fault = (what: string) => this.faults.push(`${position} of ${stream}: ${what}`);
    this.positions.set(token, position);
    if (type !== "T") fault("is not asked for");
    if (this.answered.has(position)) fault("was settled");
    if (this.removed.has(position)) fault("was removed");
    if (this.passedOver.has(position)) fault("was passed over");
    if (attempt > settings.attemptsMax) fault(`attempt ${attempt}`);
    for (const [earlier, of] of this.streams) {
      if (of !== stream || earlier >= position || this.done.has(earlier)) continue;
      // Events are parked without a word to those that hold others.
      this.passedOver.add(earlier);
    }
    this.tokens.set(token, { stream, worker });
  }

  /**
   * Positions that were passed over by a later one of their stream. Each must be parked, though its
   * side value may still be on its way to disk (and is tried again where a write failed): until it is
   * there it must not be delivered again, unless the group began again from what the disk holds.
   */
  private readonly passedOver = new Set<number>();

  /** Every fault so far. */
  async check(): Promise<readonly string[]> {
    await settled();
    await this.markParked();
    if (this.workers.some(({ ended }) => ended)) this.passedOver.clear();
    for (const position of this.passedOver) {
      if (this.done.has(position)) this.passedOver.delete(position);
    }
    return this.faults;
  }

  private chosen(worker: Worker | undefined, choice: number, count: number): MemberDelivery[] {
    const held = worker?.held ?? [];
    const from = held.length === 0 ? 0 : choice % held.length;
    return held.slice(from, from + count);
  }

  private letGo(which: (held: { readonly worker: Worker }, token: string) => boolean): void {
    for (const [token, held] of this.tokens) if (which(held, token)) this.tokens.delete(token);
  }
}

type Step = (place: Workplace) => unknown;

const choice = fc.nat({ max: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(
        fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 5 }),
        fc.constantFrom("T", "T", "U"),
      )
      .map(
        ([streams, type]): Step =>
          (place) =>
            place.append(streams, type),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.integer({ min: 1, max: 4 }).map(
      (n): Step =>
        (place) =>
          place.join(n),
    ),
  },
  {
    weight: 1,
    arbitrary: choice.map(
      (one): Step =>
        (place) =>
          place.leave(one),
    ),
  },
  {
    weight: 1,
    arbitrary: choice.map(
      (one): Step =>
        (place) =>
          place.goHome(one),
    ),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(choice, fc.integer({ min: 1, max: 3 })).map(([one, count]): Step => {
      return (place) => place.ack(one, count);
    }),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(choice, fc.constantFrom(undefined, 0, 250)).map(([one, ms]): Step => {
      return (place) => place.nack(one, 1, ms);
    }),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(100, 400, 1_000).map(
      (ms): Step =>
        (place) =>
          place.pass(ms),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("a", "b", "c").map(
      (stream): Step =>
        (place) =>
          place.remove(stream),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("there", "not there").map((fate): Step => {
      return (place) => place.opened.storage.control.failNextCommit(fate);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constant<Step>((place) => place.opened.storage.control.staleNextCommit()),
  },
  { weight: 1, arbitrary: fc.constant<Step>((place) => place.crash()) },
);

/** Fails with the shortest history that goes wrong. */
export async function assertWork(runs: number): Promise<void> {
  const steps = fc.array(step, { minLength: 1, maxLength: 40, size: "max" });
  const property = fc.asyncProperty(steps, async (all) => {
    const place = new Workplace();
    await place.begin();
    for (const act of all) {
      await act(place);
      expect(await place.check()).toEqual([]);
    }
    await place.finish();
    expect(await place.check()).toEqual([]);
    await place.opened.log.stop();
  });
  await fc.assert(property, { numRuns: runs });
}
