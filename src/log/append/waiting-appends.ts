// The line in which appends, and all else that is to be written, wait for a commit: first come,
// first served, and whoever gives up leaves it from any place at once. Linked, so that a line of
// thousands costs the same as one of ten.

import type { Append, Outcome } from "../../domain/append.ts";
import type { CheckpointUpdate } from "../../domain/checkpoint.ts";
import type { LifecycleRequest } from "../../domain/decide/decide-lifecycle.ts";
import type { Proposal } from "../../domain/decide/decide.ts";
import type { SideValueChange } from "../../storage/storage.ts";
import { cancellation, type CancelSignal } from "../cancellation.ts";

/** What one item of a condition weighs beside one event: it is looked up in the index and here. */
const conditionItemWork = 8;

/** Side values that need no decision: they go along with whatever is committed next. */
export interface SideWrite {
  readonly kind: "side-values";
  readonly sideValues: readonly SideValueChange[];
}

export type Entry = Proposal | SideWrite;

export interface Answer<O = Outcome> {
  readonly outcome: O;
  /** The last durable position when this was answered. */
  readonly head: number;
}

export class WaitingLine {
  private first: Waiting | undefined;
  private last: Waiting | undefined;
  private heldBytes = 0;
  private heldCount = 0;

  /** Of all that are not answered yet, those that were taken included. */
  get bytes(): number {
    return this.heldBytes;
  }

  get count(): number {
    return this.heldCount;
  }

  /** Whether nobody waits to be taken. */
  get isEmpty(): boolean {
    return this.first === undefined;
  }

  /** Settles with what becomes of the entry; rejects when its signal aborts in line. */
  enter<O>(entry: Entry, bytes: number, signal?: CancelSignal): Promise<Answer<O>> {
    return new Promise<Answer<O>>((resolve, reject) => {
      const settle = resolve as (answer: Answer<unknown>) => void;
      const waiting = new Waiting(this, entry, bytes, signal, settle, reject);
      waiting.previous = this.last;
      if (this.last === undefined) this.first = waiting;
      else this.last.next = waiting;
      this.last = waiting;
      this.heldBytes += bytes;
      this.heldCount++;
      waiting.listen();
    });
  }

  /** The first ones, as many as fit; the very first one whatever its size. */
  take(bytesMax: number, workMax: number): Waiting[] {
    const taken: Waiting[] = [];
    let bytes = 0;
    let work = 0;
    for (let next = this.first; next !== undefined; next = this.first) {
      bytes += next.bytes - objectBytes(next.entry);
      work += workOf(next.entry);
      if (taken.length > 0 && (bytes > bytesMax || work > workMax)) break;
      this.unlink(next);
      next.silence();
      taken.push(next);
    }
    return taken;
  }

  /** One that was taken has been answered. */
  leave(waiting: Waiting): void {
    this.heldBytes -= waiting.bytes;
    this.heldCount--;
  }

  /** A signal's abort. Those that were taken no longer listen. */
  abandon(waiting: Waiting): void {
    this.unlink(waiting);
    this.leave(waiting);
    if (waiting.signal !== undefined) waiting.reject(cancellation(waiting.signal));
  }

  private unlink(waiting: Waiting): void {
    const { previous, next } = waiting;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    waiting.previous = undefined;
    waiting.next = undefined;
  }
}

/** An entry in line. It is the listener of its own signal. */
export class Waiting {
  readonly entry: Entry;
  readonly bytes: number;
  readonly signal: CancelSignal | undefined;
  readonly resolve: (answer: Answer<unknown>) => void;
  readonly reject: (error: unknown) => void;
  previous: Waiting | undefined;
  next: Waiting | undefined;
  private readonly line: WaitingLine;

  constructor(
    line: WaitingLine,
    entry: Entry,
    bytes: number,
    signal: CancelSignal | undefined,
    resolve: (answer: Answer<unknown>) => void,
    reject: (error: unknown) => void,
  ) {
    this.line = line;
    this.entry = entry;
    this.bytes = bytes;
    this.signal = signal;
    this.resolve = resolve;
    this.reject = reject;
    this.previous = undefined;
    this.next = undefined;
  }

  listen(): void {
    this.signal?.addEventListener("abort", this, { once: true });
  }

  silence(): void {
    this.signal?.removeEventListener("abort", this);
  }

  handleEvent(): void {
    this.line.abandon(this);
  }
}

/** What checkpoints and notes weigh beside their text. */
const sideValueBytes = 64;

/** What the event that records a change of a lifecycle weighs beside its text, about. */
const lifecycleEventBytes = 400;

/** What an event holds in memory beside its bytes: its object, its names, its frame's view. */
const eventObjectBytes = 640;

/** Held while an entry waits, and no part of what is written. */
function objectBytes(entry: Entry): number {
  return "kind" in entry ? 0 : entry.events.length * eventObjectBytes;
}

/** Bytes an entry holds in line: events, and the words of a condition; notes. */
export function weightOf(entry: Entry): number {
  if (!("kind" in entry)) return entry.bytes + objectBytes(entry) + wordsOf(entry);
  if (entry.kind === "delete-checkpoint") return sideValueBytes;
  if (entry.kind === "save-checkpoint") return checkpointBytes(entry.update);
  if (entry.kind !== "side-values") return lifecycleBytes(entry);
  let bytes = 0;
  for (const { name, value } of entry.sideValues)
    bytes += sideValueBytes + name.length + (value?.length ?? 0);
  return bytes;
}

function checkpointBytes({ metadata }: CheckpointUpdate): number {
  return sideValueBytes + textBytes(metadata);
}

function lifecycleBytes(request: LifecycleRequest): number {
  const { stream, actor, reason } = request;
  const labels = request.kind === "update-stream" ? textBytes(request.policy.labels) : 0;
  return lifecycleEventBytes + stream.length * 2 + actor.length + reason.length + labels;
}

function textBytes(entries: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [key, value] of Object.entries(entries)) bytes += key.length + value.length;
  return bytes;
}

function wordsOf({ condition, checkpoint }: Append): number {
  let words = checkpoint === undefined ? 0 : checkpointBytes(checkpoint);
  if (condition === undefined) return words;
  for (const { streams, streamPrefixes, types, tags } of condition.query.items) {
    for (const terms of [streams, streamPrefixes, types, tags]) {
      for (const term of terms) words += term.length;
    }
  }
  return words;
}

/** What an entry adds to its batch's look-ups and decision, in events. */
function workOf(entry: Entry): number {
  if ("kind" in entry) return entry.kind === "side-values" ? entry.sideValues.length : 1;
  const { events, expectations, condition } = entry;
  const items = condition === undefined ? 0 : Math.max(1, condition.query.items.length);
  return events.length + expectations.length + items * conditionItemWork;
}
