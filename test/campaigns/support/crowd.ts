// All participants of a history: writers of several kinds, readers and subscribers, each on its own
// connection, over any number of lives of the server.
import { Follower, type Followed } from "./follower.ts";
import type { History } from "./history.ts";
import { Reader, walkOn } from "./readers.ts";
import { Walk } from "./walk.ts";
import { WireClient } from "./wire-client.ts";
import {
  Contender,
  PipeWriter,
  sharedStreams,
  sharedTags,
  Snapshooter,
  type Stop,
  type Writer,
} from "./writers.ts";

export interface CrowdSize {
  readonly pipes: number;
  /** Appends in flight in each pipe. */
  readonly window: number;
  readonly appendEventsMax: number;
  readonly eventBytesMax: number;
  readonly contenders: number;
  readonly readers: number;
  /** Absent: each subscriber has its own connection. */
  readonly followersPerConnection?: number;
}

const drainMsDefault = 20_000;
const roundTripMsMax = 10_000;

/** A connection to one life of the server. */
interface Attached {
  readonly client: WireClient;
  readonly done: Promise<void>;
}

export class Crowd {
  readonly history: History;
  followers: readonly Follower[];
  /** The part of the log that has been walked so far. */
  walk: Walk;
  private readonly writers: readonly Writer[];
  private readonly readers: readonly Reader[];
  private attached: Attached[] = [];
  private readonly perConnection: number;
  private readonly calls = new Map<Follower, { cancel(): void }>();
  private stop: Stop = { now: false };

  constructor(history: History, random: () => number, size: CrowdSize) {
    this.history = history;
    let number = 0;
    const part = () => ({ history, random, number: ++number });
    this.writers = [
      ...Array.from({ length: size.pipes }, () => new PipeWriter(part(), size)),
      ...Array.from({ length: size.contenders }, () => new Contender(part())),
      new Snapshooter(part()),
    ];
    this.perConnection = size.followersPerConnection ?? 1;
    this.readers = Array.from({ length: size.readers }, () => new Reader(history, random));
    const followed: Followed[] = [
      { kind: "all" },
      { kind: "stream", name: sharedStreams[0] },
      { kind: "tag", name: sharedTags[0] },
      { kind: "tag", name: "card:1-3" },
    ];
    this.followers = followed.map((each, i) => {
      const what = each.kind === "all" ? "everything" : each.name;
      return new Follower(history, each, `subscriber ${i} of ${what}`);
    });
    // Small messages give many points to cut at.
    (this.followers[3] as Follower).batchEventsMax = 3;
    this.walk = this.freshWalk("the log");
  }

  freshWalk(name: string): Walk {
    const keys = [...this.followers, ...this.readers].flatMap((each) =>
      "keys" in each ? each.keys : (each.key ?? []),
    );
    return new Walk(this.history, name, keys);
  }

  /**
   * All participants connect and begin; nothing waits for them. A server that has ended is no
   * violation.
   */
  async attach(port: number, parts: { readonly write: boolean } = { write: true }): Promise<void> {
    const stop = { now: false };
    this.stop = stop;
    const runs: ((client: WireClient) => Promise<void>)[] = [];
    const coming = this.followers.filter(({ late }) => !late || !parts.write);
    for (let at = 0; at < coming.length; at += this.perConnection) {
      const some = coming.slice(at, at + this.perConnection);
      runs.push(async (client) => {
        await Promise.all(some.map((follower) => this.follow(follower, client, stop)));
      });
    }
    if (parts.write) {
      runs.push(...this.writers.map((writer) => (client: WireClient) => writer.run(client, stop)));
      runs.push(...this.readers.map((reader) => (client: WireClient) => reader.run(client, stop)));
    }
    const opened = await Promise.allSettled(runs.map(() => WireClient.open(port)));
    opened.forEach((result, i) => {
      if (result.status === "rejected") return;
      const client = result.value;
      const done = (runs[i] as (typeof runs)[number])(client).catch((error: unknown) => {
        this.history.violate(`a client failed: ${(error as Error).stack ?? String(error)}`);
        client.close();
      });
      this.attached.push({ client, done });
    });
  }

  /** Resolves when everything the server had sent has arrived, on every live connection. */
  async roundTrip(): Promise<void> {
    await Promise.all(
      this.attached.map(({ client }) =>
        Promise.race([client.unary("GetInfo", Buffer.alloc(0)), patience(roundTripMsMax)]),
      ),
    );
  }

  /** The server has ended or is about to: every connection ends. */
  async detach(): Promise<void> {
    this.stop.now = true;
    const { attached } = this;
    this.attached = [];
    for (const { client } of attached) client.lose();
    await Promise.all(attached.map(({ done }) => done));
  }

  /** Cancels some subscriptions; each resumes where it was. Returns how many. */
  storm(chosen: () => boolean): number {
    const calls = [...this.calls.values()].filter(chosen);
    for (const call of calls) call.cancel();
    return calls.length;
  }

  /** Some connections read nothing for a while. */
  async standStill(chosen: () => boolean, ms: number): Promise<void> {
    const clients = this.attached.map(({ client }) => client).filter(chosen);
    for (const client of clients) client.pause();
    await new Promise((resolve) => setTimeout(resolve, ms));
    for (const client of clients) client.resume();
  }

  /** Adds subscribers. Must be called before any participant attaches. */
  follows(more: readonly Follower[]): void {
    this.followers = [...this.followers, ...more];
    this.walk = this.freshWalk("the log");
  }

  /** Walks the new part of the log, and compares all observations with it. */
  async verify(port: number): Promise<boolean> {
    return this.walkThrough(port, this.walk);
  }

  /** Walks the whole log again. */
  async verifyAll(port: number): Promise<boolean> {
    const walk = this.freshWalk("the whole log");
    const whole = await this.walkThrough(port, walk);
    if (whole) this.walk = walk;
    return whole;
  }

  /**
   * The end of a history: everything unknown is settled, subscribers get the rest, and the whole
   * log is walked once more.
   */
  async finish(port: number, drainMsMax = drainMsDefault): Promise<void> {
    const { history, writers, followers } = this;
    const stop = { now: true };
    // Continues as long as there is progress, because a busy machine is slow.
    for (const writer of writers) {
      let until = performance.now() + drainMsMax;
      while (writer.unsettled > 0 && performance.now() < until) {
        const before = writer.unsettled;
        const client = await WireClient.open(port);
        await writer.run(client, stop);
        client.close();
        if (writer.unsettled < before) until = performance.now() + drainMsMax;
        if (writer.unsettled > 0) await new Promise((resolve) => setTimeout(resolve, 100));
      }
      if (writer.unsettled > 0) history.violate(`${writer.unsettled} appends could not be settled`);
    }
    await this.attach(port, { write: false });
    if (!(await this.verifyAll(port))) history.violate("the last walk could not be made");
    // Continues as long as there is progress, because a busy machine is slow.
    const delivered = (): number => followers.reduce((sum, each) => sum + each.delivered, 0);
    let until = performance.now() + drainMsMax;
    for (let last = delivered(); !followers.every((each) => each.hasAll(this.walk));) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const now = delivered();
      if (now > last) until = performance.now() + drainMsMax;
      if (performance.now() > until) break;
      last = now;
    }
    await this.detach();
    for (const follower of followers) follower.end(this.walk);
  }

  private async walkThrough(port: number, walk: Walk): Promise<boolean> {
    const client = await WireClient.open(port).catch(() => undefined);
    if (client === undefined) return false;
    try {
      return await walkOn(this.history, client, walk, () => {
        for (const follower of this.followers) follower.settle(walk);
        for (const reader of this.readers) reader.settle(walk);
      });
    } finally {
      client.close();
    }
  }

  private async follow(follower: Follower, client: WireClient, stop: Stop): Promise<void> {
    for (;;) {
      let over = false;
      const call = client.stream("Subscribe", follower.request(), (message) => {
        if (!over) follower.message(message);
      });
      this.calls.set(follower, {
        cancel: () => {
          over = true;
          call.cancel();
        },
      });
      const { status, message } = await call.ended;
      this.calls.delete(follower);
      if (status !== 14 && status !== 1) {
        this.history.violate(`${follower.name} ended with status ${status}: ${message}`);
        return;
      }
      if (status === 14 || stop.now) return;
    }
  }
}

function patience(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
