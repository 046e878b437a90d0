// The plain model engine: the contract of the storage port over one array and filters, in memory.
// It is the oracle of generated tests and the engine in tests of the layers above, so it can also
// be told to misbehave in the ways that the port allows (see `ModelControl`).
import { firstEpoch } from "../../src/domain/epoch.ts";
import { AnnalsError, invariant } from "../../src/domain/errors.ts";
import { isSystemName, type CommitEvent, positionInId } from "../../src/domain/event.ts";
import { matches, selects } from "../../src/domain/query.ts";
import { recordsIn, storedEvent } from "../../src/domain/record.ts";
import { composeRemovedRecord } from "../../src/storage/removed-record.ts";
import type {
  Commit,
  EventTypeFacts,
  Head,
  JudgedEvent,
  NamePage,
  Batch,
  Storage,
  StorageIdentity,
  StorageRead,
  StorageWatcher,
  StreamFacts,
  WriteState,
} from "../../src/storage/storage.ts";
import { compareUtf8, modelSideValues, type BesideEvents } from "./model-beside.ts";
import { lifecyclesIn, visibilityOf } from "./model-lifecycles.ts";

type ModelEvent = CommitEvent & { readonly recordedAt: number };

/** The data that survives a restart. A second model over the same data is the reopened store. */
export interface ModelData extends BesideEvents {
  readonly identity: StorageIdentity;
  readonly events: ModelEvent[];
  /** The latest of the store's times since a stream has a lifecycle. */
  time: number;
}

function createModelData(): ModelData {
  const storeId = "018f0000-0000-7000-8000-00000000a11a";
  const identity = { storeId, createdAt: 1, engine: "model", formatVersion: 1 } as const;
  return {
    identity: { ...identity, durability: "memory", history: [firstEpoch(storeId, 1)] },
    events: [],
    time: 0,
    sideValues: [],
  };
}

export interface ModelOptions {
  /** Absent: a new, empty store. */
  readonly data?: ModelData;
  /** Microseconds by which ages are measured. Absent: a constant. */
  readonly clock?: () => number;
  /** Events scanned before a batch ends even if nothing matched, so that some batches are empty. */
  readonly batchScanMax?: number;
}

/** Switches. They may be set at any time. Hooks stay until unset, the others act once. */
export interface ModelControl {
  /**
   * Awaited by each commit before anything is stored and, `afterCommit`, before anything is
   * visible.
   */
  beforeCommit: ((commit: Commit) => unknown) | undefined;
  afterCommit: ((commit: Commit) => unknown) | undefined;
  /** Awaited by each read before each batch. */
  beforeBatch: ((read: StorageRead) => unknown) | undefined;
  /**
   * The next commit throws OUTCOME_UNKNOWN and the store recovers, with or without the commit's
   * events: at once, or with `held` when `recover` is called; until then commits throw RECOVERING.
   */
  failNextCommit(events: "there" | "not there", recovery?: "held"): void;
  recover(): void;
  /**
   * The next commit returns `stale`. The events that another node appended meanwhile, if given, are
   * stored.
   */
  staleNextCommit(foreign?: (head: Head) => Commit): void;
  /** As on a full disk or a broken store: commits throw accordingly. */
  setWriteState(state: WriteState): void;
  /** How many commits were stored, including failed ones whose events are stored. */
  commitCount(): number;
}

export interface ModelStorage extends Storage {
  readonly control: ModelControl;
  readonly data: ModelData;
}

export function createModelStorage(options: ModelOptions = {}): ModelStorage {
  const data = options.data ?? createModelData();
  const { events } = data;
  const batchScanMax = options.batchScanMax ?? 256;
  const watchers = new Set<StorageWatcher>();
  let state: WriteState = "accepting";
  let closed = false;
  let inFlight: Promise<unknown> | undefined;
  let failure: { there: boolean; held: boolean } | undefined;
  let lost: Commit | undefined;
  let stale: { foreign: ((head: Head) => Commit) | undefined } | undefined;
  let commits = 0;
  const clock = options.clock ?? (() => 0);
  let judged = { at: "", visibility: visibilityOf(events, 0) };
  /** Never earlier than the head's, and never going back once a stream has a lifecycle. */
  function timeNow(): number {
    const time = Math.max(clock(), head().recordedAt, data.time);
    if (lifecyclesIn(events).size > 0) data.time = time;
    return time;
  }

  /** Which events are left by now. */
  function visibility(): (event: JudgedEvent) => boolean {
    const now = timeNow();
    const at = `${events.length} ${now}`;
    if (judged.at !== at) judged = { at, visibility: visibilityOf(events, now) };
    return judged.visibility;
  }

  function left(): ModelEvent[] {
    return events.filter(visibility());
  }

  function head(): Head {
    const last = events.at(-1);
    return { position: events.length, recordedAt: last?.recordedAt ?? 0 };
  }

  function setWriteState(next: WriteState): void {
    state = next;
    for (const watcher of watchers) watcher.writeStateChanged?.(next);
  }

  function store(commit: Commit, known: boolean): void {
    const from = head();
    const copies = commit.events.map((event) => ({ ...event, frame: new Uint8Array(event.frame) }));
    const timeOf = (i: number) => commit.times?.[i] ?? commit.recordedAt;
    events.push(...copies.map((event, i) => ({ ...event, recordedAt: timeOf(i) })));
    for (const { space, name, value } of commit.sideValues ?? []) {
      data.sideValues = data.sideValues.filter(
        (sideValue) => sideValue.space !== space || sideValue.name !== name,
      );
      if (value !== undefined) data.sideValues.push({ space, name, value: new Uint8Array(value) });
    }
    commits++;
    if (copies.length === 0) return;
    const advance = { from, to: head(), ...(known ? { events: commit.events } : {}) };
    for (const watcher of watchers) watcher.advanced?.(advance);
  }

  function recover(): void {
    if (lost !== undefined) store(lost, false);
    lost = undefined;
    setWriteState("accepting");
  }

  function assertOpen(): void {
    if (closed) throw new AnnalsError({ reason: "STOPPING" }, "the store is closed");
  }

  function assertAccepting(): void {
    if (state === "recovering") throw new AnnalsError({ reason: "RECOVERING" }, "recovering");
    if (state === "failed") throw new AnnalsError({ reason: "STORE_FAILED" }, "failed");
    if (state === "disk-full") {
      throw new AnnalsError({ reason: "DISK_FULL", retryAfterMs: 1_000 }, "disk full");
    }
  }

  function assertWellFormed(commit: Commit): void {
    const versions = versionsOf(commit.events.map((event) => event.stream));
    const { sideValues = [], after, recordedAt } = commit;
    invariant(commit.events.length + sideValues.length > 0, "a commit has events or side values");
    const names = new Set(sideValues.map(({ space, name }) => `${space} ${name}`));
    invariant(names.size === sideValues.length, "a commit changes a side value once");
    const named = sideValues.every(({ name }) => name !== "" && !name.includes("\0"));
    invariant(named, "a side value has a name without U+0000");
    const times = [after.recordedAt, ...(commit.times ?? []), recordedAt];
    invariant(times.toSorted((a, b) => a - b).join() === times.join(), "time never decreases");
    commit.events.forEach((event, i) => {
      const version = event.stream === "" ? 0 : (versions.get(event.stream) ?? 0) + 1;
      versions.set(event.stream, version);
      invariant(event.position === commit.after.position + 1 + i, "positions are dense");
      invariant(event.version === version, `versions are dense: ${event.stream}`);
    });
  }

  function versionsOf(streams: Iterable<string>): Map<string, number> {
    const versions = new Map<string, number>();
    for (const stream of streams) versions.set(stream, 0);
    for (const event of events) {
      if (versions.has(event.stream)) versions.set(event.stream, event.version);
    }
    return versions;
  }

  async function commitNow(commit: Commit): Promise<"committed" | "stale"> {
    await control.beforeCommit?.(commit);
    if (stale !== undefined) {
      const { foreign } = stale;
      stale = undefined;
      if (foreign !== undefined) store(foreign(head()), false);
      return "stale";
    }
    if (commit.after.position !== events.length) return "stale";
    assertWellFormed(commit);
    await control.afterCommit?.(commit);
    if (failure === undefined) {
      store(commit, true);
      return "committed";
    }
    const { there, held } = failure;
    failure = undefined;
    lost = there ? commit : undefined;
    setWriteState("recovering");
    if (!held) recover();
    throw new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, "the write failed");
  }

  async function* read(request: StorageRead): AsyncGenerator<Batch> {
    assertOpen();
    const { selection, versions, batchBytes, batchEvents, asOf, withRemoved, withRemovedRecords } =
      request;
    const first = Math.max(1, request.positions.first);
    const last = Math.min(events.length, request.positions.last);
    const inRange = first > last ? [] : events.slice(first - 1, last);
    if (request.direction === "backwards") inRange.reverse();
    let frames: Uint8Array[] = [];
    let bytes = 0;
    let scanned = 0;
    const everything = withRemoved === true ? () => true : undefined;
    const seen =
      asOf === undefined ? everything : (everything ?? visibilityOf(events, timeNow(), asOf));
    for (const event of inRange) {
      const inVersions =
        versions === undefined ||
        (event.version >= versions.first && event.version <= versions.last);
      scanned++;
      if (inVersions && selects(selection, event)) {
        const isLeft = (seen ?? visibility())(event);
        const frame = isLeft
          ? event.frame
          : withRemovedRecords && composeRemovedRecord(recordOf(event.frame), false, 1);
        if (frame) frames.push(frame);
        if (frame) bytes += frame.length;
      }
      const full = bytes >= batchBytes || frames.length >= (batchEvents ?? Infinity);
      if (!full && scanned < batchScanMax && event !== inRange.at(-1)) continue;
      await control.beforeBatch?.(request);
      assertOpen();
      yield { frames, count: frames.length, bytes, through: event.position };
      frames = [];
      bytes = 0;
      scanned = 0;
    }
  }

  function streamFacts(name: string): StreamFacts | undefined {
    const version = versionsOf([name]).get(name) ?? 0;
    const lifecycle = lifecyclesIn(events).get(name);
    if (name === "" || (version === 0 && lifecycle === undefined)) return undefined;
    const own = left().filter((event) => event.stream === name);
    const [first, last] = [own[0], own.at(-1)];
    return {
      stream: name,
      version,
      eventCount: own.length,
      firstVersion: first?.version ?? 0,
      firstPosition: first?.position ?? 0,
      lastPosition: last?.position ?? 0,
      firstRecordedAt: first?.recordedAt ?? 0,
      lastRecordedAt: last?.recordedAt ?? 0,
      lifecycle,
    };
  }

  function typeFacts(type: string): EventTypeFacts {
    const own = events.filter((event) => event.type === type);
    const [firstPosition, lastPosition] = [own[0]?.position ?? 0, own.at(-1)?.position ?? 0];
    return { type, recordedCount: own.length, firstPosition, lastPosition };
  }

  const control: ModelControl = {
    beforeCommit: undefined,
    afterCommit: undefined,
    beforeBatch: undefined,
    failNextCommit: (there, recovery) => {
      failure = { there: there === "there", held: recovery === "held" };
    },
    recover,
    staleNextCommit: (foreign) => {
      stale = { foreign };
    },
    setWriteState,
    commitCount: () => commits,
  };

  return {
    control,
    data,
    identity: data.identity,
    secret: new Uint8Array(32),
    sideValues: modelSideValues(data, assertOpen),
    head,
    now: timeNow,
    writeState: () => state,

    watch(watcher) {
      // Each watch is distinct: the same watcher may watch twice.
      const own: StorageWatcher = {
        advanced: (advance) => watcher.advanced?.(advance),
        writeStateChanged: (next) => watcher.writeStateChanged?.(next),
      };
      watchers.add(own);
      return () => void watchers.delete(own);
    },

    async facts({ streams, ids, conditions }) {
      assertOpen();
      const wanted = new Set(ids);
      const asked = new Set(streams);
      const found = events.filter(({ id, idFromClient, position }) => {
        return wanted.has(id) && (idFromClient || positionInId(id) === position);
      });
      const seen = left();
      return {
        head: head(),
        versions: versionsOf(asked),
        lifecycles: new Map([...lifecyclesIn(events)].filter(([stream]) => asked.has(stream))),
        events: new Map(found.map(({ id, frame }) => [id, storedEvent(recordOf(frame))])),
        matches: conditions.map(({ query, after }) => {
          const newest = seen.findLast((event) => matches(query, event));
          return newest !== undefined && newest.position > after ? newest.position : 0;
        }),
      };
    },

    async commit(commit) {
      assertOpen();
      invariant(inFlight === undefined, "one commit at a time");
      assertAccepting();
      const running = commitNow(commit);
      inFlight = running;
      try {
        return await running;
      } finally {
        inFlight = undefined;
      }
    },

    read,

    async areRemoved(asked) {
      assertOpen();
      const isLeft = visibility();
      return asked.map((event) => !isLeft(event));
    },
    async positionAt(time) {
      assertOpen();
      return events.find((event) => event.recordedAt >= time)?.position ?? events.length + 1;
    },

    async stream(name) {
      assertOpen();
      return streamFacts(name);
    },

    async listStreams(page) {
      assertOpen();
      const names = events.map((event) => event.stream).filter((name) => name !== "");
      return namesIn(page, names).flatMap((name) => streamFacts(name) ?? []);
    },

    async listEventTypes(page) {
      assertOpen();
      const names = events.map((event) => event.type);
      return namesIn(page, names).map(typeFacts);
    },

    async close() {
      closed = true;
      await inFlight?.catch(() => undefined);
      watchers.clear();
      if (lost !== undefined) store(lost, false);
      lost = undefined;
    },
  };
}

function namesIn({ prefix, after, limit }: NamePage, names: readonly string[]): string[] {
  return [...new Set(names)]
    .filter((name) => (prefix === "" ? !isSystemName(name) : name.startsWith(prefix)))
    .filter((name) => compareUtf8(name, after) > 0)
    .toSorted(compareUtf8)
    .slice(0, limit);
}

function recordOf(frame: Uint8Array): Uint8Array {
  const [record] = recordsIn(frame);
  invariant(record !== undefined, "a frame holds a record");
  return record;
}
