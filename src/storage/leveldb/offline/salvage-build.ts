// Builds the store of what was salvaged: the chunks as they are, lost records in the gaps, the
// index derived anew, the side values that prove themselves. The result is verified like any store.

import { randomInt } from "node:crypto";
import {
  chunksRewrittenBy,
  lossEvent,
  streamsRemovedBy,
  type RewrittenChunk,
} from "../../../domain/lifecycle/removal-event.ts";
import { corruption } from "../../../domain/errors.ts";
import { type CommitEvent, idChances, ownId } from "../../../domain/event.ts";
import { composeFrame, decodeRecord, scanRecord } from "../../../domain/record.ts";
import { eventsOf } from "../copy/received-log.ts";
import { databaseOf } from "../create.ts";
import {
  composeChunk,
  cutIntoChunks,
  firstHash,
  formatVersion,
  hashOf,
  presentHashOf,
  recordOf,
  withFrames,
  type Chunk,
} from "../format/chunk.ts";
import { composeRemovedRecord, isLostRecord, isRemovedRecord } from "../../removed-record.ts";
import { withNewEpoch, type Identity } from "../folder/identity.ts";
import type { Entry } from "../kv/kv.ts";
import { openLevelKv } from "../kv/level-kv.ts";
import { KnownKeys } from "../state/known-keys.ts";
import { emptyDatabase, openStore, type OpenStore } from "../state/open-store.ts";
import { TermKind } from "../format/keys.ts";
import { verifyStore, type StoreTotals } from "../verify/verify-store.ts";
import { composeChunks, type ChunkDraft } from "../write/commit.ts";
import { upgrade } from "../write/upgrade.ts";
import { becomeStore, intoNewStore, storeComposed, writeEntries } from "./restore.ts";
import type { IndexRemains } from "./salvage-index.ts";
import { filling, type FillingEvent, type Losses } from "./salvage-losses.ts";
import type { Gap, SalvagedPart, Survey } from "./salvage-log.ts";

const batchBytes = 1024 * 1024;
/** Chunks that one event records. */
const recordedMax = 1_000;
const unfinishedText =
  "A salvage into this folder has not finished. To begin it anew, run annals salvage again.\n";

export interface SalvageParts {
  readonly folder: string;
  readonly target: string;
  readonly log: () => AsyncIterable<SalvagedPart>;
  readonly surveyed: Survey;
  readonly remains: IndexRemains;
  readonly losses: Losses;
  readonly sideValues: () => AsyncIterable<Entry>;
  /** The identity of the damaged store. Undefined: it is not known. */
  readonly identity: Identity | undefined;
  readonly storeTime: number;
  readonly progress: (position: number) => void;
  readonly signal: AbortSignal | undefined;
}

export interface SalvagedStore {
  readonly storeId: string;
  readonly head: number;
  /** The last position that its epoch shares with those before. 0: it has another history. */
  readonly epochAfter: number;
  readonly totals: StoreTotals;
  /** What `annals verify` will say of it. Empty: it is sound. */
  readonly findings: readonly string[];
}

export function buildSalvaged(parts: SalvageParts): Promise<SalvagedStore> {
  const { folder, target } = parts;
  return intoNewStore(folder, target, unfinishedText, async () => {
    const kv = await openLevelKv(databaseOf(target), true);
    try {
      const building = new Building(
        parts,
        openStore(emptyDatabase(kv), { known: new KnownKeys(), clock: () => 0, hotBytesMax: 0 }),
      );
      const { store } = building;
      await building.buildLog();
      await writeEntries(store, parts.sideValues());
      store.sequence += (await upgrade(store.kv, store.head.position)).written;
      const findings: string[] = [];
      const found = (finding: string): void => void findings.push(finding);
      const totals = await verifyStore(store.kv, { head: store.head.position, found });
      await kv.flush();
      await kv.close();
      const identity = identityOfSalvaged(parts);
      await becomeStore(target, identity, store, parts.storeTime);
      const { storeId, epochs = [] } = identity;
      const epochAfter = epochs.at(-1)?.after ?? 0;
      return { storeId, head: store.head.position, epochAfter, totals, findings };
    } finally {
      await kv.close();
    }
  });
}

/**
 * A new epoch: from the first lost position on, those of the epoch before do not hold for it. A
 * store whose identity is lost is a new one.
 */
function identityOfSalvaged({ identity, surveyed, losses }: SalvageParts): Identity {
  const beganAt = Date.now() * 1_000;
  if (identity === undefined) {
    return { storeId: crypto.randomUUID(), createdAt: beganAt, formatVersion, created: true };
  }
  const [firstLost = surveyed.last + 1] = losses.lost.keys();
  const after = firstLost - 1;
  // Its index is written as this program writes.
  const renewed = { ...identity, formatVersion };
  return withNewEpoch(renewed, { after, beganAt, cause: "salvage" });
}

/** A draft, and the chunk that must come of it, byte for byte. */
interface Expected {
  readonly draft: ChunkDraft;
  readonly original: Chunk | undefined;
}

class Building {
  readonly store: OpenStore;
  private readonly parts: SalvageParts;
  private waiting: Expected[] = [];
  private waitingBytes = 0;
  /** Chunks that take the place of others, in the order of the log. */
  private readonly replaced: RewrittenChunk[] = [];
  /** As `replaced`, with those that are not written yet. */
  private replacedCount = 0;

  constructor(parts: SalvageParts, store: OpenStore) {
    this.parts = parts;
    this.store = store;
  }

  async buildLog(): Promise<void> {
    for await (const part of this.parts.log()) {
      this.parts.signal?.throwIfAborted();
      if ("gap" in part) {
        for (const draft of this.draftsOf(part.gap)) await this.add({ draft, original: undefined });
      } else await this.add(this.expectedOf(part.chunk));
    }
    await this.flush();
    await this.recordLosses();
  }

  private async add(expected: Expected): Promise<void> {
    this.waiting.push(expected);
    for (const { frame } of expected.draft.events) this.waitingBytes += frame.length;
    if (this.waitingBytes >= batchBytes) await this.flush();
  }

  private async flush(): Promise<void> {
    const { store, waiting } = this;
    if (waiting.length === 0) return;
    const drafts = waiting.map(({ draft }) => draft);
    const composed = await composeChunks(store, drafts);
    for (const [i, chunk] of composed.chunks.entries()) {
      const { draft, original } = waiting[i] as Expected;
      if (original && Buffer.compare(chunk.value, original.value) !== 0) {
        const at = { first: chunk.first, last: chunk.last };
        throw corruption(`positions ${chunk.first} to ${chunk.last} do not come out the same`, at);
      }
      if (original === undefined && draft.reclaimed !== undefined) {
        this.replaced.push({
          first: chunk.first,
          last: chunk.last,
          sha256: presentHashOf(chunk),
        });
      }
    }
    await storeComposed(store, composed);
    this.waiting = [];
    this.waitingBytes = 0;
    this.parts.progress(store.head.position);
  }

  /** A chunk stays as it is, unless what it refers to is lost. */
  private expectedOf(chunk: Chunk): Expected {
    const { orphans, outdated } = this.parts.surveyed;
    const { recordedAt, reclaimed } = chunk;
    const records = outdated.get(chunk.last);
    const rewritten = records && rewrittenAgain(chunk, records);
    if (rewritten) {
      const draft = { events: eventsOf(rewritten), recordedAt, reclaimed: rewritten.reclaimed };
      return { draft, original: rewritten };
    }
    const events = eventsOf(chunk);
    if (reclaimed === undefined || !orphans.has(chunk.last)) {
      return { draft: { events, recordedAt, reclaimed }, original: chunk };
    }
    const recordedIn = this.nextRecord();
    return {
      draft: { events, recordedAt, reclaimed: { ...reclaimed, recordedIn } },
      original: undefined,
    };
  }

  /** The position of the event that will record the next chunk that takes the place of another. */
  private nextRecord(): number {
    const record = Math.floor(this.replacedCount / recordedMax);
    this.replacedCount++;
    return this.parts.surveyed.last + 1 + record;
  }

  private draftsOf(gap: Gap): ChunkDraft[] {
    const { losses, remains } = this.parts;
    const filled = [...filling(gap, losses, remains)];
    const original = originalChunks(gap, filled, remains);
    if (original) return original;
    const times = filled.map(({ recordedAt }) => recordedAt);
    const events = filled.map(({ event }) => event);
    const drafts = cutIntoChunks({ events, recordedAt: times[0] ?? 0, times });
    return drafts.map((draft, i) => {
      const isLast = i === drafts.length - 1;
      const originalHash = (isLast ? gap.hash : undefined) ?? firstHash;
      const recordedIn = this.nextRecord();
      return { ...draft, reclaimed: { recordedIn, originalHash, isEmptied: false } };
    });
  }

  /** The events that say which chunks were replaced. */
  private async recordLosses(): Promise<void> {
    const { store, parts, replaced } = this;
    const lost = [...parts.losses.lost.keys()];
    for (let at = 0; at < replaced.length; at += recordedMax) {
      const chunks = replaced.slice(at, at + recordedMax);
      const isTold = (position: number): boolean =>
        chunks.some(({ first, last }) => first <= position && position <= last);
      const { body, ...header } = lossEvent(
        chunks,
        lost.filter(isTold).length,
        parts.identity?.storeId ?? "",
      );
      const position = store.head.position + 1;
      const recordedAt = Math.max(store.head.recordedAt, Date.now() * 1_000);
      const term = { kind: TermKind.stream, name: header.stream };
      const [known] = await store.terms.load(store.kv, [term], store.head.position);
      const version = (known?.count ?? 0) + 1;
      const id = ownId(randomInt(idChances), position, recordedAt);
      const frame = composeFrame(body, version, position, recordedAt, { ownId: id });
      const event: CommitEvent = { ...header, id, version, position, frame };
      await this.add({ draft: { events: [event], recordedAt }, original: undefined });
      await this.flush();
    }
  }
}

/**
 * The chunks that were in the gap, if the index has all of their records: then the chain up to the
 * chunk behind proves them.
 */
function originalChunks(
  { first, last, before, hash }: Gap,
  filled: readonly FillingEvent[],
  { chunks }: IndexRemains,
): ChunkDraft[] | undefined {
  if (hash === undefined || filled.some(({ event }) => isLostRecord(recordOf(event.frame)))) {
    return undefined;
  }
  const ends = [...chunks].toSorted(([a], [b]) => a - b);
  const drafts: ChunkDraft[] = [];
  let next = first;
  let headHash = before ? hashOf(before) : firstHash;
  for (const [end, begin] of ends) {
    if (begin < first || end > last) continue;
    if (begin !== next) return undefined;
    const some = filled.slice(begin - first, end - first + 1);
    const events = some.map(({ event }) => event);
    const recordedAt = some[0]?.recordedAt ?? 0;
    headHash = hashOf(composeChunk(events, recordedAt, headHash));
    drafts.push({ events, recordedAt });
    next = end + 1;
  }
  return next === last + 1 && Buffer.compare(headHash, hash) === 0 ? drafts : undefined;
}

/**
 * The chunk as its rewriting left it, made once more: what was removed does not come back. The
 * record of the rewriting has the hash that must come out. Undefined: it does not come out.
 */
function rewrittenAgain(chunk: Chunk, records: readonly Uint8Array[]): Chunk | undefined {
  let present = chunk;
  let isSame = false;
  for (const record of records) {
    const bounds = new Map(streamsRemovedBy(record).map((each) => [each.stream, each]));
    const frames = eventsOf(present).map(({ frame }) => {
      const event = recordOf(frame);
      const { stream, version } = scanRecord(event);
      const bound = stream === "" ? undefined : bounds.get(stream);
      const isKept = bound === undefined || version >= bound.before || isRemovedRecord(event);
      return isKept ? frame : composeRemovedRecord(event, true, bound.policy);
    });
    const recordedIn = Number(decodeRecord(record).position);
    const isEmptied = frames.every((frame) => isRemovedRecord(recordOf(frame)));
    const reclaimed = { recordedIn, originalHash: hashOf(chunk), isEmptied };
    // The header of the chunk as it was first written, with the new frames.
    present = withFrames(chunk, frames, reclaimed);
    const expected = chunksRewrittenBy(record).get(chunk.last);
    isSame = expected !== undefined && Buffer.compare(expected, presentHashOf(present)) === 0;
  }
  return isSame ? present : undefined;
}
