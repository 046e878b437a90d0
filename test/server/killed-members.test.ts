// A server that is killed while members are at work: what it answered as settled stays so, everything
// else comes again, in the order of its stream.
import { afterEach, expect, test } from "vitest";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import {
  ConsumerGroupService,
  type Delivery,
} from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer, temporaryFolder, type RunningServer } from "../cli/running-server.ts";
import { Calls } from "../support/calls.ts";
import { Consumer } from "../grpc/services/group-consumer.ts";

const { append } = EventStoreService.method;
const { waitFor } = CheckpointService.method;
const groups = ConsumerGroupService.method;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

const streams = 12;
const perStream = 20;

/** What workers did, over all lives of the server. */
class Ledger {
  readonly faults: string[] = [];
  readonly settled = new Set<number>();
  /** By stream: the versions that were dealt with for the first time, in that order. */
  private readonly done = new Map<string, number[]>();
  private readonly positions = new Map<string, number>();
  private goal = 0;
  private arrived = (): void => {};

  deal({ token, event, attempt }: Delivery): void {
    if (event === undefined) return;
    const { stream, version, position } = event;
    if (this.settled.has(Number(position))) this.faults.push(`${position} #${attempt} was settled`);
    this.positions.set(token, Number(position));
    const done = this.done.get(stream) ?? [];
    this.done.set(stream, done);
    if (done.includes(Number(version))) return;
    if (Number(version) !== done.length + 1) this.faults.push(`${stream}@${version} is too early`);
    done.push(Number(version));
  }

  answered(tokens: readonly string[]): void {
    for (const token of tokens) this.settled.add(this.positions.get(token) ?? 0);
    if (this.settled.size >= this.goal) this.arrived();
  }

  /** So many are settled. */
  reached(count: number): Promise<void> {
    this.goal = count;
    return new Promise((resolve) => {
      this.arrived = resolve;
    });
  }

  /** How many events were dealt with. */
  get doneCount(): number {
    return [...this.done.values()].flat().length;
  }
}

/** Deals with events until its call ends. */
async function work(worker: Consumer, ledger: Ledger): Promise<void> {
  let dealt = 0;
  let told = 0;
  try {
    for (;;) {
      await worker.until(() => worker.deliveries.length > dealt || worker.settled.length > told);
      ledger.answered(worker.settled.slice(told));
      told = worker.settled.length;
      const given = worker.deliveries.slice(dealt);
      dealt = worker.deliveries.length;
      for (const delivery of given) ledger.deal(delivery);
      if (given.length > 0) worker.ack(...given);
    }
  } catch {
    // The server is gone, or all is done.
  }
}

/** Until so many are settled, or all; then the server is killed. */
async function life(server: RunningServer, ledger: Ledger, settled: number): Promise<void> {
  const calls = new Calls(server.address);
  ends.push(() => calls.close());
  const workers = [1, 5, 9].map((permits) => Consumer.join(calls, "g", { permits }));
  const working = workers.map((worker) => work(worker, ledger));
  const who = { case: "group", value: "g" } as const;
  const position = BigInt(streams * perStream);
  const done = calls.unary(waitFor, { who, position, timeout: { seconds: 60n } });
  await Promise.race([ledger.reached(settled), done]);
  if (settled < streams * perStream) await server.kill();
  await done.catch(() => {});
  for (const worker of workers) worker.pipe.cancel();
  await Promise.all(working);
}

test("workers through kills of their server deal with everything, in order, and not again", async () => {
  const server = await startServer(temporaryFolder());
  ends.push(() => server.kill());
  const calls = new Calls(server.address);
  ends.push(() => calls.close());
  for (let i = 0; i < perStream; i++) {
    const events = Array.from({ length: streams }, (_, s) => ({ type: "T", stream: `s-${s}` }));
    await calls.unary(append, { events });
  }
  await calls.unary(groups.createGroup, { name: "g" });
  const ledger = new Ledger();
  for (const settled of [10, 70, 150, 300]) {
    await life(server, ledger, settled);
    if (settled < 300) await server.start();
  }
  expect(ledger.faults).toEqual([]);
  expect(ledger.doneCount).toBe(streams * perStream);
  const last = new Calls(server.address);
  ends.push(() => last.close());
  const { group } = await last.unary(groups.getGroup, { name: "g" });
  expect(group).toMatchObject({ position: 240n, lagEvents: 0n, parkedCount: 0n });
});

test("what was parked, and what is to be replayed, is there after a kill", async () => {
  const server = await startServer(temporaryFolder());
  ends.push(() => server.kill());
  const calls = new Calls(server.address);
  ends.push(() => calls.close());
  const events = ["a", "b", "c"].map((stream) => ({ type: "T", stream }));
  await calls.unary(append, { events });
  await calls.unary(groups.createGroup, { name: "g", settings: { attemptsMax: 1 } });
  const worker = Consumer.join(calls, "g");
  worker.nack(await worker.next(3), "poison");
  await worker.until(() => worker.settled.length === 3);
  await calls.unary(groups.replayParked, { group: "g", positions: [2n] });
  await server.kill();
  await server.start();
  const again = new Calls(server.address);
  ends.push(() => again.close());
  const { parked } = await again.unary(groups.listParked, { group: "g" });
  const reason = "poison";
  expect(parked).toMatchObject([
    { position: 1n, attempts: 1, reason },
    { position: 3n, attempts: 1, reason },
  ]);
  const later = Consumer.join(again, "g");
  expect(await later.next()).toMatchObject([{ attempt: 1, event: { position: 2n } }]);
});
