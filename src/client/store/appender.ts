// A pipe of independent appends, the fastest way to append. At most a window of them is in flight,
// answered in order. After a lost connection, appends without an answer are sent again in order,
// with their ids: stored ones are recognised, so that nothing is stored twice.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AppendPipeRequestSchema, AppendPipeResponse } from "../../gen/annals/v1/append_pb.js";
import { appendFailure, CallError } from "../rpc/call-error.ts";
import type { Appended, SettledAppend } from "./append.ts";
import { isWorthRetrying, storeErrorOf } from "./call-failure.ts";
import { firstConnection, type Context } from "./context.ts";
import { AnnalsError, invalidField, ServerError } from "./errors.ts";
import type { EventShape } from "./event.ts";
import { outlooks } from "./reasons.ts";
import { delayAfter, pause, withOutcome } from "./retry.ts";

/**
 * The outcome of one append of a pipe. A refusal is an outcome like any other, and the pipe
 * continues.
 */
export type AppendOutcome<E extends EventShape> =
  | { readonly kind: "appended"; readonly appended: Appended<E> }
  | { readonly kind: "refused"; readonly error: unknown };

/** An append in flight. Its outcome never rejects. */
export interface AppendUnderway<E extends EventShape> {
  readonly eventIds: readonly string[];
  readonly outcome: Promise<AppendOutcome<E>>;
}

export interface AppenderOptions {
  /** Appends in flight. Absent: 256. At most 1,024, which is as many as a server reads. */
  readonly window?: number | undefined;
  /** Payload bytes in flight (or one append). Absent: 4 MiB. */
  readonly windowBytes?: number | undefined;
  /** Ends the pipe. Appends without an answer are refused with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

interface Entry<E extends EventShape> {
  readonly append: SettledAppend<E>;
  readonly admitted: () => void;
  readonly settle: (outcome: AppendOutcome<E>) => void;
  /** A call on which it was sent ended without an answer. */
  mayHaveBeenStored: boolean;
}

type PipeRequest = MessageInitShape<typeof AppendPipeRequestSchema>;

const broken = outlooks.INTERNAL;
const windowDefault = 256;
const windowMax = 1_024;
const windowBytesDefault = 4 * 1024 * 1024;

export class AppendPipe<E extends EventShape> {
  private readonly context: Context;
  private readonly window: number;
  private readonly windowBytes: number;
  private readonly signal: AbortSignal | undefined;
  /** Appends that are not in flight yet. */
  private readonly queue: Entry<E>[] = [];
  /** In flight, oldest first. */
  private readonly underway: Entry<E>[] = [];
  private bytes = 0;
  /** How many of them were sent on the present call, whose number is `calls`. */
  private sent = 0;
  private calls = 0;
  private closing = false;
  private running: Promise<void> | undefined;
  private readonly wakers: (() => void)[] = [];

  constructor(context: Context, options: AppenderOptions = {}) {
    const { window = windowDefault, windowBytes = windowBytesDefault, signal } = options;
    if (!Number.isInteger(window) || window < 1 || window > windowMax) {
      throw invalidField("window", `is ${window}, not a whole number from 1 to ${windowMax}`);
    }
    this.context = context;
    this.window = window;
    this.windowBytes = windowBytes;
    this.signal = signal;
    signal?.addEventListener("abort", () => this.wake(), { once: true });
  }

  /** Resolves when there is room in the window. */
  async append(append: SettledAppend<E>): Promise<AppendUnderway<E>> {
    this.signal?.throwIfAborted();
    if (this.closing) throw new Error("the appender is closed");
    let settle = (_outcome: AppendOutcome<E>) => {};
    const outcome = new Promise<AppendOutcome<E>>((resolve) => {
      settle = resolve;
    });
    await new Promise<void>((admitted) => {
      this.queue.push({ append, admitted, settle, mayHaveBeenStored: false });
      this.running ??= this.run();
      this.admit();
    });
    return { eventIds: append.eventIds, outcome };
  }

  /** Waits for every outcome and ends the pipe. */
  async close(): Promise<void> {
    this.closing = true;
    this.wake();
    await this.running;
  }

  private admit(): void {
    while (this.underway.length < this.window && this.bytes < this.windowBytes) {
      const entry = this.queue.shift();
      if (entry === undefined) break;
      this.underway.push(entry);
      this.bytes += entry.append.payloadBytes;
      entry.admitted();
    }
    this.wake();
  }

  /** Makes one call after another, as long as there are appends. */
  private async run(): Promise<void> {
    const { rpc, retry } = this.context;
    const signal = this.signal;
    for (let failures = 0; ;) {
      if (signal?.aborted === true) return this.refuseAll(() => signal.reason);
      if (this.underway.length === 0) {
        if (this.closing) return;
        await this.woken();
        continue;
      }
      try {
        await firstConnection(this.context, { signal });
      } catch (error) {
        this.refuseAll(() => error);
        continue;
      }
      try {
        let sequence = 0n;
        for await (const answer of rpc.appendPipe(this.requests(), { signal })) {
          failures = 0;
          this.answered(answer, (sequence += 1n));
        }
        if (this.underway.length > 0) throw new CallError(2, "cut off", { reason: "CUT_OFF" });
      } catch (caught) {
        if (this.underway.length === 0) continue;
        const error = storeErrorOf(caught);
        // Another kind of error says nothing about what was stored.
        const isOpen = !(error instanceof AnnalsError) || error.mayHaveBeenStored;
        for (const entry of this.underway.slice(0, this.sent)) entry.mayHaveBeenStored ||= isOpen;
        failures += 1;
        // An aborted call or pause is noticed in the next turn.
        const stopped = error === signal?.reason;
        if (!stopped && (failures >= retry.attemptsMax || !isWorthRetrying(error))) {
          this.refuseAll(() => storeErrorOf(caught));
          failures = 0;
        } else {
          await pause(delayAfter(retry, failures, error), signal).catch(() => {});
        }
      }
    }
  }

  /** All appends in flight and later ones, for one call. */
  private async *requests(): AsyncGenerator<PipeRequest> {
    const call = (this.calls += 1);
    this.sent = 0;
    // The source of a call that broke may be woken once more, and must take nothing then.
    while (call === this.calls) {
      const entry = this.underway[this.sent];
      if (entry !== undefined) {
        this.sent += 1;
        yield { append: entry.append.request };
      } else if (this.closing && this.queue.length === 0) return;
      else await this.woken();
    }
  }

  /** Answers come in the order of the requests. */
  private answered({ sequence, outcome }: AppendPipeResponse, expected: bigint): void {
    const [entry] = this.underway;
    if (sequence !== expected || entry === undefined || outcome.case === undefined) {
      throw new ServerError(`answer ${sequence} instead of ${expected}`, "INTERNAL", broken);
    }
    const settled = outcomeOf(outcome, entry);
    this.underway.shift();
    this.sent -= 1;
    this.bytes -= entry.append.payloadBytes;
    entry.settle(settled);
    this.admit();
  }

  /** Rejects each with an error of its own, because some may have been stored. */
  private refuseAll(failure: () => unknown): void {
    for (const entry of [...this.underway.splice(0), ...this.queue.splice(0)]) {
      const error = failure();
      if (error instanceof AnnalsError) error.mayHaveBeenStored = entry.mayHaveBeenStored;
      entry.admitted();
      entry.settle({ kind: "refused", error });
    }
    this.sent = 0;
    this.bytes = 0;
  }

  private wake(): void {
    for (const wake of this.wakers.splice(0)) wake();
  }

  private woken(): Promise<void> {
    return new Promise((resolve) => {
      this.wakers.push(resolve);
    });
  }
}

/** Throws if the answer does not belong to this append. */
function outcomeOf<E extends EventShape>(
  outcome: Exclude<AppendPipeResponse["outcome"], { readonly case: undefined }>,
  { append, mayHaveBeenStored }: Entry<E>,
): AppendOutcome<E> {
  if (outcome.case === "appended") {
    return { kind: "appended", appended: append.resultOf(outcome.value) };
  }
  const error = storeErrorOf(appendFailure(outcome.value));
  return { kind: "refused", error: withOutcome(error, mayHaveBeenStored) };
}
