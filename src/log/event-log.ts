// The event log: implements the operations of the store (verbs.ts) over a storage engine.

import { streamNotFound } from "../domain/errors.ts";
import { jsonTextBytesMax } from "../domain/json.ts";
import type { Limits } from "../domain/limits.ts";
import type { SnapshotRequest } from "../domain/snapshot.ts";
import type { Storage, StreamFacts } from "../storage/storage.ts";
import { AppendQueue } from "./append/append-queue.ts";
import { Checkpoints } from "./append/checkpoints.ts";
import { Groups } from "./groups/groups.ts";
import { Interests } from "./subscribe/interest.ts";
import { findEvent } from "./read/find-event.ts";
import { mismatchOf } from "./read/epochs.ts";
import { lookAhead } from "./read/look-ahead.ts";
import { load } from "./read/load.ts";
import type { ClientMemory } from "./scheduling/client-memory.ts";
import { listCost, schedulingPolicy } from "./scheduling/policy.ts";
import { PositionWaiters } from "./position-waiters.ts";
import type { Source } from "./scheduling/scheduled-read.ts";
import { inTurn, Scheduler, type Caller, type Gate } from "./scheduling/scheduler.ts";
import { read } from "./read/read.ts";
import { getState } from "./read/get-state.ts";
import { copying } from "./read/copy.ts";
import { deleteSnapshots } from "./append/delete-snapshots.ts";
import { getSnapshot, listSnapshots, saveSnapshot } from "./read/snapshots.ts";
import { streamLog } from "./append/streams.ts";
import type { CancelSignal } from "./cancellation.ts";
import { LiveLoops } from "./subscribe/live-loops.ts";
import { OpenSubscriptions } from "./subscribe/open-subscriptions.ts";
import { SharedBatches } from "./subscribe/shared-batches.ts";
import { subscribe } from "./subscribe/subscribe.ts";
import type { HandedFigures, LogFigures } from "./log-figures.ts";
import { groupsOfLeader } from "./following.ts";
import { groupsOfNode } from "./groups-of-node.ts";
import type { CommitObserver } from "./log-observer.ts";
import { nodeTimers, type Timers } from "./timers.ts";
import type { EventLog, LogInfo, StreamInfo } from "./verbs.ts";

export type * from "./verbs.ts";

export interface EventLogOptions {
  /** An open storage. The caller closes it after `stop`. */
  readonly storage: Storage;
  readonly limits: Limits;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Absent: Node's timers. */
  readonly timers?: Timers;
  /** For the ids that the store makes: see `CommitBatch`. Absent: by Node's random numbers. */
  readonly idChance?: () => number;
  /** For how appends share commits: see `AppendQueueOptions`. */
  readonly isBusy?: () => boolean;
  /** Absent: the log's own. */
  readonly scheduler?: Scheduler;
  /** What is held for all clients. Absent: callers take everything at once. */
  readonly memory?: Pick<ClientMemory, "isLarge" | "room">;
  /** Told of commits. Absent: no one is. */
  readonly observer?: CommitObserver | undefined;
  /** Reports what an operator should know and callers are not told. */
  readonly onWarning?: (message: string, cause?: unknown) => void;
}

export function createEventLog(options: EventLogOptions): EventLog {
  const { storage, limits, clock, timers = nodeTimers, onWarning = () => {} } = options;
  const { memory, scheduler = new Scheduler() } = options;
  const gate = scheduler.gateOf({});
  const own: Caller = { gate, aborted: false, reason: undefined };
  const queue: AppendQueue = new AppendQueue({
    storage,
    limits,
    clock,
    onCheckpoints: (changes) => checkpoints.changed(changes),
    ...(options.idChance && { idChance: options.idChance }),
    isBusy: options.isBusy,
    observer: options.observer,
  });
  const checkpoints = new Checkpoints(storage, queue, timers, own);
  const interests = new Interests(storage.head().position, timers);
  const unwatch = [storage.watch(interests), storage.watch(checkpoints)];
  const shared = new SharedBatches({ storage, gate: scheduler.gateOf({}), timers, memory });
  const handed = { read: 0, subscription: 0, group: 0 };
  const groups = new Groups({
    handed,
    storage,
    gate: scheduler.gateOf({}),
    interests,
    timers,
    clock,
    nowMs: steadyClock(clock, timers),
    heartbeatMs: limits.checkpointIntervalDefaultMs,
    write: (sideValues) => queue.write(sideValues),
    warn: onWarning,
    waiters: new PositionWaiters(timers),
  });
  const stateBytesMax = Math.min(limits.eventBytesMax, jsonTextBytesMax);
  const { batchBytesMax: batchBytes } = limits;
  const reading = { storage, gate, memory, handed, batchBytes, warn: onWarning };
  const propose = async (request: SnapshotRequest, signal?: CancelSignal) =>
    (await queue.add(request, signal)).outcome;
  const open = new OpenSubscriptions();
  const loops = new LiveLoops({ interests, shared, timers, batchBytes });
  const source = { ...reading, interests, shared, loops, open, timers, clock, propose };
  const sourceOf = (its: Gate = gate) => ({ ...source, gate: its });
  const copies = copying(storage, clock);
  unwatch.push(copies.stop);
  const infoOf = (stream: StreamFacts) => streamInfo(stream, interests);

  return {
    checkpoints,
    groups: groupsOfNode(storage, groupsOfLeader(storage, groups)),
    streams: streamLog({ storage, queue, warn: onWarning }),
    append: appendingTo(queue, reading),
    lookAhead: (append, its) => lookAhead(reading, append, its),
    epochMismatch: (readIn) => mismatchOf(reading, readIn),
    copy: copies.copy,
    read: (request, signal, its) => read(sourceOf(its), request, storage.head().position, signal),
    subscribe: (request, signal, its, offer) => subscribe(sourceOf(its), request, signal, offer),
    saveSnapshot: (snapshot, signal) => saveSnapshot(source, snapshot, signal),
    getSnapshot: (request, its) => getSnapshot(sourceOf(its), request),
    listSnapshots: (request, caller = own) => listSnapshots(source, request, caller),
    deleteSnapshots: (selection, signal) => deleteSnapshots({ storage, queue }, selection, signal),
    load: (request, signal, its) => load(sourceOf(its), request, signal),
    getState: (request, signal, its) => getState(sourceOf(its), request, stateBytesMax, signal),

    findEvent: (request, caller = own) => findEvent(sourceOf(caller.gate), request, caller),
    getStream: async (stream, caller = own) => infoOf(await lookUp(storage, stream, caller)),
    listStreams: async (page, caller = own) =>
      (await inTurn(caller, listCost(page), () => storage.listStreams(page))).map(infoOf),
    listEventTypes: (page, caller = own) =>
      inTurn(caller, listCost(page), () => storage.listEventTypes(page)),
    info: () => infoNow(storage, open.count),
    figures: () => figuresOf({ queue, open, groups, handed, copies }, storage.head().position),
    async stop() {
      interests.stop();
      checkpoints.stop();
      void queue.stop();
      await groups.stop();
      await queue.stop();
      for (const end of unwatch) end();
    },
  };
}

/** An append waits in the queue once the epoch and conditions that it relies on are looked up. */
function appendingTo(queue: AppendQueue, reading: Source): EventLog["append"] {
  return (append, signal, caller) => {
    const { epoch = append.checkpoint?.epoch, conditions } = append;
    const client = signal?.connection ?? caller?.gate.owner;
    const reliesOnPast = epoch !== undefined || conditions.length > 0;
    const looking = reliesOnPast ? lookAhead(reading, append, caller?.gate) : undefined;
    if (looking === undefined) return queue.add(append, signal, client);
    return looking.then((it) => queue.add(it, signal, client));
  };
}

/** Throws STREAM_NOT_FOUND. */
async function knownStream(storage: Storage, stream: string): Promise<StreamFacts> {
  const facts = await storage.stream(stream);
  if (facts === undefined) throw streamNotFound(stream);
  return facts;
}

function infoNow(storage: Storage, subscriberCount: number): LogInfo {
  return {
    identity: storage.identity,
    head: storage.head().position,
    writeState: storage.writeState(),
    reclaiming: storage.reclaiming?.(),
    following: storage.following?.(),
    subscriberCount,
  };
}

interface Told {
  readonly queue: AppendQueue;
  readonly open: OpenSubscriptions;
  readonly groups: Groups;
  readonly handed: HandedFigures;
  readonly copies: ReturnType<typeof copying>;
}

function figuresOf({ queue, open, groups, handed, copies }: Told, head: number): LogFigures {
  const subscriptions = open.figures(head);
  const backups = copies.backups();
  return { ...queue.figures(), subscriptions, runningGroups: groups.count, handed, backups };
}

function streamInfo(stream: StreamFacts, interests: Interests): StreamInfo {
  return { ...stream, subscriberCount: interests.countOf(stream.stream) };
}

/**
 * Milliseconds since 1970 on a clock that advances steadily, even if the system clock is changed.
 */
function steadyClock(clock: () => number, timers: Timers): () => number {
  let begunMs: number | undefined;
  return () => {
    begunMs ??= Math.round(clock() / 1_000 - timers.nowMs());
    return begunMs + timers.nowMs();
  };
}

/** It reads the stream's first and last events, which may be large: for a few callers at a time. */
function lookUp(storage: Storage, stream: string, caller: Caller): Promise<StreamFacts> {
  return inTurn(caller, schedulingPolicy.viewBatchBytesMin, () => knownStream(storage, stream));
}
