// Load: the newest usable snapshot, the events after it, and where an append goes on; one call.

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
 * What to do where a policy has removed events that no snapshot makes up for. `"refuse"`: fail with
 * a `MissingEventsError`. `"accept"`: fold what is left; for folds that can bear it, and for
 * streams that are kept on purpose only in part.
 */
export type MissingEvents = "refuse" | "accept";

/** How to fold what is loaded, from the start or from a snapshot. */
export interface Fold<State, E extends EventShape> {
  readonly initial: () => State;
  readonly evolve: (state: State, event: RecordedEvent<E>) => State;
  /** Undefined: the snapshot is of no use, begin without it. */
  readonly fromSnapshot: (snapshot: Snapshot) => State | undefined;
}

export interface Loaded<State> {
  readonly state: State;
  /** What to expect in an append; 0: the stream has no events. */
  readonly version: number;
  /** The head this is a view of. */
  readonly head: number;
  /** What to use as a condition's `after`: events of the stream after it are not in the state. */
  readonly after: number;
  /** Of the snapshot that was used; 0: none. */
  readonly snapshotVersion: number;
  /** The last version that the state lacks; 0: it lacks none. Only where that was accepted. */
  readonly missingThrough: number;
}

/** Folds a stream, event by event: only the state is kept. Begins anew where it is cut off. */
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
      // A long stream takes its time: one attempt may use up all there is.
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
        for (const event of message.value.events) {
          state = evolve(state as State, recordedEvent(rawEvent(event), codec));
        }
      } catch (error) {
        // What is missing may be why; the end says whether anything is.
        if (!mayLack) throw error;
        failed = { error };
      }
    }
    if (message.case === "end") {
      const { version, head, after, missingThrough } = message.value;
      if (missingThrough > 0n && missingEvents === "refuse") {
        throw new MissingEventsError(stream, safeInteger(missingThrough), failed?.error);
      }
      if (failed !== undefined) throw failed.error;
      return {
        state: state as State,
        version: safeInteger(version),
        head: safeInteger(head),
        after: safeInteger(after),
        snapshotVersion,
        missingThrough: safeInteger(missingThrough),
      };
    }
  }
  throw new UnavailableError("the stream was cut off before its end", "UNREACHABLE");
}
