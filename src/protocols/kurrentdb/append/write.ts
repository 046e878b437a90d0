// An append to any stream of this protocol: to an ordinary one, or to the metadata of a stream,
// which changes the stream's lifecycle.

import { AnnalsError } from "../../../domain/errors.ts";
import type { CancelSignal } from "../../../log/cancellation.ts";
import {
  appendToStream,
  expectedInLog,
  type AppendResult,
  type ExpectedRevision,
  type StreamAppend,
} from "./append-rules.ts";
import { metadataType, tombstoneVersion } from "../mapping/content.ts";
import type { CallerContext } from "../mapping/context.ts";
import { accessDenied, invalidArgument } from "../mapping/errors.ts";
import { storedAt, storedFrom, streamState } from "../mapping/look-up.ts";
import { metadataChange } from "../mapping/metadata.ts";
import { isReserved, streamTargetOf } from "../mapping/names.ts";
import { lifecycleStream } from "../../../domain/lifecycle/lifecycle-event.ts";

/** The name of the caller who changes a lifecycle, for its record. Empty: not authenticated. */
export function causedBy(principal: string) {
  return { actor: principal === "" ? "KurrentDB protocol" : principal, reason: "", principal };
}

/** Throws what appends throw, INVALID_ARGUMENT and PERMISSION_DENIED. */
export async function writeEvents(
  context: CallerContext,
  append: StreamAppend,
  signal?: CancelSignal,
): Promise<AppendResult> {
  const { stream } = append;
  if (isReserved(stream)) throw accessDenied();
  const target = streamTargetOf(stream);
  if (append.events.length === 0) return writeNothing(context, append);
  if (target.kind !== "metadata") return appendToStream(context, append, signal);
  return writeMetadata(context, target.name, append);
}

/** The present revision is the answer, if it is as expected. */
async function writeNothing(
  context: CallerContext,
  { stream, expected }: StreamAppend,
): Promise<AppendResult> {
  const state = await streamState(context, stream);
  if (state.isTombstoned) return { kind: "deleted" };
  const isEmpty = state.version === 0 || state.isDeleted;
  const isExact = expected.kind === "revision";
  if (!holds(expected, isEmpty && !isExact ? 0 : state.version))
    return { kind: "conflict", current: state.version - 1 };
  return { kind: "appended", revision: state.version - 1, position: 0 };
}

const metadataBytesMax = 64 * 1024;

/** `stream` is the one that the metadata is of. */
async function writeMetadata(
  context: CallerContext,
  stream: string,
  append: StreamAppend,
): Promise<AppendResult> {
  const { log } = context;
  const [event] = append.events;
  if (append.events.length > 1) throw invalidArgument("metadata is written one event at a time");
  if (event?.type !== metadataType) throw invalidArgument(`metadata is of type ${metadataType}`);
  if (event.data.length > metadataBytesMax) {
    throw invalidArgument(`metadata has more than ${metadataBytesMax} bytes`);
  }
  const repeated = await metadataRetry(context, stream, append);
  if (repeated !== undefined) return repeated;
  const state = await streamState(context, stream);
  const change = metadataChange(Buffer.from(event.data).toString("utf8"), event.id, state.version);
  const isEnded = state.isDeleted || state.isTombstoned;
  const left = state.isTombstoned ? await changesBeforeTombstone(context, stream) : undefined;
  if (left !== undefined && !holds(append.expected, left)) {
    return { kind: "conflict", current: left - 1 };
  }
  const isAny = append.expected.kind === "any";
  const request = {
    ...causedBy(append.principal),
    stream,
    expected: undefined,
    expectedChanges:
      left === undefined || isAny
        ? expectedInLog(append.expected)
        : ({ kind: "version", version: left + 1 } as const),
  };
  try {
    // Members besides `$tb` are kept first, as the deletion is the newer event.
    let position = 0;
    let expectedChanges = request.expectedChanges;
    if (!change.onlyDeletes || isEnded) {
      const update = { ...request, change: change.policy, evenIfTombstoned: true };
      ({ position } = await log.streams.update(update));
      expectedChanges = undefined;
    }
    if (change.deletes && !isEnded) {
      const removal = { ...request, expectedChanges, permanent: false, evenIfEmpty: true };
      ({ position } = await log.streams.remove(removal));
    }
    const changed = await storedAt(context, position);
    return { kind: "appended", revision: (changed?.version ?? 1) - 1, position };
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    if (error.reason === "STREAM_TOMBSTONED") return { kind: "deleted" };
    if (error.failure.reason !== "APPEND_CONFLICT") throw error;
    const [conflict] = error.failure.conflict.streams;
    return { kind: "conflict", current: (conflict?.actualVersion ?? 0) - 1 };
  }
}

/**
 * How often the metadata of a tombstoned stream was changed, if the tombstone was the last change:
 * clients do not count that one. Undefined: it was not the last.
 */
async function changesBeforeTombstone(
  context: CallerContext,
  stream: string,
): Promise<number | undefined> {
  const kept = lifecycleStream(stream);
  const { version } = await streamState(context, kept);
  const [newest] = await storedFrom(context, kept, version, 1);
  return newest?.version === tombstoneVersion ? version - 1 : undefined;
}

/** Whether a stream that got `version` events and is not deleted is as expected. */
function holds(expected: ExpectedRevision, version: number): boolean {
  switch (expected.kind) {
    case "any":
      return true;
    case "exists":
      return version > 0;
    case "none":
      return version === 0;
    case "revision":
      return Number(expected.revision) + 1 === version;
  }
}

/** The answer to an append that is stored already, by the id of its event. */
async function metadataRetry(
  context: CallerContext,
  stream: string,
  { expected, events }: StreamAppend,
): Promise<AppendResult | undefined> {
  const kept = lifecycleStream(stream);
  const { version } = await streamState(context, kept);
  const next = expected.kind === "revision" ? Number(expected.revision) + 2 : 1;
  const isExact = expected.kind === "revision" || expected.kind === "none";
  const from = isExact ? next : version;
  if (from < 1 || from > version) return undefined;
  // Clients do not count a tombstone: what they expected may be before it, and their event behind.
  const [first, second] = await storedFrom(context, kept, from, isExact ? 2 : 1);
  const stored = first?.version === tombstoneVersion ? second : first;
  if (stored === undefined || stored.id !== events[0]?.id) return undefined;
  return { kind: "appended", revision: stored.version - 1, position: stored.position };
}
