// The receiving side of a copy that is served: what comes is checked as a backup checks it, then
// composed anew by the code that every commit takes, compared byte by byte, and made durable commit
// by commit, each with its side values. So the copy is at every moment what its store once was.
//
// The copy of a store that was reclaimed passes through moments that the store never knew: it gets
// a chunk without events that were removed later, before the removal. Until it has that removal, it
// is not whole, and nothing of it is served.

import { createHash, type Hash } from "node:crypto";
import type { CommitEvent } from "../../../domain/event.ts";
import type { History } from "../../../domain/epoch.ts";
import { scanRecordedAt } from "../../../domain/record.ts";
import {
  CopyRefused,
  type CopiedCommits,
  type CopiedState,
  type CopiedStore,
  type CopyPart,
  type CopyStart,
  type CopyTarget,
  type StoredEntry,
} from "../../copy.ts";
import { formatVersion, openChunk, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkKey, isCopyState, prefixSideValue, unseal } from "../format/keys.ts";
import type { Operation } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";
import type { OpenStore } from "../state/open-store.ts";
import { lifecyclesIn } from "../state/stream-lifecycles.ts";
import { postingsOfRewritten } from "../upkeep/reclaim.ts";
import { composeChunks, type ComposedCommit } from "../write/commit.ts";
import type { Engine } from "../write/engine.ts";
import { changesAmong, composeSideValues } from "../write/side-values.ts";
import { copyStateIn, copyStateName, type CopyState } from "./copy-state.ts";
import { sideValueRange } from "./copy-store.ts";
import {
  eventsOf,
  orRefused,
  receivedPart,
  type ChainEnd,
  type ReceivedPart,
} from "./received-log.ts";
import { requireNewIds, requireVersions } from "./received-versions.ts";
import { SideMerge } from "./side-merge.ts";
import { rewritingsAhead, RewritingsAhead } from "./rewritings-ahead.ts";

/** A commit has at most some megabytes, and what cannot be divided 64 MiB: see log-parts.ts. */
const pendingBytesMax = 128 * 1024 * 1024;
/** What an entry takes in memory, beside its key and value. */
const entryBytes = 100;
/** Differences beyond are made durable before the state is reached. */
const mergeBytesMax = 32 * 1024 * 1024;

export interface TargetParts extends Pick<Engine, "store" | "applyCopied"> {
  readonly history: () => History;
}

/** What has come since the last end of a commit. */
interface Pending {
  readonly parts: ReceivedPart[];
  readonly entries: StoredEntry[];
  end: ChainEnd;
  bytes: number;
}

/** Throws CORRUPTION. */
export async function openTarget(parts: TargetParts): Promise<CopyTarget> {
  const { store } = parts;
  const target = new Target(parts, await copyStateIn(store.kv));
  await target.look();
  return target;
}

class Target implements CopyTarget {
  private readonly parts: TargetParts;
  private readonly store: OpenStore;
  private state: CopyState;
  private ahead: RewritingsAhead;
  private pending: Pending | undefined;
  private merge: SideMerge | undefined;
  private received: { hash: Hash; count: number } | undefined;

  constructor(parts: TargetParts, state: CopyState) {
    this.parts = parts;
    this.store = parts.store;
    this.state = state;
    this.ahead = new RewritingsAhead(parts.store.kv);
  }

  /** Reads what the last write has left, whether or not its outcome is known. */
  async look(): Promise<void> {
    const { store } = this;
    [this.pending, this.merge, this.received] = [undefined, undefined, undefined];
    this.state = await copyStateIn(store.kv);
    this.ahead = await rewritingsAhead(store.kv, store.head.position, !this.isWhole);
  }

  get history(): History {
    return this.parts.history();
  }

  get isWhole(): boolean {
    return this.state.wholeFrom <= this.store.head.position;
  }

  get isExact(): boolean {
    return this.state.cursor !== "";
  }

  async start(): Promise<CopyStart> {
    await this.look();
    const { head, headHash } = this.store;
    const chain = head.position === 0 ? new Uint8Array() : headHash;
    return { position: head.position, chain, cursor: this.state.cursor, follow: true };
  }

  async receive(part: CopyPart): Promise<void> {
    switch (part.kind) {
      case "begin":
        requireKnown(part.store);
        // Ages are never measured by an earlier time than the store's.
        this.store.time = Math.max(this.store.time, part.store.time);
        // Without what changed beside the log since, the side values are as of no position.
        if (!part.store.isContinued) this.state = { ...this.state, cursor: "" };
        return;
      case "commits":
        return this.commits(part.commits);
      case "side-values":
        return this.sideValues(part.entries);
      case "state":
        return this.reach(part.state);
      case "progress":
        return requireAll(part.head, this.store.head.position);
    }
  }

  private async commits(commits: CopiedCommits): Promise<void> {
    const { store } = this;
    const { position, recordedAt } = store.head;
    const begun = { position, recordedAt, hash: store.headHash };
    this.pending ??= { parts: [], entries: [], end: begun, bytes: 0 };
    const { pending } = this;
    const received = receivedPart(commits, pending.end);
    requireRemovals(received.chunks, commits.head);
    pending.parts.push(received);
    pending.entries.push(...commits.sideValues);
    pending.end = received.end;
    for (const { value } of [...received.chunks, ...received.rewritten]) {
      pending.bytes += value.length;
    }
    for (const { key, value } of commits.sideValues) {
      pending.bytes += key.length + (value?.length ?? 0) + entryBytes;
    }
    if (pending.bytes > pendingBytesMax) throw new CopyRefused("a commit does not end");
    if (!commits.isWhole) return;
    this.pending = undefined;
    const { cursor = this.state.cursor } = commits;
    await this.parts.applyCopied(pending.bytes, () => this.compose(pending, cursor));
    this.ahead.settle(this.store.head.position);
  }

  private async compose(pending: Pending, cursor: string) {
    const { store } = this;
    const rewritten = new Map(
      pending.parts.flatMap((part) => part.rewritten.map((chunk) => [chunk.last, chunk])),
    );
    const removals = pending.parts.flatMap((part) => part.removals);
    const first = store.head.position + 1;
    // A chunk may come together with the removal that rewrote it.
    const chunks = pending.parts
      .flatMap((part) => part.chunks)
      .map((chunk) => rewritten.get(chunk.last) ?? chunk);
    const { events, composed } = await this.composed(chunks);
    const { operations } = composed;
    const earlier = [...rewritten.values()].filter(({ last }) => last < first);
    operations.push(...(await this.rewriting(earlier)));
    await this.ahead.check({ chunks, removals, rewritten, head: pending.end.position });
    const sideOperations = pending.entries.map(soundOperation);
    operations.push(...sideOperations);
    const wholeFrom = Math.max(this.state.wholeFrom, this.ahead.last);
    const change = await this.keep({ cursor, wholeFrom }, operations);
    const recordedIns = [...chunks, ...earlier].map(({ reclaimed }) => reclaimed?.recordedIn ?? 0);
    store.reclaimedIn = recordedIns.reduce((a, b) => Math.max(a, b), store.reclaimedIn);
    // Nothing is served from here on, if what is written now is not whole.
    this.state = { ...this.state, wholeFrom };
    return {
      composed,
      events,
      recordedAt: pending.end.recordedAt,
      changes: changesAmong([...sideOperations, ...change]),
      stored: (): void => {
        this.state = { cursor, wholeFrom };
        for (const chunk of earlier) store.tail.replace(chunk);
        if (earlier.length > 0) store.hot.clear();
      },
    };
  }

  /** The chunks composed anew, which must come out as they are. */
  private async composed(
    chunks: readonly Chunk[],
  ): Promise<{ events: CommitEvent[]; composed: ComposedCommit }> {
    const { store } = this;
    const drafts = chunks.map((chunk) => {
      const events = orRefused(() => eventsOf(chunk));
      for (const [i, { position, frame }] of events.entries()) {
        const isPlaced = position === chunk.first + i;
        if (isPlaced && scanRecordedAt(recordOf(frame)) === chunk.recordedAt) continue;
        throw new CopyRefused(`the record at position ${chunk.first + i} disagrees with its chunk`);
      }
      return { events, recordedAt: chunk.recordedAt, reclaimed: chunk.reclaimed };
    });
    const composed = await composeChunks(store, drafts);
    for (const [i, { value, last }] of composed.chunks.entries()) {
      if (Buffer.compare(value, (chunks[i] as Chunk).value) === 0) continue;
      throw new CopyRefused(`the chunk that ends at ${last} does not come out the same`);
    }
    const events = drafts.flatMap((draft) => draft.events);
    requireVersions(events, composed.terms);
    orRefused(() => lifecyclesIn(events));
    await requireNewIds(store.kv, events);
    return { events, composed };
  }

  private async rewriting(earlier: readonly Chunk[]): Promise<Operation[]> {
    const { store } = this;
    const operations: Operation[] = [];
    for (const chunk of earlier) {
      const key = chunkKey(chunk.last);
      const [value] = await store.kv.getMany([key]);
      if (value === undefined) throw new CopyRefused(`no chunk ends at position ${chunk.last}`);
      const before = openChunk(key, value);
      operations.push([key, chunk.value], ...(await postingsOfRewritten(store, before, chunk)));
    }
    return operations;
  }

  private async keep(state: CopyState, operations: Operation[]): Promise<Operation[]> {
    const value = Buffer.from(JSON.stringify(state));
    const changes = [{ space: "copy" as const, name: copyStateName, value }];
    const own = await composeSideValues(this.store, changes, this.store.clock());
    operations.push(...own);
    return own;
  }

  private async sideValues(entries: readonly StoredEntry[]): Promise<void> {
    this.received ??= { hash: createHash("sha256"), count: 0 };
    this.merge ??= new SideMerge(openScan(this.store.kv, sideValueRange));
    for (const entry of entries) {
      const [key, value] = soundOperation(entry);
      if (value === undefined) throw new CopyRefused("a side value that is sent has no value");
      this.received.hash.update(key).update(value);
      this.received.count++;
      await this.merge.add(key, value);
    }
    if (this.merge.bytes > mergeBytesMax) await this.storeSideValues(this.merge.take(), "");
  }

  private async reach(state: CopiedState): Promise<void> {
    const { head, headHash } = this.store;
    const isLog = state.position === head.position && Buffer.compare(state.chain, headHash) === 0;
    if (!isLog || this.pending) throw new CopyRefused("the log does not end where the leader says");
    const { hash = createHash("sha256"), count = 0 } = this.received ?? {};
    const isSame = Buffer.compare(hash.digest(), state.sideValuesHash) === 0;
    if (!isSame || count !== state.sideValueCount) {
      throw new CopyRefused("the side values that came are not those of the leader");
    }
    const merge = this.merge ?? new SideMerge(openScan(this.store.kv, sideValueRange));
    [this.merge, this.received] = [undefined, undefined];
    await merge.finish();
    await this.storeSideValues(merge.take(), state.cursor);
  }

  /** Side values alone. */
  private storeSideValues(sideOperations: readonly Operation[], cursor: string): Promise<void> {
    const { store } = this;
    const bytes = sideOperations.reduce(
      (sum, [key, value]) => sum + key.length + (value?.length ?? 0),
      0,
    );
    return this.parts.applyCopied(bytes, async () => {
      const operations = [...sideOperations];
      const { wholeFrom } = this.state;
      const change = await this.keep({ cursor, wholeFrom }, operations);
      return {
        composed: { operations, chunks: [], headHash: store.headHash, terms: [], runs: [] },
        events: [],
        recordedAt: store.head.recordedAt,
        changes: changesAmong([...sideOperations, ...change]),
        stored: () => void (this.state = { cursor, wholeFrom }),
      };
    });
  }
}

/** Throws CopyRefused. */
function requireKnown({ formatVersion: version }: CopiedStore): void {
  if (version >= 1 && version <= formatVersion) return;
  const known = `this one knows up to ${formatVersion}`;
  throw new CopyRefused(`the leader's store has format version ${version}; ${known}`);
}

/**
 * Until it has the removals that its chunks name, a copy is not whole. So they must be in the log
 * of the leader, as long as it says that is. Throws CopyRefused.
 */
function requireRemovals(chunks: readonly Chunk[], head: number): void {
  const far = chunks.find(({ reclaimed }) => (reclaimed?.recordedIn ?? 0) > head);
  if (far === undefined) return;
  const { first, last, reclaimed } = far;
  const what = `positions ${first} to ${last} name a removal at ${reclaimed?.recordedIn}`;
  throw new CopyRefused(`${what}, and the leader ends at position ${head}`);
}

/** A leader says so only while it has nothing to send. Throws CopyRefused. */
function requireAll(leaderHead: number, head: number): void {
  if (leaderHead <= head) return;
  const missing = `positions ${head + 1} to ${leaderHead}`;
  throw new CopyRefused(`the leader says that it has ${missing}, and does not send them`);
}

/** Throws CopyRefused. */
function soundOperation({ key, value }: StoredEntry): Operation {
  const isKnown = key[0] === prefixSideValue && !isCopyState(key);
  if (isKnown && (value === undefined || unseal(key, value))) return [key, value];
  throw new CopyRefused("what came is no sound side value");
}
