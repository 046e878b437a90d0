// Stores what a source has, in order. An event keeps its id, unless the store has the id for
// another event; where it comes from is in its metadata. The checkpoint of the source moves in the
// same commit, so that nothing is stored twice or left out, and two imports of one source cannot
// mix.

import { type MessageInitShape, create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { callErrorOf } from "../../client/store/call-failure.ts";
import { patiently } from "../../client/store/retry.ts";
import type { CallOptions } from "../../client/rpc/service-client.ts";
import { EventIdProblem, type EventIdConflict } from "../../gen/annals/v1/errors_pb.js";
import type { NewEventSchema } from "../../gen/annals/v1/event_pb.js";
import { Direction, ReadRequestSchema } from "../../gen/annals/v1/read_pb.js";
import { StreamPolicyField } from "../../gen/annals/v1/stream_service_pb.js";
import { CommandError } from "../arguments/options.ts";
import type { Session } from "../connection/session.ts";
import { keptTimesHint, type KeptTimes } from "./kept-times.ts";
import { nameId, namespaceOf } from "./name-id.ts";
import type { EventSource, SourceEvent, SourceItem } from "./source.ts";

/** Metadata entries of every event that was moved. */
export const sourceKey = "import-source";
export const positionKey = "import-position";
const revisionKey = "import-revision";
const recordedAtKey = "import-recorded-at";

/** Of the checkpoint: the latest time that was kept. */
const timeKey = "recorded-at";

/** The entries that an import adds. */
export const importKeys: ReadonlySet<string> = new Set([
  sourceKey,
  positionKey,
  revisionKey,
  recordedAtKey,
]);

export interface MoveCounts {
  /** Events that this run stored. */
  eventCount: number;
  /** Events that were stored before it began. */
  alreadyCount: number;
  /** Changes of streams. */
  changeCount: number;
  /** Changes of streams that have later events, or events of others. */
  skippedChangeCount: number;
  /** Events of the source's system. */
  passedCount: number;
  /** Events whose id the store had for another event. */
  renamedCount: number;
}

type ChangeItem = Extract<SourceItem, { readonly kind: "change" }>;

type Appended = MessageInitShape<typeof NewEventSchema> & {
  readonly id: string;
  readonly position: bigint;
  readonly isRenamed: boolean;
};

export interface MoveOptions {
  readonly timeoutMs: number;
  readonly isLive: boolean;
  /** Undefined: events do not keep their times. */
  readonly times: KeptTimes | undefined;
}

/** A server that restarts is waited for; for one that stays away, a live run waits for ever. */
const policy = { attemptsMax: 12, delayMinMs: 100, delayMaxMs: 5_000 };

export class MoveTarget {
  readonly counts: MoveCounts = {
    eventCount: 0,
    alreadyCount: 0,
    changeCount: 0,
    skippedChangeCount: 0,
    passedCount: 0,
    renamedCount: 0,
  };
  /** Everything up to here is stored. Undefined: nothing is. */
  position: bigint | undefined;
  /** Undefined: events do not keep their times. */
  readonly times: KeptTimes | undefined;
  private readonly source: EventSource;
  private readonly session: Session;
  private readonly timeoutMs: number;
  private readonly attemptsMax: number;
  private readonly namespace: string;
  /** The position of the saved checkpoint. */
  private saved: bigint | undefined;

  constructor(source: EventSource, session: Session, { timeoutMs, isLive, times }: MoveOptions) {
    this.times = times;
    this.source = source;
    this.session = session;
    this.timeoutMs = timeoutMs;
    this.attemptsMax = isLive ? Number.MAX_SAFE_INTEGER : policy.attemptsMax;
    this.namespace = namespaceOf(source.name);
  }

  private get consumer(): string {
    return `import:${this.source.name}`;
  }

  /** Takes up where an earlier run ended. */
  async resume(): Promise<void> {
    const { checkpoints, once } = this.session;
    try {
      const { checkpoint } = await checkpoints.getCheckpoint({ consumer: this.consumer }, once);
      this.position = this.saved = checkpoint?.position;
      this.times?.resume(checkpoint?.metadata[timeKey]);
    } catch (error) {
      if (callErrorOf(error)?.reason !== "CHECKPOINT_NOT_FOUND") throw error;
    }
  }

  /** Stores a batch. Everything in it is durable when this returns. */
  async store(batch: readonly SourceItem[]): Promise<void> {
    const last = batch.at(-1);
    if (last === undefined) return;
    this.times?.begin();
    const events = batch.flatMap((item) => (item.kind === "event" ? [item] : []));
    for (const item of batch) await this.settle(item);
    if (events.length > 0) await this.append(this.distinct(events), last.position);
    this.position = last.position;
    if (last.kind === "change") await this.save(last.position);
    this.times?.settle();
  }

  private async settle(item: SourceItem): Promise<void> {
    switch (item.kind) {
      case "passed":
        this.counts.passedCount += 1;
        return;
      case "change":
        return this.change(item);
      case "tracking": {
        const { consumer, source, tracked: position } = item;
        await this.patient((call) =>
          this.session.checkpoints.saveCheckpoint(
            { consumer, source, position, reset: true },
            call,
          ),
        );
        return;
      }
      case "event":
    }
  }

  /** Saves the position of what was passed over last. */
  async finish(): Promise<void> {
    if (this.position !== undefined && this.position !== this.saved) await this.save(this.position);
  }

  private async save(position: bigint): Promise<void> {
    const checkpoint = this.checkpointAt(position);
    await this.patient((call) => this.session.checkpoints.saveCheckpoint(checkpoint, call));
    this.saved = position;
  }

  private checkpointAt(position: bigint) {
    const { consumer, times } = this;
    const metadata: Record<string, string> = times === undefined ? {} : { [timeKey]: times.latest };
    return { consumer, source: this.source.kind, position, metadata };
  }

  /** Within one append, each id is there once. */
  private distinct(events: readonly { position: bigint; event: SourceEvent }[]): Appended[] {
    const ids = new Set<string>();
    return events.map(({ position, event }) => {
      const appended = this.appended(event, position);
      const isTaken = appended.id === "" || ids.has(appended.id);
      const distinct = isTaken ? this.renamed(appended) : appended;
      ids.add(distinct.id);
      return distinct;
    });
  }

  private appended(event: SourceEvent, position: bigint): Appended {
    const { recordedAt, revision, metadata, ...content } = event;
    const kept = this.keptTime(recordedAt, position);
    return {
      ...content,
      ...(kept && { recordedAt: kept }),
      position,
      isRenamed: false,
      metadata: {
        ...metadata,
        [sourceKey]: this.source.name,
        [positionKey]: String(position),
        ...(revision !== undefined && { [revisionKey]: String(revision) }),
        ...(recordedAt !== "" && { [recordedAtKey]: recordedAt }),
      },
    };
  }

  /** Undefined: times are not kept. */
  private keptTime(recordedAt: string, position: bigint): Timestamp | undefined {
    return this.times?.next(recordedAt, `position ${position} of ${this.source.name}`);
  }

  /** The same event with an id that follows from its position. */
  private renamed(event: Appended): Appended {
    const { idKey } = this.source;
    const id = nameId(this.namespace, String(event.position));
    const metadata = { ...(event.metadata as Record<string, string>) };
    if (event.id !== "") {
      metadata[idKey] = event.id;
      this.counts.renamedCount += 1;
    }
    return { ...event, id, isRenamed: true, metadata };
  }

  /** `through`: the position that the checkpoint gets. Undefined: it stays. */
  private async append(events: readonly Appended[], through: bigint | undefined): Promise<void> {
    let attempts = 0;
    const isSaved = through === undefined || this.saved === through;
    const checkpoint = isSaved ? {} : { checkpoint: this.checkpointAt(through) };
    try {
      const { deduplicated } = await this.patient((call) => {
        attempts += 1;
        const sent = events.map(({ position: _, isRenamed: __, ...event }) => event);
        return this.session.store.append({ events: sent, ...checkpoint }, call);
      });
      const wasThere = deduplicated && attempts === 1;
      this.counts[wasThere ? "alreadyCount" : "eventCount"] += events.length;
      if (through === undefined) return;
      if (wasThere) await this.save(through);
      this.saved = through;
    } catch (error) {
      await this.resolve(error, events, through);
    }
  }

  /** Another way to store the events, where an id stands in the way. */
  private async resolve(
    error: unknown,
    events: readonly Appended[],
    through: bigint | undefined,
  ): Promise<void> {
    const failure = callErrorOf(error)?.failure;
    if (failure?.reason === "CHECKPOINT_BACKWARDS" || failure?.reason === "CHECKPOINT_CONFLICT") {
      throw new CommandError(`another import of ${this.source.name} is under way`, {
        cause: error,
      });
    }
    if (failure?.reason !== "EVENT_ID_CONFLICT") throw this.named(error, events);
    const taken = takenIds(failure.conflict);
    const others = events.map((event) =>
      taken.has(event.id) && !event.isRenamed ? this.renamed(event) : event,
    );
    if (others.some((event, i) => event !== events[i])) return this.append(others, through);
    if (events.length < 2) throw this.named(error, events);
    const middle = Math.ceil(events.length / 2);
    await this.append(events.slice(0, middle), undefined);
    await this.append(events.slice(middle), through);
  }

  /** The failure, with the position of the event that it concerns. */
  private named(error: unknown, events: readonly Appended[]): unknown {
    const failure = callErrorOf(error)?.failure;
    if (failure?.reason !== "INVALID_FIELD") return error;
    const [violation] = failure.violations;
    const event = events[Number(/^events\[(\d+)\]/.exec(violation?.field ?? "")?.[1])];
    if (violation === undefined || event === undefined) return error;
    const field = violation.field.replace(/^events\[\d+\]\.?/, "") || "event";
    const where = `position ${event.position} of ${this.source.name}`;
    const hint = field === "recorded_at" ? `; ${keptTimesHint}` : "";
    const text = `${where}: ${field}: ${violation.description}${hint}`;
    return new CommandError(text, { cause: error });
  }

  /**
   * Left out where the stream has gone on since: a run that begins anew, because its checkpoint is
   * gone, would otherwise remove what came after the change.
   */
  private async change({ stream, change, position, recordedAt }: ChangeItem): Promise<void> {
    const kept = this.keptTime(recordedAt, position);
    const version = await this.versionBehind(stream, position);
    if (version === undefined) {
      this.counts.skippedChangeCount += 1;
      return;
    }
    this.counts.changeCount += 1;
    const { streams } = this.session;
    const expected = { case: "expectedVersion", value: version } as const;
    const origin = {
      actor: "annals",
      reason: this.source.name.slice(0, 256),
      ...(kept && { recordedAt: kept }),
    };
    if (change.kind === "delete") {
      const { permanent } = change;
      try {
        await this.patient((call) =>
          streams.deleteStream(
            { stream, expected, permanent, evenIfEmpty: permanent, ...origin },
            call,
          ),
        );
      } catch (error) {
        const reason = callErrorOf(error)?.reason;
        if (reason !== "STREAM_NOT_FOUND" && reason !== "STREAM_TOMBSTONED") throw error;
      }
      return;
    }
    const { maxAgeSeconds, maxCount, firstRevision, labels } = change;
    const clear = [
      ...(maxAgeSeconds === undefined ? [StreamPolicyField.MAX_AGE] : []),
      ...(maxCount === undefined ? [StreamPolicyField.MAX_COUNT] : []),
    ];
    const first = firstRevision === undefined ? 0n : await this.versionOf(stream, firstRevision);
    const updated = {
      labels,
      truncateBefore: first,
      ...(maxAgeSeconds !== undefined && { maxAge: { seconds: BigInt(maxAgeSeconds) } }),
      ...(maxCount !== undefined && { maxCount: BigInt(maxCount) }),
    };
    await this.patient((call) =>
      streams.updateStream({ stream, expected, policy: updated, clear, ...origin }, call),
    );
  }

  /**
   * The stream's version, if its newest event is of this source and before the position, or it has
   * no event. Undefined: it has gone on.
   */
  private async versionBehind(stream: string, position: bigint): Promise<bigint | undefined> {
    const request = create(ReadRequestSchema, {
      selection: { case: "stream", value: stream },
      direction: Direction.BACKWARDS,
      limit: 1n,
    });
    let version: bigint | undefined = 0n;
    let isBehind = true;
    for await (const { message } of this.session.store.read(request, this.session.streaming)) {
      if (message.case === "end") version = message.value.streamVersion;
      if (message.case !== "batch") continue;
      for (const { metadata } of message.value.events) {
        const isOwn = metadata[sourceKey] === this.source.name;
        isBehind &&= isOwn && BigInt(metadata[positionKey] ?? 0) < position;
      }
    }
    return isBehind ? version : undefined;
  }

  /**
   * The version of the first event at or after a revision, or of one before it: there may be more
   * than are shown, because an age limit hides some by now. 0: the stream shows no events.
   */
  private async versionOf(stream: string, revision: bigint): Promise<bigint> {
    const request = create(ReadRequestSchema, {
      selection: { case: "stream", value: stream },
      direction: Direction.BACKWARDS,
    });
    let first = 0n;
    let behind = 0n;
    const { store, signal } = this.session;
    for await (const { message } of store.read(request, { signal })) {
      if (message.case !== "batch") continue;
      for (const { version, metadata } of message.value.events) {
        const own = metadata[revisionKey];
        if (own === undefined || BigInt(own) < revision) return version + 1n;
        first = version;
        behind = BigInt(own) - revision;
      }
    }
    return first > behind ? first - behind : first && 1n;
  }

  private patient<T>(attempt: (call: CallOptions) => Promise<T>): Promise<T> {
    const { timeoutMs, attemptsMax } = this;
    return patiently(attempt, {
      policy: { ...policy, attemptsMax },
      timeoutMs: Math.min(attemptsMax * (timeoutMs + policy.delayMaxMs), Number.MAX_SAFE_INTEGER),
      attemptTimeoutMs: timeoutMs,
      signal: this.session.signal,
    });
  }
}

function takenIds({ events }: EventIdConflict): Set<string> {
  const { OTHER_CONTENT, OTHER_STREAM } = EventIdProblem;
  const taken = events.filter(
    ({ problem }) => problem === OTHER_CONTENT || problem === OTHER_STREAM,
  );
  return new Set(taken.map(({ id }) => id));
}
