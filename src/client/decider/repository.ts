// A repository: commands for aggregates that are streams. It loads, decides, and appends at the
// version that was loaded; after a conflict it starts over.

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
  /** Absent: no snapshots, so that every load reads the whole stream. */
  readonly snapshots?: SnapshotOptions<State> | undefined;
  /** The number of times a command is decided if there are conflicts. Absent: 20. */
  readonly attemptsMax?: number | undefined;
  /** What to do if a policy has removed events that no snapshot covers. Absent: `"refuse"`. */
  readonly missingEvents?: MissingEvents | undefined;
}

export interface HandleOptions extends OperationOptions {
  /** Added to the metadata of every event of the command: causation, user, ... */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface Repository<State, Command, E extends EventShape> {
  /**
   * Throws what `decide` throws, a `ConflictError` after the last attempt, a `MissingEventsError`
   * if the state is unknown because events were removed, a `StoreError`.
   */
  handle(stream: string, command: Command, options?: HandleOptions): Promise<Handled<State, E>>;
  /** The state now, or after `version`. */
  load(
    stream: string,
    options?: OperationOptions & { readonly version?: number | undefined },
  ): Promise<Loaded<State>>;
  /**
   * Resolves when every snapshot in progress is saved or given up. Call it before the process ends.
   */
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
    const { state, version, head, epoch, snapshotVersion } = await load(stream, call);
    const events = withMetadata(decided(decider, command, state), metadata);
    refuseOtherStreams(stream, events);
    if (events.length === 0) {
      return { events: [], state, version, position: head, epoch, attempts };
    }
    const appended = await client.append(stream, events, { ...call, expect: version, epoch });
    const handled = handledOf(decider, state, appended, attempts);
    if (snapshots?.isDue(stream, appended.version, snapshotVersion) === true) {
      snapshots.save(client, { stream, version: handled.version, epoch }, () => handled.state);
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

/**
 * The loaded version is that of one stream, so that events of other streams could not be checked.
 */
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
