// The newest events that a filter selects, newest first, and those that come while one looks. It
// goes on by itself where the server was away: from the position that it has, in its epoch.

import type { SubscribeResponseJson } from "../../../src/gen/annals/v1/read_pb.js";
import { api } from "../wire/api.ts";
import { failureOf, isAborted, isPassing, type CallFailure } from "../wire/call-failure.ts";
import { readPage, shownEvent, type ShownEvent } from "./events.ts";
import { queryOf, type Filter } from "./selection.ts";

export type TailState = "loading" | "stopped" | "live" | "catching up" | "reconnecting" | "failed";

export interface TailView {
  readonly events: readonly ShownEvent[];
  readonly epoch: string;
  readonly state: TailState;
  readonly failure: CallFailure | undefined;
  /** Events that came while the list was paused. */
  readonly waitingCount: number;
  /** Events that came since it began. */
  readonly arrivedCount: number;
  /** No older event is left. */
  readonly isAtStart: boolean;
}

export interface TailOptions {
  readonly filter: Filter;
  /** Where to begin, newest first: an RFC 3339 time. Empty: at the newest event, and follow. */
  readonly until: string;
  readonly changed: (view: TailView) => void;
}

const pageEvents = 100;
/** Live events push the oldest out of the list beyond it. */
const listMax = 500;
const firstWaitMs = 500;
const waitMsMax = 5_000;
const farEvents = 5_000n;
/** The page that was read is drawn first. */
const followAfterMs = 30;
/** How often the page is told, at most. */
const tellMs = 120;
const rateSeconds = 120;

export class Tail {
  /** Events that came in each of the last seconds, the newest last. */
  readonly rates: number[] = Array.from({ length: rateSeconds }, () => 0);
  private readonly options: TailOptions;
  private readonly abort = new AbortController();
  private events: ShownEvent[] = [];
  private waiting: ShownEvent[] = [];
  private waitingCount = 0;
  private arrivedCount = 0;
  private epoch = "";
  private after = "0";
  private state: TailState = "loading";
  private failure: CallFailure | undefined;
  private isAtStart = false;
  private isPaused = false;
  /** Ends the present subscription. */
  private following = new AbortController();
  private isAway = false;
  private wake: (() => void) | undefined;
  private telling: ReturnType<typeof setTimeout> | undefined;
  private second = Math.floor(Date.now() / 1_000);

  constructor(options: TailOptions) {
    this.options = options;
  }

  begin(): void {
    void this.run();
  }

  end(): void {
    this.abort.abort();
    this.following.abort();
    this.wake?.();
    clearTimeout(this.telling);
  }

  /**
   * Nobody looks at the page: the subscription ends, because a browser has few connections for all
   * of its pages. When somebody looks again, it goes on where it was.
   */
  away(isAway: boolean): void {
    if (isAway === this.isAway) return;
    this.isAway = isAway;
    if (isAway) this.following.abort();
    else this.wake?.();
  }

  /** While it is paused, the list stays as it is, and events that come wait, the newest of them. */
  pause(isPaused: boolean): void {
    this.isPaused = isPaused;
    if (!isPaused) {
      this.events = [...this.waiting, ...this.events].slice(0, listMax);
      this.waiting = [];
      this.waitingCount = 0;
    }
    this.tell();
  }

  /** Adds a page of older events. */
  async older(): Promise<void> {
    const oldest = BigInt(this.events.at(-1)?.position ?? "1");
    if (oldest <= 1n) return;
    try {
      await this.read({ fromPosition: `${oldest - 1n}` });
      this.failure = undefined;
    } catch (error) {
      if (isAborted(error)) return;
      this.failure = failureOf(error);
    }
    this.tell();
  }

  /** Counts a second more of the rates. Called now and then, so that quiet seconds count as 0. */
  turn(): void {
    const now = Math.floor(Date.now() / 1_000);
    const passed = Math.min(rateSeconds, now - this.second);
    if (passed <= 0) return;
    this.rates.splice(0, passed);
    for (let added = 0; added < passed; added += 1) this.rates.push(0);
    this.second = now;
  }

  private async run(): Promise<void> {
    const { until } = this.options;
    const { signal } = this.abort;
    for (let waitMs = firstWaitMs; !signal.aborted;) {
      try {
        if (this.state === "loading") {
          this.after = await this.read(until === "" ? {} : { fromTime: until });
          this.turnTo(until === "" ? "catching up" : "stopped");
        }
        if (until !== "") return;
        await pause(followAfterMs);
        if (signal.aborted) return;
        await this.follow(() => (waitMs = firstWaitMs));
      } catch (error) {
        if (signal.aborted) return;
        if (this.isAway) {
          await new Promise<void>((resolve) => (this.wake = resolve));
          await this.forgetIfFar().catch(() => {});
          continue;
        }
        const failure = failureOf(error);
        if (!isPassing(failure)) return this.turnTo("failed", failure);
        this.turnTo(this.epoch === "" ? "loading" : "reconnecting", failure);
      }
      await pause(waitMs);
      waitMs = Math.min(waitMs * 2, waitMsMax);
    }
  }

  /** Who comes back after very many events begins anew at the newest ones. */
  private async forgetIfFar(): Promise<void> {
    const { head = "0" } = await api.info(this.abort.signal);
    if (BigInt(head) - BigInt(this.after) < farEvents) return;
    this.events = [];
    this.state = "loading";
  }

  /** Answers the position to subscribe after. */
  private async read(from: { fromPosition?: string; fromTime?: string }): Promise<string> {
    const query = queryOf(this.options.filter);
    const request = {
      ...(query !== undefined && { query }),
      ...from,
      direction: "DIRECTION_BACKWARDS" as const,
      limit: `${pageEvents}`,
    };
    const page = await readPage(request, this.abort.signal);
    this.events = [...this.events, ...page.events];
    this.epoch = page.epoch;
    this.isAtStart = page.events.length < pageEvents;
    return page.end.head ?? "0";
  }

  private async follow(connected: () => void): Promise<void> {
    const query = queryOf(this.options.filter);
    const request = {
      ...(query !== undefined && { query }),
      afterPosition: this.after,
      epoch: this.epoch,
      checkpointInterval: "5s",
    };
    this.following = new AbortController();
    if (this.isAway) this.following.abort();
    for await (const message of api.subscribe(request, this.following.signal)) {
      connected();
      this.take(message);
    }
  }

  private take({ batch, caughtUp, fellBehind, checkpoint }: SubscribeResponseJson): void {
    if (caughtUp !== undefined || checkpoint !== undefined) this.turnTo("live");
    if (fellBehind !== undefined) this.turnTo("catching up");
    const passed = caughtUp ?? fellBehind ?? checkpoint;
    if (passed !== undefined) this.after = passed.position ?? this.after;
    const events = (batch?.events ?? []).map((event) => shownEvent(event)).toReversed();
    const [newest] = events;
    if (newest === undefined) return;
    this.after = newest.position;
    this.turn();
    this.rates[rateSeconds - 1] = (this.rates[rateSeconds - 1] ?? 0) + events.length;
    this.arrivedCount += events.length;
    if (this.isPaused) {
      this.waitingCount += events.length;
      this.waiting = [...events, ...this.waiting].slice(0, listMax);
    } else {
      this.isAtStart = this.isAtStart && this.events.length + events.length <= listMax;
      this.events = [...events, ...this.events].slice(0, listMax);
    }
    this.tellSoon();
  }

  private turnTo(state: TailState, failure?: CallFailure): void {
    if (state === this.state && failure === this.failure) return;
    this.state = state;
    this.failure = failure;
    this.tell();
  }

  private tellSoon(): void {
    this.telling ??= setTimeout(() => this.tell(), tellMs);
  }

  private tell(): void {
    clearTimeout(this.telling);
    this.telling = undefined;
    if (this.abort.signal.aborted) return;
    const { events, epoch, state, failure, waitingCount, arrivedCount, isAtStart } = this;
    this.options.changed({
      events,
      epoch,
      state,
      failure,
      waitingCount,
      arrivedCount,
      isAtStart,
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
