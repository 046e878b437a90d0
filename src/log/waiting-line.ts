// The line in which appends wait for a commit: first come, first served, and whoever gives up
// leaves it from any place at once. Linked, so that a line of thousands costs the same as one of
// ten.

import type { Append, Outcome } from "../domain/append.ts";
import { cancellation } from "./cancellation.ts";

/** What one item of a condition weighs beside one event: it is looked up in the index and here. */
const conditionItemWork = 8;

export interface Answer {
  readonly outcome: Outcome;
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

  /** Settles with what becomes of the append; rejects when its signal aborts in line. */
  enter(append: Append, bytes: number, signal?: AbortSignal): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const waiting = new Waiting(this, append, bytes, signal, resolve, reject);
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
      bytes += next.bytes;
      work += workOf(next.append);
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

/** An append in line. It is the listener of its own signal. */
export class Waiting {
  readonly append: Append;
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
  previous: Waiting | undefined;
  next: Waiting | undefined;
  private readonly line: WaitingLine;

  constructor(
    line: WaitingLine,
    append: Append,
    bytes: number,
    signal: AbortSignal | undefined,
    resolve: (answer: Answer) => void,
    reject: (error: unknown) => void,
  ) {
    this.line = line;
    this.append = append;
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

/** Bytes an append holds in line: its events, and the words of its condition. */
export function weightOf({ bytes, condition }: Append): number {
  if (condition === undefined) return bytes;
  let words = 0;
  for (const { streams, streamPrefixes, types, tags } of condition.query.items) {
    for (const terms of [streams, streamPrefixes, types, tags]) {
      for (const term of terms) words += term.length;
    }
  }
  return bytes + words;
}

/** What an append adds to its group's look-ups and decision, in events. */
function workOf({ events, expectations, condition }: Append): number {
  const items = condition === undefined ? 0 : Math.max(1, condition.query.items.length);
  return events.length + expectations.length + items * conditionItemWork;
}
