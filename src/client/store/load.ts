// Load: the newest usable snapshot, the events after it, and where an append goes on; one call.

import type { LoadResponse } from "../../gen/annals/v1/snapshot_pb.js";
import { patiently } from "./retry.ts";
import type { Context, OperationOptions } from "./context.ts";
import { UnavailableError } from "./errors.ts";
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
}

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
  const loaded = await patiently(
    (call) => foldMessages(context.rpc.load(request, call), codec, fold),
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
): Promise<Loaded<State> | "no use"> {
  let state: State | undefined;
  let begun = false;
  let snapshotVersion = 0;
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
    if (!begun) state = initial();
    begun = true;
    if (message.case === "batch") {
      for (const event of message.value.events) {
        state = evolve(state as State, recordedEvent(rawEvent(event), codec));
      }
    }
    if (message.case === "end") {
      const version = safeInteger(message.value.version);
      return {
        state: state as State,
        version,
        head: safeInteger(message.value.head),
        after: safeInteger(message.value.after),
        snapshotVersion,
      };
    }
  }
  throw new UnavailableError("the stream was cut off before its end", "UNREACHABLE");
}
