// The LevelDB engine: implements the storage port over chunks, terms, postings and side values. A
// commit is durable when its one synced write is (`commitDurably`), and only then does the head
// move.

import { randomBytes } from "node:crypto";
import type {
  Commit,
  CommitResult,
  Storage,
  StorageIdentity,
  StorageWatcher,
} from "../../storage.ts";
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
import { lifecyclesIn } from "../state/stream-lifecycles.ts";
import { composeCommit } from "./commit.ts";
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
}

/** A commit by the engine itself, with additional keys in its write. */
export interface OwnCommit {
  readonly commit: Commit;
  readonly also: readonly Operation[];
  /** Called when the commit is durable, before readers can see it. */
  readonly stored: () => void;
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
  /** See WriteGuard. */
  readonly between: <T>(look: () => T) => Promise<T>;
}

export async function openEngine(given: EngineOptions): Promise<Engine> {
  const avoided = new Avoided();
  const { openDamaged } = given;
  const options: EngineOptions = {
    ...given,
    async openKv(acknowledged) {
      const opened = await given.openKv(acknowledged);
      return { ...opened, kv: avoided.over(opened.kv) };
    },
    openDamaged: openDamaged && (async (known) => avoided.over(await openDamaged(known))),
  };
  const store = openStore(await openDatabase(options), options.clock, options.timeKeeper);
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
  const between: Engine["between"] = (look) => guard.between(look);
  const avoid = (range: AvoidedRange): void => {
    avoided.add(range);
    // That there is nothing may have been remembered.
    store.terms.reset(store.head.position);
  };
  return {
    storage,
    store,
    commitOwn,
    between,
    fail: (why) => guard.fail(why),
    leaveLevelDb: (why) => guard.leaveLevelDb(why),
    avoid,
  };
}

interface CommitParts extends GuardParts {
  readonly guard: WriteGuard;
  readonly options: EngineOptions;
}

/** Makes a commit durable by one synced write, and then visible to readers. */
async function commitDurably(
  { store, guard, watchers, options }: CommitParts,
  commit: Commit,
  own?: OwnCommit,
): Promise<CommitResult> {
  const { after, events, recordedAt, sideValues } = commit;
  if (after.position !== store.head.position) return "stale";
  const beside = sideValues && (await composeSideValues(store, sideValues, options.clock()));
  const { operations, chunks, headHash, terms } = await composeCommit(store, commit);
  const lifecycles = lifecyclesIn(events);
  if (beside !== undefined) operations.push(...beside);
  if (own !== undefined) operations.push(...own.also);
  operations.push(...store.withFirstCommit);

  await guard.write(operations);

  // Durable. From here to the end nothing waits, so that readers see all of the commit or none of
  // it.
  const from = store.head;
  const position = after.position + events.length;
  store.withFirstCommit = [];
  store.terms.apply(terms, position);
  for (const [stream, entry] of lifecycles) store.lifecycles.set(stream, entry);
  for (const chunk of chunks) store.tail.push(chunk);
  own?.stored();
  store.headHash = headHash;
  if (events.length > 0) store.head = { position, recordedAt };
  store.commits.push(position, store.sequence, operations);
  options.acknowledge?.(acknowledgedBy(store));
  if (events.length === 0) return "committed";
  const advance = { from, to: store.head, events };
  for (const watcher of watchers) watcher.advanced?.(advance);
  return "committed";
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
