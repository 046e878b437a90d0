// Delete and Tombstone: a stream ends until its next append, or for ever.

import { AnnalsError } from "../../../domain/errors.ts";
import type { StreamIdentifier } from "../../../gen/event_store/client/shared_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import { expectedRevisionOf } from "./append.ts";
import { expectedInLog, type ExpectedRevision } from "./append-rules.ts";
import type { CallerContext } from "../mapping/context.ts";
import { accessDenied, deleteConflict, invalidArgument, streamDeleted } from "../mapping/errors.ts";
import { streamState, type KnownStream } from "../mapping/look-up.ts";
import { isReserved, nameOf, streamTargetOf } from "../mapping/names.ts";
import { deleteNeeds, permit } from "../mapping/permissions.ts";
import { causedBy } from "./write.ts";

interface DeleteOptions {
  readonly streamIdentifier?: StreamIdentifier | undefined;
  readonly expectedStreamRevision: Parameters<typeof expectedRevisionOf>[0];
}

/** Returns the position of the deletion. Throws what clients parse. */
export async function endStream(
  context: CallerContext,
  options: DeleteOptions | undefined,
  permanent: boolean,
  call: Call,
): Promise<bigint> {
  if (options === undefined) throw invalidArgument("the options are missing");
  const stream = nameOf(options.streamIdentifier, context.limits);
  const expected = expectedRevisionOf(options.expectedStreamRevision);
  if (isReserved(stream) || streamTargetOf(stream).kind !== "stream") throw accessDenied();
  permit(call, deleteNeeds(stream));
  const state = await streamState(context, stream);
  assertDeletable(state, stream, expected, permanent);
  // A stream of metadata alone exists, and one that is tombstoned need not.
  const wanted = expected.kind === "exists" ? undefined : expectedInLog(expected);
  try {
    const { position } = await context.log.streams.remove(
      { ...causedBy(call.principal), stream, expected: wanted, permanent, evenIfEmpty: true },
      call.signal,
    );
    return BigInt(position);
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    const { failure } = error;
    if (failure.reason === "STREAM_TOMBSTONED") throw streamDeleted(stream);
    if (failure.reason !== "APPEND_CONFLICT") throw error;
    throw conflict(stream, expected, failure.conflict.streams[0]?.actualVersion ?? 0);
  }
}

function assertDeletable(
  state: KnownStream,
  stream: string,
  expected: ExpectedRevision,
  permanent: boolean,
): void {
  if (state.isTombstoned) throw streamDeleted(stream);
  if (expected.kind === "exists" && state.isDeleted) throw streamDeleted(stream);
  const isUnknown = state.version === 0 && !state.hasMetadata;
  if (isUnknown && (!permanent || expected.kind === "exists")) throw conflict(stream, expected, 0);
}

function conflict(stream: string, expected: ExpectedRevision, version: number) {
  const numbers = { none: -1n, any: -2n, exists: -4n } as const;
  const wanted = expected.kind === "revision" ? expected.revision : numbers[expected.kind];
  return deleteConflict(stream, wanted, BigInt(version - 1));
}
