// The LevelDB engine: implements the storage port over chunks, terms, postings and side values. A
// commit is durable when its one synced write is (`commitDurably`), and only then does the head
// move.

import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { CommitEvent } from "../../../domain/event.ts";
import type {
  Commit,
  CommitResult,
  SideValueChange,
  Storage,
  StorageIdentity,
  StorageWatcher,
} from "../../storage.ts";
import { cutIntoChunks } from "../format/chunk.ts";
import { Avoided, type AvoidedRange } from "../kv/avoided.ts";
import type { Operation } from "../kv/kv.ts";
import { gatherFacts } from "../read/facts.ts";
import { positionAt } from "../read/chunks.ts";
import { EngineRead } from "../read/read.ts";
import { listEventTypes, listStreams, streamFacts } from "../read/stream-facts.ts";
import { removedByNow } from "../read/visibility.ts";
import {
  closedError,
  openStore,
  readFailure,
  timeOf,
  type OpenStore,
  type TimeKeeper,
} from "../state/open-store.ts";
import { KnownKeys } from "../state/known-keys.ts";
import { lifecyclesIn } from "../state/stream-lifecycles.ts";
import { composeChunks, type CommittedRun, type ComposedCommit } from "./commit.ts";
import { composeSideValues, getSideValues, listSideValues } from "./side-values.ts";
import { acknowledgedBy, openDatabase, WriteGuard } from "./write-guard.ts";
import type { GuardOptions, GuardParts } from "./write-guard.ts";

export interface EngineOptions extends GuardOptions {
  readonly identity: StorageIdentity;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** See `Storage.secret`. Absent: one that ends with the process. */
  readonly secret?: Uint8Array;
  /** Absent: the store's time begins anew with each opening. */
  readonly timeKeeper?: TimeKeeper | undefined;
  /** See `OpenStoreOptions`. */
  readonly hotBytesMax?: number | undefined;
}

/** A commit by the engine itself, with additional keys in its write. */
export interface OwnCommit {
  readonly commit: Commit;
  readonly also: readonly Operation[];
  /** Called when the commit is durable, before readers can see it. */
  readonly stored: () => void;
}

/** Everything that a commit writes. */
export interface ReadyCommit {
  readonly composed: ComposedCommit;
  readonly events: readonly CommitEvent[];
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** Called when it is durable, before readers can see it. */
  readonly stored: (() => void) | undefined;
}

/** A commit that was made elsewhere, and the side values that it changes. */
export interface CopiedCommit extends ReadyCommit {
  readonly changes: readonly SideValueChange[];
}

export interface Engine {
  readonly storage: Storage;
  readonly store: OpenStore;
  /** Refuses writes for good: see WriteGuard. */
  readonly fail: (why: string) => void;
  /** Refuses writes for good, and reads without LevelDB: see WriteGuard. */
  readonly leaveLevelDb: (why: string) => Promise<void>;
  /** From now on, reads that depend on these keys are CORRUPTION. */
  readonly avoid: (range: AvoidedRange) => void;
  /**
   * Runs a commit after those before it. `compose` is called when it may run, and uses the head of
   * that moment.
   */
  readonly commitOwn: (bytes: number, compose: () => Promise<OwnCommit>) => Promise<void>;
  /** As `commitOwn`, for what a copy has received. */
  readonly applyCopied: (bytes: number, compose: () => Promise<CopiedCommit>) => Promise<void>;
  /** See WriteGuard. */
  readonly between: <T>(look: () => T) => Promise<T>;
}

export async function openEngine(given: EngineOptions): Promise<Engine> {
  const avoided = new Avoided();
  const known = new KnownKeys();
  const options = overAll(given, avoided, known);
  const store = openStore(await openDatabase(options), { ...options, known });
  // Where there is nothing, all is known at once; elsewhere from TERMS or in time.
  if (store.head.position === 0) await known.learn(store.kv, async () => {}, neverAborted);
  const watchers = new Set<StorageWatcher>();
  const guard = new WriteGuard({ store, options, watchers });
  const parts: CommitParts = { store, guard, watchers, options };
  options.acknowledge?.(acknowledgedBy(store));
  if (store.kv.neededBytes !== undefined) guard.awaitWritable();

  const storage: Storage = {
    identity: options.identity,
    secret: options.secret ?? randomBytes(32),
    sideValues: {
      get: asking(store, getSideValues),
      list: asking(store, listSideValues),
    },
    head: () => store.head,
    now: () => timeOf(store),
    writeState: () => guard.state,
    isDamaged: () => guard.hasLeft,
    watch(watcher) {
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
    commit: (commit) =>
      guard.exclusive(bytesOf(commit), () => {
        const ended = commitDurably(parts, commit);
        const { sideValues: changes } = commit;
        if (changes === undefined) return ended;
        store.sideValueCommit = { changes, ended };
        return ended.finally(() => (store.sideValueCommit = undefined));
      }),
    read: (request) => new EngineRead(store, request, store.head.position),
    areRemoved: asking(store, removedByNow),
    facts: asking(store, gatherFacts),
    positionAt: asking(store, positionAt),
    stream: asking(store, streamFacts),
    listStreams: asking(store, listStreams),
    listEventTypes: asking(store, listEventTypes),
    close: () => guard.close(),
  };
  const commitOwn: Engine["commitOwn"] = (bytes, compose) =>
    guard.exclusive(bytes, async () => {
      const own = await compose();
      await commitDurably(parts, own.commit, own);
    });
  const applyCopied: Engine["applyCopied"] = (bytes, compose) =>
    guard.exclusive(bytes, async () => {
      const copied = await compose();
      const ended = storeDurably(parts, copied);
      store.sideValueCommit = { changes: copied.changes, ended };
      await ended.finally(() => (store.sideValueCommit = undefined));
      if (copied.changes.length === 0) return;
      for (const watcher of watchers) watcher.sideValuesCopied?.();
    });
  const between: Engine["between"] = (look) => guard.between(look);
  const avoid = (range: AvoidedRange): void => {
    avoided.add(range);
    forget(store);
  };
  return {
    storage,
    store,
    commitOwn,
    applyCopied,
    between,
    fail: (why) => guard.fail(why),
    leaveLevelDb: (why) => guard.leaveLevelDb(why),
    avoid,
  };
}

/** The same, with databases that know what to avoid and what was never there. */
function overAll(given: EngineOptions, avoided: Avoided, known: KnownKeys): EngineOptions {
  const { openKv, openDamaged } = given;
  return {
    ...given,
    async openKv(acknowledged) {
      const opened = await openKv(acknowledged);
      return { ...opened, kv: { ...avoided.over(known.over(opened.kv)), whole: opened.kv } };
    },
    openDamaged: openDamaged && (async (durable) => avoided.over(await openDamaged(durable))),
  };
}

const neverAborted = new AbortController().signal;

/** That there is nothing may have been remembered, or what is to be avoided. */
function forget({ terms, head, hot, places }: OpenStore): void {
  terms.reset(head.position);
  hot.clear();
  places.clear();
}

/** Streams whose records are kept in memory in one turn of the event loop: a few milliseconds. */
const runsPerTurn = 1_000;
/** The same of terms that a commit changes. */
const termsPerTurn = 5_000;

interface CommitParts extends GuardParts {
  readonly guard: WriteGuard;
  readonly options: EngineOptions;
}

/** Makes a commit durable by one synced write, and then visible to readers. */
async function commitDurably(
  parts: CommitParts,
  commit: Commit,
  own?: OwnCommit,
): Promise<CommitResult> {
  const { store, options } = parts;
  const { after, events, recordedAt, sideValues } = commit;
  if (after.position !== store.head.position) return "stale";
  const beside = sideValues && (await composeSideValues(store, sideValues, options.clock()));
  const composed = await composeChunks(store, cutIntoChunks(commit));
  if (beside !== undefined) composed.operations.push(...beside);
  if (own !== undefined) composed.operations.push(...own.also);
  await storeDurably(parts, { composed, events, recordedAt, stored: own?.stored });
  return "committed";
}

async function storeDurably(
  { store, guard, watchers, options }: CommitParts,
  { composed, events, recordedAt, stored }: ReadyCommit,
): Promise<void> {
  const { operations, chunks, headHash, terms, runs } = composed;
  const lifecycles = lifecyclesIn(events);
  operations.push(...store.withFirstCommit);

  await guard.write(operations);
  // Readers use them once the terms say that they are there.
  for (let i = 0; i < runs.length; i++) {
    if (i % runsPerTurn === runsPerTurn - 1) await setImmediate();
    const { number, run } = runs[i] as CommittedRun;
    store.hot.add(number, run);
  }
  const isLarge = terms.length > termsPerTurn;
  // What makes many terms visible has a turn of its own.
  if (isLarge) await setImmediate();
  // A read that began meanwhile has the head from before them.
  if (isLarge || runs.length >= runsPerTurn) store.hot.bar();

  // Durable. From here to the end nothing waits, so that readers see all of the commit or none of
  // it.
  const from = store.head;
  const position = from.position + events.length;
  store.withFirstCommit = [];
  store.terms.apply(terms, position);
  for (const [stream, entry] of lifecycles) store.lifecycles.set(stream, entry);
  for (const chunk of chunks) store.tail.push(chunk);
  stored?.();
  store.headHash = headHash;
  if (events.length > 0) store.head = { position, recordedAt };
  const { commits } = store;
  if (commits.begin !== undefined) commits.push(position, store.sequence, operations);
  options.acknowledge?.(acknowledgedBy(store));
  if (events.length === 0) return;
  const advance = { from, to: store.head, events };
  for (const watcher of watchers) watcher.advanced?.(advance);
}

function bytesOf({ events, sideValues = [] }: Commit): number {
  let bytes = 0;
  for (const { frame } of events) bytes += frame.length;
  for (const { name, value } of sideValues) bytes += name.length + (value?.length ?? 0);
  return bytes;
}

/**
 * A question to the store as a method of `Storage`: it is asked only while the store is open, and
 * its failures become errors of Annals.
 */
function asking<A extends unknown[], T>(
  store: OpenStore,
  ask: (store: OpenStore, ...args: A) => Promise<T>,
): (...args: A) => Promise<T> {
  return async (...args) => {
    if (!store.open) throw closedError();
    try {
      return await ask(store, ...args);
    } catch (error) {
      throw readFailure(error);
    }
  };
}
