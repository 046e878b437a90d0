// The participants of a history over several servers. One that loses a server goes on with any of
// them: what is not settled is sent again there with the same ids, and subscriptions resume there.
import { setTimeout as pause } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { Follower, type Followed } from "../support/follower.ts";
import type { History } from "../support/history.ts";
import type { Op } from "../support/op.ts";
import { Reader, walkOn } from "../support/readers.ts";
import { Walk } from "../support/walk.ts";
import { WireClient, type ServerPlace } from "../support/wire-client.ts";
import {
  Contender,
  PipeWriter,
  sharedStreams,
  sharedTags,
  Snapshooter,
  type Stop,
  type Writer,
  type WriterParts,
} from "../support/writers.ts";

/** Appends in each pipe at a time, and the pause behind each answer. */
const pipeSize = { window: 3, appendEventsMax: 300, eventBytesMax: 120, paceMs: 400 };
const pipes = 3;
const contenders = 2;
/** Behind each answer of the others: a failover is what is to be seen here, not a machine at work. */
const paceMs = 25;
/** Between two attempts to reach a server. */
const retryMs = 50;
const drainMsMax = 60_000;
const reachMsMax = 60_000;
/** Between two appends of what consumer groups work on. */
const taskMs = 60;
const taskStreams = 100;

/** The type of the events that consumer groups work on. */
export const taskType = "Task";

export class ClusterCrowd {
  readonly history: History;
  readonly followers: readonly Follower[];
  private readonly servers: readonly ServerPlace[];
  private readonly random: () => number;
  private readonly writers: readonly Writer[];
  private readonly readers: readonly Reader[];
  private readonly clients = new Set<WireClient>();
  private readonly writing: Stop = { now: false };
  private readonly following: Stop = { now: false };
  private readonly attending: Promise<void>[] = [];
  private readonly subscribed: Promise<void>[] = [];
  private walk: Walk;

  constructor(history: History, random: () => number, servers: readonly ServerPlace[]) {
    this.history = history;
    this.random = random;
    this.servers = servers;
    let number = 0;
    const part = (): WriterParts => ({ history, random, number: ++number, paceMs });
    this.writers = [
      ...Array.from({ length: pipes }, () => new PipeWriter(part(), pipeSize)),
      ...Array.from({ length: contenders }, () => new Contender(part())),
      new Snapshooter(part()),
      new TaskWriter(part()),
    ];
    this.readers = servers.map(() => new Reader(history, random, paceMs));
    const followed: Followed[] = [
      { kind: "all" },
      { kind: "all" },
      { kind: "stream", name: sharedStreams[0] },
      { kind: "tag", name: sharedTags[0] },
    ];
    this.followers = followed.map((each, i) => {
      const what = each.kind === "all" ? "everything" : each.name;
      return new Follower(history, each, `subscriber ${i} of ${what}`);
    });
    this.walk = this.freshWalk("the log");
  }

  /** Everybody begins, and goes on over whatever happens. */
  begin(): void {
    for (const each of [...this.writers, ...this.readers]) {
      const run = (client: WireClient): Promise<void> => each.run(client, this.writing);
      this.attending.push(this.attend(run, this.writing));
    }
    for (const follower of this.followers) {
      const run = (client: WireClient): Promise<void> => this.follow(follower, client);
      this.subscribed.push(this.attend(run, this.following));
    }
  }

  /** Clients of a server give it up, whatever it was about to answer. */
  abandon(server: string): void {
    for (const client of this.clients) if (client.server === server) client.lose();
  }

  /** Walks the new part of the log at a server, and compares all observations with it. */
  verify(server: ServerPlace): Promise<boolean> {
    return this.walkThrough(server, this.walk);
  }

  /** The end of a history: all is settled, delivered, and compared with the whole log. */
  async finish(): Promise<void> {
    const { history, followers } = this;
    this.writing.now = true;
    await within(drainMsMax, Promise.all(this.attending));
    for (const writer of this.writers) await this.settle(writer);
    for (const server of this.servers) {
      const walk = this.freshWalk(`the whole log at ${server.name}`);
      const isWalked = await this.walkThrough(server, walk);
      if (!isWalked) history.violate(`${walk.name} could not be walked`);
      else this.walk = walk;
    }
    const until = performance.now() + drainMsMax;
    while (!followers.every((each) => each.hasAll(this.walk)) && performance.now() < until) {
      await pause(50);
    }
    this.stop();
    await Promise.all(this.subscribed);
    for (const follower of followers) follower.end(this.walk);
  }

  /** Everybody goes away. */
  stop(): void {
    this.writing.now = true;
    this.following.now = true;
    for (const client of this.clients) client.lose();
  }

  private async settle(writer: Writer): Promise<void> {
    const until = performance.now() + drainMsMax;
    while (writer.unsettled > 0 && performance.now() < until) {
      const client = await WireClient.open(this.anyServer()).catch(() => undefined);
      if (client !== undefined) await writer.run(client, this.writing);
      client?.close();
      if (writer.unsettled > 0) await pause(retryMs);
    }
    const { unsettled } = writer;
    if (unsettled > 0) this.history.violate(`${unsettled} appends could not be settled`);
  }

  private async attend(run: (client: WireClient) => Promise<void>, stop: Stop): Promise<void> {
    while (!stop.now) {
      const client = await WireClient.open(this.anyServer()).catch(() => undefined);
      if (client !== undefined) {
        this.clients.add(client);
        await run(client).catch((error: unknown) => {
          this.history.violate(`a client failed: ${(error as Error).stack ?? String(error)}`);
        });
        this.clients.delete(client);
        client.close();
      }
      if (!stop.now) await pause(retryMs * (1 + this.random()));
    }
  }

  private async follow(follower: Follower, client: WireClient): Promise<void> {
    const call = client.stream("Subscribe", follower.request(), (message) => {
      follower.message(message);
    });
    const { status, message } = await call.ended;
    if (status === 14 || status === 1) return;
    this.history.violate(`${follower.name} ended with status ${status}: ${message}`);
  }

  private anyServer(): ServerPlace {
    const { servers } = this;
    return servers[Math.floor(this.random() * servers.length)] as ServerPlace;
  }

  private freshWalk(name: string): Walk {
    const keys = [...this.followers, ...this.readers].flatMap((each) =>
      "keys" in each ? each.keys : (each.key ?? []),
    );
    return new Walk(this.history, name, keys);
  }

  /** A server may lose the database again at any time: then the walk goes on where it was. */
  private async walkThrough(server: ServerPlace, walk: Walk): Promise<boolean> {
    const until = performance.now() + drainMsMax;
    while (!(await this.walkFurther(server, walk))) {
      if (performance.now() > until) return false;
      await pause(retryMs);
    }
    return true;
  }

  private async walkFurther(server: ServerPlace, walk: Walk): Promise<boolean> {
    const client = await WireClient.open(server).catch(() => undefined);
    if (client === undefined) return false;
    const settle = (): void => {
      for (const follower of this.followers) follower.settle(walk);
      for (const reader of this.readers) reader.settle(walk);
    };
    try {
      const reaches = (position: number): Promise<void> => reached(client, position);
      return await walkOn(this.history, client, walk, settle, reaches);
    } finally {
      client.close();
    }
  }
}

/** Appends what consumer groups work on, at a steady pace. */
class TaskWriter implements Writer {
  private readonly parts: WriterParts;
  private again: Op | undefined;

  constructor(parts: WriterParts) {
    this.parts = parts;
  }

  get unsettled(): number {
    return this.again === undefined ? 0 : 1;
  }

  async run(client: WireClient, stop: Stop): Promise<void> {
    const { history, random, number } = this.parts;
    while (!stop.now || this.again !== undefined) {
      const stream = `task-${Math.floor(random() * taskStreams)}`;
      const tags = [`k:${Math.floor(random() * 5)}`];
      const count = 1 + Math.floor(random() * 4);
      const shape = { streams: [stream], type: taskType, tags, count, bytesMax: 40 };
      const op = (this.again ??= history.begin(number, shape));
      history.sent(op);
      const { answer } = await client.unary("Append", op.request());
      if (answer === undefined) return;
      history.acknowledged(op, fromBinary(AppendResponseSchema, answer), client.server);
      this.again = undefined;
      await pause(taskMs);
    }
  }
}

/** Another server may have told of a position that this one has not heard of yet. */
async function reached(client: WireClient, position: number): Promise<void> {
  const until = performance.now() + reachMsMax;
  while (performance.now() < until) {
    const { answer } = await client.unary("GetInfo", Buffer.alloc(0));
    if (answer === undefined) return;
    if (fromBinary(GetInfoResponseSchema, answer).head >= BigInt(position)) return;
    await pause(20);
  }
}

function within(ms: number, all: Promise<unknown>): Promise<unknown> {
  return Promise.race([all, pause(ms)]);
}
