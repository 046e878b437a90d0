// Load: the newest usable snapshot, the events after it, and the version and position for the next
// append, in one call.

import type { RecordedEvent as WireRecorded } from "../../gen/annals/v1/event_pb.js";
import type { LoadResponse } from "../../gen/annals/v1/snapshot_pb.js";
import { patiently } from "./retry.ts";
import { firstConnection, type Context, type OperationOptions } from "./context.ts";
import { MissingEventsError, UnavailableError } from "./errors.ts";
import {
  rawEvent,
  recordedEvent,
  type EventCodec,
  type EventShape,
  type RecordedEvent,
} from "./event.ts";
import { safeInteger, wireInteger } from "./numbers.ts";
import { snapshotOf, type Snapshot } from "./snapshots.ts";

export interface LoadOptions extends OperationOptions {
  readonly kind?: string | undefined;
  /** The state as of this version. Absent: as of now. */
  readonly maxVersion?: number | undefined;
  /** Every event, and no snapshot. */
  readonly withoutSnapshot?: boolean | undefined;
  /** Absent: `"refuse"`. */
  readonly missingEvents?: MissingEvents | undefined;
}

/**
 * What to do if a policy has removed events that no snapshot covers. `"refuse"`: fail with a
 * `MissingEventsError`. `"accept"`: fold the events that are left; for folds that allow it, and for
 * streams that are kept in part intentionally.
 */
export type MissingEvents = "refuse" | "accept";

/** How to compute a state, from the start or from a snapshot. */
export interface Fold<State, E extends EventShape> {
  readonly initial: () => State;
  readonly evolve: (state: State, event: RecordedEvent<E>) => State;
  /** Undefined: the snapshot cannot be used. */
  readonly fromSnapshot: (snapshot: Snapshot) => State | undefined;
}

export interface Loaded<State> {
  readonly state: State;
  /** The version to expect in an append. 0: the stream has no events. */
  readonly version: number;
  /** The head of which this is a view. */
  readonly head: number;
  /**
   * The position to use as a condition's `after`. Later events of the stream are not in the state.
   */
  readonly after: number;
  /** The epoch of the version and the positions. Empty: the server names none. */
  readonly epoch: string;
  /** The version of the snapshot that was used. 0: none. */
  readonly snapshotVersion: number;
  /** The last version that the state lacks, if that was accepted. 0: it lacks none. */
  readonly missingThrough: number;
}

/** Folds a stream event by event and keeps only the state. Starts over if the call is cut off. */
export async function loadStream<State, E extends EventShape>(
  context: Context,
  codec: EventCodec<E>,
  stream: string,
  fold: Fold<State, E>,
  options: LoadOptions = {},
): Promise<Loaded<State>> {
  const { kind = "", maxVersion = 0, withoutSnapshot = false } = options;
  const bound = wireInteger(maxVersion, "maxVersion");
  const request = { stream, snapshotKind: kind, maxVersion: bound, withoutSnapshot };
  await firstConnection(context, options);
  const loaded = await patiently(
    (call) => foldMessages(context.rpc.load(request, call), codec, fold, { stream, ...options }),
    {
      policy: context.retry,
      timeoutMs: options.timeoutMs ?? context.timeoutMs,
      // A long stream takes time: one attempt may use all of it.
      attemptTimeoutMs: options.timeoutMs ?? context.timeoutMs,
      signal: options.signal,
    },
  );
  if (loaded !== "no use") return loaded;
  return loadStream(context, codec, stream, fold, { ...options, withoutSnapshot: true });
}

async function foldMessages<State, E extends EventShape>(
  messages: AsyncIterable<LoadResponse>,
  codec: EventCodec<E>,
  { initial, evolve, fromSnapshot }: Fold<State, E>,
  { stream, missingEvents = "refuse" }: Pick<LoadOptions, "missingEvents"> & { stream: string },
): Promise<Loaded<State> | "no use"> {
  let state: State | undefined;
  let begun = false;
  let snapshotVersion = 0;
  let mayLack = false;
  let failed: { readonly error: unknown } | undefined;
  const fold = (event: WireRecorded): void => {
    state = evolve(state as State, recordedEvent(rawEvent(event), codec));
  };
  for await (const { message } of messages) {
    if (message.case === "snapshot") {
      const snapshot = snapshotOf(message.value);
      const found = fromSnapshot(snapshot);
      if (found === undefined) return "no use";
      state = found;
      begun = true;
      snapshotVersion = snapshot.version;
      continue;
    }
    if (!begun) {
      state = initial();
      mayLack = message.case !== "batch" || message.value.events[0]?.version !== 1n;
    }
    begun = true;
    if (message.case === "batch" && failed === undefined) {
      try {
        message.value.events.forEach(fold);
      } catch (error) {
        failed = { error };
      }
      // Missing events may be the reason. The end of the answer tells.
      if (failed !== undefined && !mayLack) throw failed.error;
    }
    if (message.case === "end") {
      const { version, head, after, epoch, missingThrough } = message.value;
      if (missingThrough > 0n && missingEvents === "refuse") {
        throw new MissingEventsError(stream, safeInteger(missingThrough), failed?.error);
      }
      if (failed !== undefined) throw failed.error;
      return {
        state: state as State,
        version: safeInteger(version),
        head: safeInteger(head),
        after: safeInteger(after),
        epoch,
        snapshotVersion,
        missingThrough: safeInteger(missingThrough),
      };
    }
  }
  throw new UnavailableError("the stream was cut off before its end", "UNREACHABLE");
}
