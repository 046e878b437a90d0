// Clients of the simulated server: writers that retry, readers, subscribers that come back, and
// those that keep snapshots and checkpoints. Each does a few things and is done; a server that dies
// under them is there again some time later.
import type { Append, AppendCondition, Expected } from "../../../src/domain/append.ts";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { Query, Selection } from "../../../src/domain/query.ts";
import { scanPlacement } from "../../../src/domain/record.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { recordsOf } from "../../../src/log/read/records.ts";
import { newAppend, newEvent } from "../../support/events.ts";
import type { History, ReadCall } from "./history.ts";
import type { World } from "./world.ts";

/** A connection to a server that lives, until it dies. */
export interface Session {
  readonly log: EventLog;
  /** What the server answers; rejects when it dies, and if it is dead. */
  call<T>(what: string, ask: () => Promise<T>): Promise<T>;
}

/** How clients reach the server, and what is known of it from outside. */
export interface Connection {
  /** The server as it runs now; waits while it is down. Undefined: it is gone for good. */
  session(): Promise<Session | undefined>;
  /** The last position that a restart would find. */
  durable(): number;
  nextId(): string;
}

/** One call of a subscriber. */
type Visit = History["subscriptions"][number];

const streams = ["a-1", "a-2", "b-1", ""];
const types = ["T1", "T2", "T3"];
const tags = ["x", "y"];
const retriesMax = 6;
/** Reasons that say that nothing was stored. */
const nothingStored = new Set([
  "DISK_FULL",
  "RECOVERING",
  "STOPPING",
  "STORE_FAILED",
  "OVERLOADED",
]);

export class Clients {
  private readonly world: World;
  private readonly history: History;
  private readonly connection: Connection;

  constructor(world: World, history: History, connection: Connection) {
    this.world = world;
    this.history = history;
    this.connection = connection;
  }

  async writer(appends: number): Promise<void> {
    for (let i = 0; i < appends; i++) {
      const append = this.newAppend();
      const retriable = append.events.every((event) => event.idFromClient);
      const retries = retriable && this.world.chance(0.8) ? retriesMax : 0;
      for (let attempt = 0; attempt <= retries; attempt++) {
        if (await this.append(append)) break;
      }
      await this.world.ownTurn();
    }
  }

  /** False: worth another try. */
  private async append(append: Append): Promise<boolean> {
    const { history, connection, world } = this;
    const session = await connection.session();
    if (!session) return true;
    const { log } = session;
    const call = {
      append,
      headAtCall: history.acknowledged,
      headAtAnswer: 0,
      answer: { kind: "unknown" },
    } as History["appends"][number];
    history.appends.push(call);
    try {
      const looked = world.chance(0.3) ? log.lookAhead(append) : undefined;
      const proposed = looked ? await session.call("lookAhead", () => looked) : append;
      const { outcome } = await session.call("append", () => log.append(proposed));
      call.answer = { kind: "outcome", outcome };
      call.headAtAnswer = connection.durable();
      if (outcome.kind === "appended") {
        history.acknowledged = Math.max(history.acknowledged, outcome.lastPosition);
      }
      return true;
    } catch (error) {
      call.headAtAnswer = connection.durable();
      if (error instanceof AnnalsError && nothingStored.has(error.reason)) {
        call.answer = { kind: "refused" };
      }
      this.recordFailure(error);
      await world.ownTurn();
      return false;
    }
  }

  private newAppend(): Append {
    const { world, connection } = this;
    const fromClient = world.chance(0.85);
    const mixed = world.chance(0.1);
    const events = Array.from({ length: 1 + world.below(world.chance(0.1) ? 12 : 4) }, () => {
      const id = connection.nextId();
      const idFromClient = mixed ? world.chance(0.5) : fromClient;
      return newEvent({
        ...(idFromClient ? { id } : { idFromClient }),
        // Finds what was proposed, whether the client or the store made its id.
        metadata: { name: id },
        stream: world.pick(streams),
        type: world.pick(types),
        tags: tags.filter(() => world.chance(0.3)),
        data: Buffer.alloc(world.chance(0.1) ? world.below(6_000) : world.below(40), 7),
      });
    });
    const expected = world.chance(0.4) ? [this.expectation()] : [];
    const condition = world.chance(0.3) ? this.condition() : undefined;
    return newAppend(events, { expectations: expected, ...(condition && { condition }) });
  }

  private expectation(): { stream: string; expected: Expected } {
    const { world } = this;
    const kinds = [
      { kind: "version" as const, version: world.below(8) },
      { kind: "exists" as const },
      { kind: "absent" as const },
    ];
    return { stream: world.pick(streams.slice(0, 3)), expected: world.pick(kinds) };
  }

  private condition(): AppendCondition {
    return { query: this.query(), after: this.world.below(this.history.acknowledged + 1) };
  }

  private query(): Query {
    const { world } = this;
    const some = (from: readonly string[], share: number): string[] =>
      world.chance(share) ? [world.pick(from)] : [];
    const item = () => ({
      streams: some(streams.slice(0, 3), 0.3),
      streamPrefixes: [],
      types: some(types, 0.5),
      tags: some(tags, 0.4),
      tagsAny: world.chance(0.3) ? tags.slice(0, 2) : [],
    });
    return { items: Array.from({ length: 1 + world.below(2) }, item) };
  }

  private selection(): Selection {
    const { world } = this;
    if (world.chance(0.4)) return { kind: "all" };
    if (world.chance(0.5)) return { kind: "stream", stream: world.pick(streams.slice(0, 3)) };
    return { kind: "query", query: this.query() };
  }

  async reader(reads: number): Promise<void> {
    for (let i = 0; i < reads; i++) {
      const session = await this.connection.session();
      if (!session) return;
      const call: ReadCall = {
        selection: this.selection(),
        direction: this.world.chance(0.5) ? "forwards" : "backwards",
        acknowledgedAtCall: this.history.acknowledged,
        head: 0,
        records: [],
        ended: false,
      };
      this.history.reads.push(call);
      await this.read(session, call).catch((error: unknown) => this.recordFailure(error));
      await this.world.ownTurn();
    }
  }

  private async read(session: Session, call: ReadCall): Promise<void> {
    const { selection, direction } = call;
    const messages = session.log.read({ selection, direction })[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = await session.call("read", () => messages.next());
      if (done === true) break;
      if (value.kind === "batch") call.records.push(...recordsOf(value.batch));
      if (value.end !== undefined) [call.head, call.ended] = [value.end.head, true];
      await this.world.ownTurn();
    }
  }

  /** Follows a selection, and comes back after the last position it saw, for a while. */
  async subscriber(visits: number): Promise<void> {
    const selection = this.selection();
    let after = 0;
    for (let i = 0; i < visits; i++) {
      const session = await this.connection.session();
      if (!session) return;
      const visit: Visit = { selection, after, heard: [] };
      this.history.subscriptions.push(visit);
      const end = new AbortController();
      const subscribed = this.subscribe(session, visit, end.signal);
      await subscribed.catch((error: unknown) => this.recordFailure(error));
      end.abort();
      after = Math.max(after, ...visit.heard.map(positionHeard));
      await this.world.ownTurn();
    }
  }

  private async subscribe(session: Session, visit: Visit, signal: AbortSignal): Promise<void> {
    const { selection, after, heard } = visit;
    const request = {
      selection,
      start: { kind: "after-position" as const, position: after },
      checkpointIntervalMs: 500,
      ...(this.world.chance(0.3) && { batchEventsMax: 1 + this.world.below(3) }),
    };
    const messages = session.log.subscribe(request, signal)[Symbol.asyncIterator]();
    for (let left = 1 + this.world.below(8); left > 0; left--) {
      const { done, value } = await session.call("subscribe", () => messages.next());
      if (done === true) break;
      const durable = this.connection.durable();
      const records = value.kind === "batch" ? recordsOf(value.batch) : [];
      for (const record of records) heard.push({ kind: "record", record, durable });
      if (value.kind !== "batch") {
        heard.push({ kind: "position", position: value.position, durable });
      }
      await this.world.ownTurn();
    }
  }

  /** Keeps a stream's snapshots and a consumer's checkpoint. */
  async keeper(saves: number): Promise<void> {
    const { world, history, connection } = this;
    const consumer = `consumer-${world.below(1_000)}`;
    let reached = 0;
    for (let i = 0; i < saves; i++) {
      const session = await connection.session();
      if (!session) return;
      const { log } = session;
      const stream = world.pick(streams.slice(0, 3));
      const version = 1 + world.below(6);
      const data = `state ${i} at ${version} (${world.below(1_000)})`;
      const snapshot = { stream, version, data, acknowledged: false };
      try {
        if (world.chance(0.5)) {
          history.snapshots.push(snapshot);
          const saved = { kind: "", contentType: "text/plain", metadata: {} };
          const bytes = Buffer.from(data);
          const whole = { ...saved, stream, version, data: bytes };
          await session.call("saveSnapshot", () => log.saveSnapshot(whole));
          snapshot.acknowledged = true;
        } else {
          reached = Math.max(reached, world.below(history.acknowledged + 1));
          const update = { consumer, position: reached, metadata: {} };
          const checkpoint = { ...update, acknowledged: false };
          history.checkpoints.push(checkpoint);
          await session.call("saveCheckpoint", () =>
            log.checkpoints.save({ update, reset: false }),
          );
          checkpoint.acknowledged = true;
        }
      } catch (error) {
        this.recordFailure(error);
      }
      await world.ownTurn();
    }
  }

  /** Failures are answers too; only some of them may be. */
  private recordFailure(error: unknown): void {
    const { history } = this;
    if (error instanceof Disconnected) return;
    const code = (error as { code?: unknown }).code;
    // A disk that cannot be read is INTERNAL to a client: an error, never an answer.
    if (code === "LEVEL_IO_ERROR") return;
    if (!(error instanceof AnnalsError)) {
      history.violations.push(`a call failed with ${(error as Error).stack ?? String(error)}`);
      return;
    }
    if (error.reason === "CORRUPTION") history.corruptions++;
    if (!expectedReasons.has(error.reason)) {
      history.violations.push(`a call failed with ${error.reason}: ${error.message}`);
    }
  }
}

function positionHeard(heard: Visit["heard"][number]): number {
  return heard.kind === "record" ? scanPlacement(heard.record).position : heard.position;
}

const expectedReasons = new Set([
  ...nothingStored,
  "OUTCOME_UNKNOWN",
  "CORRUPTION",
  "SNAPSHOT_BEYOND_STREAM",
  "CHECKPOINT_BACKWARDS",
]);

/** The server died before it answered. */
export class Disconnected extends Error {}
