// What a restore to a point in time does about removals behind the point that rewrote chunks before
// it. The payloads are gone, so they stay removed: the chunks are kept as they are, events behind
// the point record it anew, and where the lifecycle of a stream, as of the point, would show events
// that are gone, a change of the lifecycle hides them. All of these events are one commit.

import { randomInt } from "node:crypto";
import { type CommitEvent, type NewEvent, idChances, ownId } from "../../../domain/event.ts";
import { lifecycleEvent } from "../../../domain/lifecycle/lifecycle-event.ts";
import { isGone, noLifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import {
  lossEvent,
  removalEvent,
  type RemovedOfStream,
  type RewrittenChunk,
} from "../../../domain/lifecycle/removal-event.ts";
import { composeFrame, scanStream } from "../../../domain/record.ts";
import { frameOffsets, presentHashOf, recordOf, withFrames, type Chunk } from "../format/chunk.ts";
import { TermKind } from "../format/keys.ts";
import { isRemovedRecord, removalPolicyOf, withRemovalPolicy } from "../../removed-record.ts";
import { entryOrDamage, readable } from "../read/lifecycles.ts";
import type { OpenStore } from "../state/open-store.ts";
import type { GoneOfStream, LaterRemovals } from "./point-in-time.ts";

/** Chunks that one event records. */
const recordedMax = 1_000;
const actor = "annals restore";

export class RestoredRemovals {
  private readonly cut: number;
  private readonly removals: LaterRemovals;
  /** The streams whose lifecycle event is not kept, with the position of the one in its place. */
  private readonly policies = new Map<string, number>();
  /** By last position: the position of the event that will record the chunk. */
  private readonly recordedIn = new Map<number, number>();
  /** By the position of that event. */
  private readonly rewritten = new Map<number, RewrittenChunk[]>();
  private readonly removalsEnd: number;

  constructor(cut: number, removals: LaterRemovals) {
    this.cut = cut;
    this.removals = removals;
    let next = cut + 1;
    for (const [stream, { policy }] of removals.streams) {
      if (policy > cut) this.policies.set(stream, next++);
    }
    next = this.place(removals.chunks, next);
    this.removalsEnd = next;
    this.place(removals.chunksWithLost, next);
  }

  /** The chunk as it is restored. */
  moved(chunk: Chunk): Chunk {
    const recordedIn = this.recordedIn.get(chunk.last);
    if (recordedIn === undefined || chunk.reclaimed === undefined) return chunk;
    const offsets = frameOffsets(chunk);
    const frames = Array.from({ length: chunk.count }, (_, i) =>
      this.movedFrame(chunk.records.subarray(offsets[i], offsets[i + 1])),
    );
    const moved = withFrames(chunk, frames, { ...chunk.reclaimed, recordedIn });
    const { first, last } = moved;
    this.rewritten.get(recordedIn)?.push({ first, last, sha256: presentHashOf(moved) });
    return moved;
  }

  /** The events behind the cut. `now` is the store's time, and when they are recorded. */
  async events(store: OpenStore, now: number): Promise<readonly CommitEvent[]> {
    const { policies, removals, rewritten, removalsEnd } = this;
    const placing = new Placing(store, now);
    for (const stream of policies.keys()) await this.hide(placing, store, stream);
    let streams = this.toldOf(removals.streams);
    for (const [position, chunks] of rewritten) {
      if (position >= removalsEnd) {
        await placing.add(lossEvent(chunks, 0, ""));
        continue;
      }
      const events = streams.reduce((sum, each) => sum + each.events, 0);
      await placing.add(removalEvent({ chunks, events, bytes: 0, streams }));
      streams = [];
    }
    for (const [stream, gone] of removals.streams) {
      if (policies.has(stream) || (await isHidden(store, stream, gone, now))) continue;
      await this.hide(placing, store, stream);
    }
    return placing.events;
  }

  private place(chunks: readonly number[], from: number): number {
    let next = from;
    for (let at = 0; at < chunks.length; at += recordedMax) {
      for (const last of chunks.slice(at, at + recordedMax)) this.recordedIn.set(last, next);
      this.rewritten.set(next, []);
      next++;
    }
    return next;
  }

  private movedFrame(frame: Uint8Array): Uint8Array {
    const record = recordOf(frame);
    if (!isRemovedRecord(record) || removalPolicyOf(record) <= this.cut) return frame;
    return withRemovalPolicy(record, this.policies.get(scanStream(record)) ?? 0);
  }

  private async hide(placing: Placing, store: OpenStore, stream: string): Promise<void> {
    const { version = 0 } = this.removals.streams.get(stream) ?? {};
    const entry = await entryOrDamage(store.kv, stream, store.head.position);
    const before = entry === undefined ? noLifecycle : readable(entry).lifecycle;
    const removedBefore = Math.max(before.removedBefore, version + 1);
    const reason = `removed after position ${this.cut}, where this restore ends`;
    const change = { stream, lifecycle: { ...before, removedBefore }, actor, reason };
    await placing.add(lifecycleEvent("$StreamUpdated", change));
  }

  private toldOf(streams: ReadonlyMap<string, GoneOfStream>): RemovedOfStream[] {
    return [...streams].map(([stream, { version, events, policy }]) => {
      const restored = this.policies.get(stream) ?? policy;
      return { stream, events, before: version + 1, policy: restored };
    });
  }
}

/** Whether the stream's lifecycle, as it was restored, hides its events that are gone. */
async function isHidden(
  store: OpenStore,
  stream: string,
  gone: GoneOfStream,
  now: number,
): Promise<boolean> {
  const entry = await entryOrDamage(store.kv, stream, store.head.position);
  if (entry === undefined) return false;
  const version = await countOf(store, stream);
  return isGone(readable(entry).lifecycle, gone, version, now);
}

async function countOf(store: OpenStore, stream: string): Promise<number> {
  const term = { kind: TermKind.stream, name: stream };
  const [known] = await store.terms.load(store.kv, [term], store.head.position);
  return known?.count ?? 0;
}

/** Gives the store's own events their places, one after the other. */
class Placing {
  readonly events: CommitEvent[] = [];
  private readonly store: OpenStore;
  private readonly recordedAt: number;
  private readonly versions = new Map<string, number>();

  constructor(store: OpenStore, recordedAt: number) {
    this.store = store;
    this.recordedAt = recordedAt;
  }

  async add({ body, ...header }: NewEvent): Promise<void> {
    const { store, versions, recordedAt, events } = this;
    const { stream } = header;
    const version = (versions.get(stream) ?? (await countOf(store, stream))) + 1;
    versions.set(stream, version);
    const position = store.head.position + 1 + events.length;
    const id = ownId(randomInt(idChances), position, recordedAt);
    const frame = composeFrame(body, version, position, recordedAt, { ownId: id });
    events.push({ ...header, id, version, position, frame });
  }
}
