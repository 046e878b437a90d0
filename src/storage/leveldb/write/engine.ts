// The LevelDB engine: the storage port over chunks, terms and postings. A commit is durable when
// its one synced batch is; only then does the head move. Any failed write poisons the engine: it
// stops acknowledging, closes, reopens and audits (see write-guard.ts) before it goes on.

import type {
  Commit,
  CommitResult,
  Head,
  SideValueStore,
  Storage,
  StorageIdentity,
  SnapshotStore,
  StorageWatcher,
} from "../../storage.ts";
import { firstHash, hashOf, openChunk } from "../format/chunk.ts";
import { loadLifecycles } from "../read/load-lifecycles.ts";
import { ChunkTail } from "../state/chunk-tail.ts";
import { prepareCommit } from "./commit.ts";
import { assertOpen, readFailure, type OpenStore, type EngineState } from "../state/open-store.ts";
import { gatherFacts } from "../read/facts.ts";
import { chunkKey } from "../format/keys.ts";
import type { Kv, WriteBatch } from "../kv/kv.ts";
import { sideValueStore, prepareSideValues } from "./side-values.ts";
import { positionAt } from "../read/position-at.ts";
import { readEvents } from "../read/read.ts";
import { snapshotStore } from "./snapshots.ts";
import { listEventTypes, listStreams, streamFacts } from "../read/stream-facts.ts";
import { Terms } from "../state/terms.ts";
import { WriteGuard, type GuardOptions } from "./write-guard.ts";

export interface EngineOptions extends GuardOptions {
  readonly identity: StorageIdentity;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Told after each durable write, to keep the high-water mark. Must not throw. */
  readonly written?: (head: Head, headHash: Uint8Array) => void;
}

/** A commit of the engine's own, with more in its batch than the commit says. */
export interface OwnCommit {
  readonly commit: Commit;
  readonly also: (batch: WriteBatch) => void;
  /** Called once it is durable, before anybody sees that. */
  readonly stored: () => void;
}

export interface Engine {
  readonly storage: Storage;
  readonly store: OpenStore;
  /** Runs a commit after those before it; it is composed, at the head as it is, when it may run. */
  readonly commitOwn: (bytes: number, compose: () => Promise<OwnCommit>) => Promise<void>;
}

/** The head of a database and the hash of the chunk that ends there. Throws CORRUPTION. */
export async function headOf(kv: Kv): Promise<{ head: Head; headHash: Uint8Array }> {
  const [entry] = await kv.page({
    first: chunkKey(0),
    last: chunkKey(Number.MAX_SAFE_INTEGER),
    reverse: true,
    limit: 1,
  });
  if (!entry) return { head: { position: 0, recordedAt: 0 }, headHash: firstHash };
  const chunk = openChunk(entry[0], entry[1]);
  return {
    head: { position: chunk.last, recordedAt: chunk.recordedAt },
    headHash: hashOf(chunk),
  };
}

/** Where a database ends, and what is kept of its streams in memory. */
async function stateOf(kv: Kv): Promise<EngineState> {
  const end = await headOf(kv);
  return { ...end, lifecycles: await loadLifecycles(kv, end.head.position) };
}

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const kv = await options.openKv();
  const state = await stateOf(kv).catch(async (error: unknown) => {
    await kv.close();
    throw error;
  });
  const store: OpenStore = {
    open: true,
    kv,
    ...state,
    clock: options.clock,
    reclaimedAt: 0,
    sideValueCommit: undefined,
    terms: new Terms(state.head.position),
    tail: new ChunkTail(),
  };
  const watchers = new Set<StorageWatcher>();
  const guard = new WriteGuard({ store, options, watchers, stateOf });

  const writeBatch = (fill: (batch: WriteBatch) => void, bytes: number): Promise<void> =>
    guard.exclusive(bytes, async () => {
      const batch = store.kv.batch();
      fill(batch);
      await guard.write(batch);
      options.written?.(store.head, store.headHash);
    });

  const storage: Storage = {
    identity: options.identity,
    snapshots: guardedSnapshots(store, snapshotStore(store, writeBatch, options.clock)),
    sideValues: guardedSideValues(store, sideValueStore(store)),
    head: () => store.head,
    writeState: () => guard.state,
    watch(watcher) {
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
    facts: (request) => answered(store, () => gatherFacts(store, request)),
    commit: (commit) =>
      guard.exclusive(bytesOf(commit), async () => {
        const running = commitNow(store, guard, watchers, options, commit);
        if (commit.sideValues !== undefined) store.sideValueCommit = running;
        return await running.finally(() => (store.sideValueCommit = undefined));
      }),
    read: (request) => readEvents(store, request, store.head.position),
    positionAt: (time) => answered(store, () => positionAt(store, time)),
    stream: (name) => answered(store, () => streamFacts(store, name)),
    listStreams: (page) => answered(store, () => listStreams(store, page)),
    listEventTypes: (page) => answered(store, () => listEventTypes(store, page)),
    close: () => guard.close(),
  };
  const commitOwn: Engine["commitOwn"] = (bytes, compose) =>
    guard.exclusive(bytes, async () => {
      const own = await compose();
      await commitNow(store, guard, watchers, options, own.commit, own);
    });
  return { storage, store, commitOwn };
}

async function commitNow(
  store: OpenStore,
  guard: WriteGuard,
  watchers: ReadonlySet<StorageWatcher>,
  options: EngineOptions,
  commit: Commit,
  own?: OwnCommit,
): Promise<CommitResult> {
  if (commit.after.position !== store.head.position) return "stale";
  const { events, sideValues = [] } = commit;
  const putSideValues = await prepareSideValues(store, sideValues, options.clock);
  const prepared = await prepareCommit(store, commit);
  const { position: after } = commit.after;
  const lifecycles = await store.lifecycles.prepare(store, after, events, prepared.terms);
  putSideValues(prepared.batch);
  own?.also(prepared.batch);
  await guard.write(prepared.batch);
  // Durable. From here to the end nothing waits: readers see all of the commit or none of it.
  const from = store.head;
  const position = from.position + events.length;
  const to = events.length === 0 ? from : { position, recordedAt: commit.recordedAt };
  store.terms.apply(prepared.terms, position);
  store.lifecycles.apply(lifecycles);
  for (const chunk of prepared.chunks) store.tail.push(chunk);
  own?.stored();
  store.headHash = prepared.headHash;
  store.head = to;
  options.written?.(to, prepared.headHash);
  if (events.length === 0) return "committed";
  const advance = { from, to, events };
  for (const watcher of watchers) watcher.advanced(advance);
  return "committed";
}

function bytesOf({ events, sideValues = [] }: Commit): number {
  let bytes = 0;
  for (const event of events) bytes += event.frame.length;
  for (const sideValue of sideValues)
    bytes += sideValue.name.length + (sideValue.value?.length ?? 0);
  return bytes;
}

/** Runs a question, if the store is open, and says what became of it in our own words. */
async function answered<T>(store: OpenStore, ask: () => Promise<T>): Promise<T> {
  assertOpen(store);
  try {
    return await ask();
  } catch (error) {
    throw readFailure(error);
  }
}

function guardedSnapshots(store: OpenStore, snapshots: SnapshotStore): SnapshotStore {
  return {
    save: (snapshot) => answered(store, () => snapshots.save(snapshot)),
    list: (page) => answered(store, () => snapshots.list(page)),
    remove: (selection) => answered(store, () => snapshots.remove(selection)),
  };
}

function guardedSideValues(store: OpenStore, sideValues: SideValueStore): SideValueStore {
  return {
    get: (space, names) => answered(store, () => sideValues.get(space, names)),
    list: (page) => answered(store, () => sideValues.list(page)),
  };
}
