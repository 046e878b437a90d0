// Sends a store to its copy. First most of the log, while the store goes on. Then the side values,
// as of a moment between two commits, behind the log up to that moment: a backup ends here. For a
// follower the commits from that moment on come next, each with the side values that it changed.

import { createHash } from "node:crypto";
import { AnnalsError, corruption } from "../../../domain/errors.ts";
import type { CopiedState, CopiedStore, CopyPart, CopyStart, StoredEntry } from "../../copy.ts";
import { hashOf, openChunk } from "../format/chunk.ts";
import { chunkKey, isCopyState, prefixSideValue, readUint32, unseal } from "../format/keys.ts";
import type { Entry, Operation, ReadableKv, Scan } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";
import { readFailure, timeOf, type OpenStore } from "../state/open-store.ts";
import type { TailCommit } from "../state/commit-tail.ts";
import type { Engine } from "../write/engine.ts";
import { logParts, type LogStretch } from "./log-parts.ts";

/** The log is sent in stretches; the next one goes up to the head of that moment. */
const restPositionsMax = 10_000;
const pageBytes = 256 * 1024;
const pageCountMax = 1_000;
/** What several commits changed is sent as one, up to about this many positions and bytes. */
const togetherPositionsMax = 5_000;
const togetherBytesMax = 256 * 1024;
const progressEveryMs = 1_000;

export type CopyParts = Pick<Engine, "store" | "storage" | "between">;

/** See `Storage.copy`. */
export async function* copyStore(
  parts: CopyParts,
  start: CopyStart,
  signal: AbortSignal,
): AsyncGenerator<CopyPart> {
  const copying = new Copying(parts, start, signal);
  try {
    yield* copying.run();
  } catch (error) {
    throw readFailure(error);
  } finally {
    await copying.close();
  }
}

/** The side values as of a moment, and what the log was at that moment. */
interface Moment {
  readonly position: number;
  readonly chain: Uint8Array;
  readonly sequence: number;
  readonly scan: Scan;
}

class Copying {
  private readonly parts: CopyParts;
  private readonly store: OpenStore;
  private readonly start: CopyStart;
  private readonly signal: AbortSignal;
  private readonly rewrittenAsOf: number;
  private position: number;
  private scan: Scan | undefined;

  constructor(parts: CopyParts, start: CopyStart, signal: AbortSignal) {
    this.parts = parts;
    this.store = parts.store;
    this.start = start;
    this.signal = signal;
    this.position = start.position;
    this.rewrittenAsOf = this.store.head.position;
  }

  async *run(): AsyncGenerator<CopyPart> {
    const { store, start } = this;
    let sequence = start.follow ? store.commits.sequenceOf(start.cursor) : undefined;
    yield { kind: "begin", store: this.describe(sequence !== undefined) };
    await requireContinued(store.kv, start, store.head.position);
    if (sequence === undefined) {
      while (store.head.position - this.position > restPositionsMax) {
        yield* this.log(store.head.position);
      }
      const moment = await this.take();
      yield* this.log(moment.position);
      yield* this.sideValues(moment);
      ({ sequence } = moment);
    }
    if (start.follow) yield* this.commitsAfter(sequence);
  }

  async close(): Promise<void> {
    await this.scan?.close();
  }

  private describe(isContinued: boolean): CopiedStore {
    const { identity } = this.parts.storage;
    const { storeId, createdAt, formatVersion, history } = identity;
    const { position: head } = this.store.head;
    const time = timeOf(this.store);
    return { storeId, createdAt, formatVersion, history, time, head, isContinued };
  }

  private async *log(last: number): AsyncGenerator<CopyPart> {
    for await (const part of logParts(this.stretch(last))) {
      this.signal.throwIfAborted();
      const commits = { ...part, sideValues: [], head: this.store.head.position };
      yield { kind: "commits", commits };
    }
    this.position = last;
  }

  private stretch(last: number): LogStretch {
    const { position: after, start, rewrittenAsOf } = this;
    return { kv: this.store.kv, after, last, sentFrom: start.position + 1, rewrittenAsOf };
  }

  private take(): Promise<Moment> {
    return this.parts.between(() => {
      const { kv, head, headHash: chain, sequence, commits } = this.store;
      if (this.start.follow) commits.keep(sequence);
      const scan = kv.frozen?.(sideValueRange) ?? openScan(kv, sideValueRange);
      this.scan = scan;
      return { position: head.position, chain, sequence, scan };
    });
  }

  private async *sideValues({ position, chain, sequence, scan }: Moment): AsyncGenerator<CopyPart> {
    const cursor = this.store.commits.cursorOf(sequence);
    for await (const part of sideValueParts([scan], { position, chain, cursor })) {
      this.signal.throwIfAborted();
      yield part;
    }
    await scan.close();
    this.scan = undefined;
  }

  private async *commitsAfter(first: number): AsyncGenerator<CopyPart> {
    let sequence = first;
    for (;;) {
      this.signal.throwIfAborted();
      const commits = this.store.commits.since(sequence);
      if (commits === undefined) {
        const message =
          "the copy fell too far behind, or a write failed: it begins anew from there";
        throw new AnnalsError({ reason: "RECOVERING" }, message);
      }
      const [next, ...rest] = commits;
      if (next === undefined) {
        await this.moreThan(sequence);
        if (this.store.commits.since(sequence)?.length !== 0) continue;
        yield { kind: "progress", head: this.store.head.position };
        continue;
      }
      const together = next.sideValues.length === 0 ? [next] : [next, ...joining(next, rest)];
      yield* this.together(together);
      ({ sequence } = together.at(-1) as TailCommit);
    }
  }

  /** Several commits; what they changed beside the log comes with the end of the last one. */
  private async *together(commits: readonly TailCommit[]): AsyncGenerator<CopyPart> {
    const { position: last, sequence } = commits.at(-1) as TailCommit;
    const sideValues = commits
      .flatMap((commit) => commit.sideValues)
      .filter(isSent)
      .map(([key, value]) => ({ key, value }));
    const cursor = this.store.commits.cursorOf(sequence);
    const isDivided = sideValues.length === 0;
    const end = { sideValues, cursor };
    if (this.position >= last) {
      const head = this.store.head.position;
      yield {
        kind: "commits",
        commits: { chunks: [], rewritten: [], isWhole: true, head, ...end },
      };
      return;
    }
    for await (const part of logParts(this.stretch(last))) {
      this.signal.throwIfAborted();
      this.position += part.chunks.reduce((count, value) => count + countIn(value), 0);
      const isLast = this.position === last;
      const head = this.store.head.position;
      const isWhole = isLast || (isDivided && part.isWhole);
      const besides = isLast ? end : { sideValues: [] };
      yield { kind: "commits", commits: { ...part, isWhole, head, ...besides } };
    }
  }

  /** Resolves when there is a commit after the sequence number, or when it is time to say so. */
  private moreThan(sequence: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        unwatch();
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, progressEveryMs);
      const unwatch = this.store.commits.watch(done);
      this.signal.addEventListener("abort", done, { once: true });
      const known = this.store.commits.since(sequence);
      if (this.signal.aborted || known?.length !== 0) done();
    });
  }
}

/** Throws COPY_DIVERGED if what the receiver has is not the begin of this log. */
export async function requireContinued(
  kv: ReadableKv,
  { position, chain }: CopyStart,
  head: number,
): Promise<void> {
  if (position === 0) return;
  const key = chunkKey(position);
  const [value] = position <= head ? await kv.getMany([key]) : [];
  const isSame = value && Buffer.compare(hashOf(openChunk(key, value)), chain) === 0;
  if (isSame) return;
  const message =
    `up to position ${position}, the copy has another history than this store, which ends at ` +
    `position ${head}: one of the two was restored or lost events`;
  throw new AnnalsError({ reason: "COPY_DIVERGED", position, head }, message);
}

/** The side values of the scans, and then the state that the receiver has. Throws CORRUPTION. */
export async function* sideValueParts(
  scans: readonly Scan[],
  end: Pick<CopiedState, "position" | "chain" | "cursor">,
): AsyncGenerator<CopyPart> {
  const hash = createHash("sha256");
  let sideValueCount = 0;
  for (const scan of scans) {
    for (;;) {
      const page = await scan.next();
      if (page.length === 0) break;
      const entries = page.filter(isSent).map(sound);
      for (const { key, value } of entries) hash.update(key).update(value);
      sideValueCount += entries.length;
      yield* inMessages(entries);
    }
  }
  yield { kind: "state", state: { ...end, sideValueCount, sideValuesHash: hash.digest() } };
}

function countIn(chunk: Uint8Array): number {
  return readUint32(chunk, 16);
}

/** Those of the next commits that are sent along with the first one. */
function joining(first: TailCommit, rest: readonly TailCommit[]): TailCommit[] {
  const together: TailCommit[] = [];
  let bytes = bytesOf(first.sideValues);
  for (const commit of rest) {
    bytes += bytesOf(commit.sideValues);
    const isFar = commit.position - first.position > togetherPositionsMax;
    if (isFar || bytes > togetherBytesMax || commit.sideValues.length === 0) break;
    together.push(commit);
  }
  return together;
}

function bytesOf(operations: readonly Operation[]): number {
  return operations.reduce((sum, [key, value]) => sum + key.length + (value?.length ?? 0), 0);
}

export const sideValueRange = {
  first: Buffer.from([prefixSideValue]),
  last: Buffer.from([prefixSideValue + 1]),
  limit: pageCountMax,
  bytesMax: pageBytes,
  fillCache: false,
};

/** A copy's own state is not part of what is copied. */
function isSent([key]: readonly [Uint8Array, unknown]): boolean {
  return !isCopyState(key);
}

function sound([key, value]: Entry): { readonly key: Uint8Array; readonly value: Uint8Array } {
  if (unseal(key, value)) return { key, value };
  throw corruption("a side value fails its CRC and is not copied");
}

/** An iterator reads further than it was asked to. */
function* inMessages(entries: readonly StoredEntry[]): Generator<CopyPart> {
  let some: StoredEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const size = entry.key.length + (entry.value?.length ?? 0);
    if (some.length > 0 && bytes + size > pageBytes) {
      yield { kind: "side-values", entries: some };
      [some, bytes] = [[], 0];
    }
    some.push(entry);
    bytes += size;
  }
  if (some.length > 0) yield { kind: "side-values", entries: some };
}
