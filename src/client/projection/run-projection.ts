// The runner: applies a subscription to a read model. It begins at the read model's own checkpoint,
// and begins there again after any failure.

import type { AnnalsClient } from "../annals-client.ts";
import { isWorthRetrying } from "../store/call-failure.ts";
import { StoreReplacedError, UnavailableError } from "../store/errors.ts";
import type { EventShape, RawEvent } from "../store/event.ts";
import { defaultRetryPolicy, delayAfter, pause } from "../store/retry.ts";
import type { Selection } from "../store/selection.ts";
import type { SubscriptionMessage } from "../store/subscribe.ts";
import { applyBatch, OvertakenError, type BatchContext } from "./batch.ts";
import { planOf, type PoisonPolicy } from "./poison.ts";
import { ProjectionWaiters, type WaitOptions } from "./projection-waiters.ts";
import { rawEvents, selectionOfProjection, type Projection } from "./projection.ts";
import type { ProjectionCheckpoint, ReadModel } from "./read-model.ts";

/**
 * `rebuilding`: started at the first event and not caught up yet. `interrupted`: the store or the
 * read model cannot be reached; the runner retries until it can.
 */
export type ProjectionState =
  | "starting"
  | "rebuilding"
  | "catching-up"
  | "live"
  | "interrupted"
  | "stopped"
  | "failed";

export interface ProjectionStatus {
  readonly state: ProjectionState;
  /** Every event up to this position is in the read model. */
  readonly position: number;
  /** The store's head as far as it is known. The progress is `position / head`. */
  readonly head: number;
  /** Events that this runner handled, and events that it skipped as poison. */
  readonly handledCount: number;
  readonly parkedCount: number;
  /** The error that interrupted it or made it fail. */
  readonly error: unknown;
}

export interface RunOptions {
  /** What happens to an event on which the handler fails. Absent: `"stop"`. */
  readonly onPoison?: PoisonPolicy | undefined;
  /** The projection stops with more parked events than this. Absent: 1,000. */
  readonly parkedMax?: number | undefined;
  /** Rebuild the read model, even if it is from another store. */
  readonly rebuild?: boolean | undefined;
  /** Events in one transaction. Absent: as many as the server sends in a batch. */
  readonly batchEventsMax?: number | undefined;
  /** Called with every change of the state, and after every commit. */
  readonly onStatus?: ((status: ProjectionStatus) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RunningProjection {
  readonly status: ProjectionStatus;
  /** Resolves when the read model has every event of the projection up to the position. */
  waitFor(position: number, options?: WaitOptions): Promise<void>;
  /** Finishes the transaction in progress and ends. The next run continues there. */
  stop(): Promise<void>;
  /**
   * Resolves when the projection was stopped, rejects when it failed. Handle it: an unhandled
   * rejection ends the process, so that a failed projection does not go unnoticed.
   */
  readonly done: Promise<void>;
}

export function runProjection<E extends EventShape, Tx>(
  client: AnnalsClient<E>,
  projection: Projection<E, Tx>,
  model: ReadModel<Tx>,
  options: RunOptions = {},
): RunningProjection {
  const runner = new Runner(client, projection, model, options);
  return runner.running;
}

const parkedMaxDefault = 1_000;
const retry = { ...defaultRetryPolicy, attemptsMax: Number.POSITIVE_INFINITY };

class Runner<E extends EventShape, Tx> {
  readonly running: RunningProjection;
  private readonly raw: AnnalsClient<EventShape>;
  private readonly projection: Projection<E, Tx>;
  private readonly model: ReadModel<Tx>;
  private readonly options: RunOptions;
  private readonly selection: Selection;
  private readonly batch: BatchContext<E, Tx>;
  private readonly stop = new AbortController();
  private readonly waiters: ProjectionWaiters;
  private state: ProjectionState = "starting";
  private error: unknown;
  private head = 0;
  private handledCount = 0;
  private parkedCount = 0;
  private rebuild: boolean;
  private failures = 0;
  /** Started at the first event and not caught up yet. */
  private fromZero = false;

  constructor(
    client: AnnalsClient<E>,
    projection: Projection<E, Tx>,
    model: ReadModel<Tx>,
    options: RunOptions,
  ) {
    const { onPoison = "stop", parkedMax = parkedMaxDefault, rebuild = false, signal } = options;
    this.raw = client.withEvents(rawEvents);
    this.projection = projection;
    this.model = model;
    this.options = options;
    this.selection = selectionOfProjection(projection, client.events);
    this.rebuild = rebuild;
    this.waiters = new ProjectionWaiters((position, stop) => this.lastOfInterest(position, stop));
    this.batch = {
      projection,
      codec: client.events,
      model,
      plan: planOf(onPoison),
      parkedMax,
      signal: this.stop.signal,
      committed: ({ position }, handled, parked) => {
        this.handledCount += handled;
        this.parkedCount += parked;
        this.waiters.moveTo(position);
        this.say(this.state);
      },
    };
    const end = () => this.stop.abort();
    if (signal?.aborted === true) end();
    signal?.addEventListener("abort", end, { once: true });
    const done = this.run().finally(() => signal?.removeEventListener("abort", end));
    const status = () => this.status();
    this.running = {
      get status() {
        return status();
      },
      waitFor: (position, wait = {}) => this.waiters.reached(position, wait),
      stop: async () => {
        end();
        // A failure is reported by `done`.
        await done.catch(() => {});
      },
      done,
    };
  }

  private async run(): Promise<void> {
    const { signal } = this.stop;
    while (!signal.aborted) {
      try {
        await this.follow(signal);
      } catch (error) {
        if (signal.aborted) break;
        this.error = error;
        if (!this.mayPass(error)) {
          this.waiters.end(error);
          this.say("failed");
          throw error;
        }
        this.failures += 1;
        this.say("interrupted");
        await pause(delayAfter(retry, this.failures, error), signal).catch(() => {});
      }
    }
    const message = `the projection ${this.projection.name} was stopped`;
    this.waiters.end(new UnavailableError(message, "STOPPING"));
    this.say("stopped");
  }

  private mayPass(error: unknown): boolean {
    const overtaken = error instanceof OvertakenError;
    return overtaken || isWorthRetrying(error) || this.model.isTransient(error);
  }

  /** Follows from the read model's checkpoint, until something fails. */
  private async follow(signal: AbortSignal): Promise<void> {
    const { storeId, head } = await this.raw.info({ signal });
    this.head = head;
    let checkpoint = await this.begin(storeId);
    this.waiters.moveTo(checkpoint.position);
    this.fromZero = checkpoint.position === 0;
    this.say(this.behind);
    const { batchEventsMax } = this.options;
    const subscription = this.raw.subscribe({
      ...this.selection,
      after: checkpoint.position,
      storeId,
      epoch: checkpoint.epoch,
      signal,
      batchEventsMax,
      onInterruption: ({ error }) => {
        this.error = error;
        this.say("interrupted");
      },
    });
    for await (const message of subscription.messages()) {
      checkpoint = await this.take(message, await this.inEpoch(checkpoint, message.epoch));
      this.failures = 0;
    }
  }

  /**
   * The checkpoint to continue from. At zero, with an empty read model, if there is no valid one.
   */
  private async begin(storeId: string): Promise<ProjectionCheckpoint> {
    const { name, version, setup } = this.projection;
    const stored = await this.model.checkpoint(name);
    const goesOn = stored?.version === version && !this.rebuild;
    if (goesOn && stored.storeId !== storeId) {
      throw new StoreReplacedError(stored.storeId, storeId);
    }
    if (this.projection.missingEvents !== "accept") {
      const start = goesOn ? { after: stored.position, epoch: stored.epoch } : { after: 0 };
      const wanted = { ...this.selection, ...start };
      await this.raw.assertComplete(wanted, { signal: this.stop.signal });
    }
    if (goesOn) return stored;
    const next = { position: 0, storeId, version };
    const step = { expected: stored, next, apply: setup, unparkAll: true };
    if (!(await this.model.commit(name, step))) throw new OvertakenError(name);
    this.rebuild = false;
    return next;
  }

  /**
   * The server has accepted the position, and names the epoch that goes with it from now on. It is
   * saved before an event is handled.
   */
  private async inEpoch(
    checkpoint: ProjectionCheckpoint,
    epoch: string,
  ): Promise<ProjectionCheckpoint> {
    if (epoch === "" || epoch === checkpoint.epoch) return checkpoint;
    return this.moved(checkpoint, { ...checkpoint, epoch });
  }

  private async take(
    message: SubscriptionMessage<RawEvent>,
    checkpoint: ProjectionCheckpoint,
  ): Promise<ProjectionCheckpoint> {
    const { position } = message;
    this.head = Math.max(this.head, position);
    if (this.state === "interrupted") this.say(this.behind);
    if (message.kind === "events") {
      return applyBatch(this.batch, checkpoint, message.events);
    }
    const next = await this.saved(checkpoint, position);
    if (message.kind === "caught-up") {
      this.error = undefined;
      this.fromZero = false;
      this.say("live");
    }
    if (message.kind === "fell-behind") this.say(this.behind);
    return next;
  }

  /** Progress without an event is saved too, so that the next start does not read it again. */
  private async saved(
    checkpoint: ProjectionCheckpoint,
    position: number,
  ): Promise<ProjectionCheckpoint> {
    if (position <= checkpoint.position) return checkpoint;
    const next = await this.moved(checkpoint, { ...checkpoint, position });
    this.waiters.moveTo(position);
    return next;
  }

  private async moved(
    checkpoint: ProjectionCheckpoint,
    next: ProjectionCheckpoint,
  ): Promise<ProjectionCheckpoint> {
    const step = { expected: checkpoint, next, apply: () => {} };
    const { name } = this.projection;
    if (!(await this.model.commit(name, step))) throw new OvertakenError(name);
    return next;
  }

  private get behind(): ProjectionState {
    return this.fromZero ? "rebuilding" : "catching-up";
  }

  private async lastOfInterest(position: number, signal: AbortSignal): Promise<number | undefined> {
    const place = { from: { position }, backwards: true, limit: 1 };
    const reading = this.raw.read({ ...this.selection, ...place, signal });
    const [last] = await reading.toArray();
    // Beyond the head, future events are not known.
    return reading.end.head < position ? undefined : (last?.position ?? 0);
  }

  private status(): ProjectionStatus {
    return {
      state: this.state,
      position: this.waiters.position,
      head: this.head,
      handledCount: this.handledCount,
      parkedCount: this.parkedCount,
      error: this.error,
    };
  }

  private say(state: ProjectionState): void {
    this.state = state;
    this.options.onStatus?.(this.status());
  }
}
