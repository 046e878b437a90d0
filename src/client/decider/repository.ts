// A repository: commands for aggregates that are a stream each. Load, decide, append with the
// version that was loaded; and again, if somebody else was faster.

import type { AnnalsClient } from "../annals-client.ts";
import type { OperationOptions } from "../store/context.ts";
import { invalidField } from "../store/errors.ts";
import type { EventShape, NewEvent, NewEventFacts } from "../store/event.ts";
import type { Loaded, MissingEvents } from "../store/load.ts";
import { retryOnConflict, type ConflictOptions } from "./retry-on-conflict.ts";
import { decided, handledOf, type Decider, type Handled } from "./decider.ts";
import { StateSnapshots, type SnapshotOptions } from "./state-snapshots.ts";
import { KeyedMutex } from "./keyed-mutex.ts";

export interface RepositoryOptions<State> {
  /** Absent: none; every load folds the whole stream. */
  readonly snapshots?: SnapshotOptions<State> | undefined;
  /** How often a command is decided at most, where others are faster. Absent: 20. */
  readonly attemptsMax?: number | undefined;
  /** Where a policy has removed events that no snapshot makes up for. Absent: `"refuse"`. */
  readonly missingEvents?: MissingEvents | undefined;
}

export interface HandleOptions extends OperationOptions {
  /** For every event of the command, beside what the event has itself: causation, user ... */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface Repository<State, Command, E extends EventShape> {
  /**
   * Throws what `decide` throws, a `ConflictError` when others are always faster, a
   * `MissingEventsError` when the stream's state cannot be told, a `StoreError`.
   */
  handle(stream: string, command: Command, options?: HandleOptions): Promise<Handled<State, E>>;
  /** The state now, or after `version`. */
  load(
    stream: string,
    options?: OperationOptions & { readonly version?: number | undefined },
  ): Promise<Loaded<State>>;
  /** When every snapshot that was begun is saved or given up: before a process ends. */
  settled(): Promise<void>;
}

export function repository<State, Command, E extends EventShape>(
  client: AnnalsClient<E>,
  decider: Decider<State, Command, E>,
  options: RepositoryOptions<State> = {},
): Repository<State, Command, E> {
  const snapshots = options.snapshots && new StateSnapshots<State>(options.snapshots);
  const mutex = new KeyedMutex();
  const { initial, evolve } = decider;
  const fold = { initial, evolve, fromSnapshot: snapshots?.stateOf ?? (() => undefined) };
  const load: Repository<State, Command, E>["load"] = (stream, { version, ...call } = {}) =>
    client.load(stream, fold, {
      ...call,
      maxVersion: version,
      kind: snapshots?.kind,
      withoutSnapshot: snapshots === undefined,
      missingEvents: options.missingEvents,
    });

  async function handleOnce(
    stream: string,
    command: Command,
    attempts: number,
    { metadata, ...call }: HandleOptions,
  ): Promise<Handled<State, E>> {
    const { state, version, head, snapshotVersion } = await load(stream, call);
    const events = withMetadata(decided(decider, command, state), metadata);
    refuseOtherStreams(stream, events);
    if (events.length === 0) return { events: [], state, version, position: head, attempts };
    const appended = await client.append(stream, events, { ...call, expect: version });
    const handled = handledOf(decider, state, appended, attempts);
    if (snapshots?.isDue(stream, appended.version, snapshotVersion) === true) {
      snapshots.save(client, stream, appended.version, () => handled.state);
    }
    return handled;
  }

  return {
    load,
    handle: (stream, command, call = {}) =>
      mutex.take(stream, call.signal, () => {
        const conflicts: ConflictOptions = { ...options, signal: call.signal };
        return retryOnConflict((attempt) => handleOnce(stream, command, attempt, call), conflicts);
      }),
    settled: async () => snapshots?.settled(),
  };
}

/** The version that was loaded speaks of one stream: there is nothing to check another one by. */
function refuseOtherStreams(stream: string, events: readonly NewEventFacts[]): void {
  const other = events.find((event) => event.stream !== undefined && event.stream !== stream);
  if (other === undefined) return;
  throw invalidField("stream", `"${other.stream}" is not the aggregate's, "${stream}"`);
}

export function withMetadata<E extends EventShape>(
  events: readonly NewEvent<E>[],
  metadata: Readonly<Record<string, string>> | undefined,
): readonly NewEvent<E>[] {
  if (metadata === undefined) return events;
  return events.map((event) => ({ ...event, metadata: { ...metadata, ...event.metadata } }));
}
