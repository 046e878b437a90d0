// Looks up what is stored of a stream, in the terms of this protocol.

import { AnnalsError } from "../../../domain/errors.ts";
import { stateOf } from "../../../domain/lifecycle/lifecycle.ts";
import { recordsIn } from "../../../domain/record.ts";
import type { Batch, ReadRequest, StreamInfo } from "../../../log/verbs.ts";
import type { CallerContext } from "./context.ts";
import { streamDeleted } from "./errors.ts";
import { presentedRecord } from "./metadata.ts";
import { selectEverything } from "./names.ts";
import { RecordView } from "./record-view.ts";

export interface KnownStream {
  /** How many events it ever got. */
  readonly version: number;
  readonly isDeleted: boolean;
  readonly isTombstoned: boolean;
  readonly hasMetadata: boolean;
  /** The version up to which it was deleted. 0: it never was. */
  readonly deletedThrough: number;
  /** The first version that is not removed. 0: there is none. */
  readonly firstVersion: number;
}

const unknownStream: KnownStream = {
  version: 0,
  isDeleted: false,
  isTombstoned: false,
  hasMetadata: false,
  deletedThrough: 0,
  firstVersion: 0,
};

export async function streamState(
  { log, caller }: CallerContext,
  stream: string,
): Promise<KnownStream> {
  let info: StreamInfo;
  try {
    info = await log.getStream(stream, caller);
  } catch (error) {
    if (error instanceof AnnalsError && error.reason === "STREAM_NOT_FOUND") return unknownStream;
    throw error;
  }
  const { version, lifecycle, firstVersion } = info;
  const state = stateOf(lifecycle, version);
  return {
    version,
    isDeleted: state === "deleted",
    isTombstoned: state === "tombstoned",
    hasMetadata: lifecycle !== undefined,
    deletedThrough: lifecycle?.deletion?.through ?? 0,
    firstVersion,
  };
}

/** Throws what clients are told of a tombstoned stream. */
export function assertNotTombstoned({ isTombstoned }: KnownStream, name: string): void {
  if (isTombstoned) throw streamDeleted(name);
}

/** As much as reading needs. */
type Looking = Pick<CallerContext, "log" | "caller">;

export interface StoredPlace {
  /** The id in this protocol. */
  readonly id: string;
  readonly stream: string;
  readonly version: number;
  readonly position: number;
}

/** The event at a position, removed or not. */
export async function storedAt(
  context: CallerContext,
  position: number,
): Promise<StoredPlace | undefined> {
  const at = { kind: "position", position } as const;
  const request = { selection: selectEverything, from: at, to: at } as const;
  return (await stored(context, { ...request, direction: "forwards" }))[0];
}

/** Events of a stream from a version on, removed or not. */
export function storedFrom(
  context: CallerContext,
  stream: string,
  version: number,
  limit: number,
): Promise<StoredPlace[]> {
  const selection = { kind: "stream", stream, withSystem: true } as const;
  const from = { kind: "version", version } as const;
  return stored(context, { selection, direction: "forwards", from, limit });
}

async function stored(context: Looking, request: ReadRequest): Promise<StoredPlace[]> {
  const found: StoredPlace[] = [];
  const view = new RecordView();
  for await (const record of recordsOfRead(context, { ...request, withRemoved: true })) {
    view.scan(record);
    if (view.isOfLifecycle) view.scan(presentedRecord(record, false));
    const { id, stream, version, position } = view;
    found.push({ id, stream, version, position });
  }
  return found;
}

/** The records of a read, one by one. */
export async function* recordsOfRead(
  { log, caller }: Looking,
  request: ReadRequest,
): AsyncGenerator<Uint8Array> {
  for await (const message of log.read(request, undefined, caller.gate)) {
    if (message.kind === "batch") yield* recordsOfBatch(message.batch);
  }
}

export function* recordsOfBatch({ frames }: Batch): Generator<Uint8Array> {
  for (const frame of frames) yield* recordsIn(frame);
}

/** The record of a revision. Undefined: it is removed, or there is none. */
export async function recordOfRevision(
  context: CallerContext,
  stream: string,
  revision: number,
): Promise<Uint8Array | undefined> {
  const selection = { kind: "stream", stream, withSystem: true } as const;
  const at = { kind: "version", version: revision + 1 } as const;
  const request: ReadRequest = { selection, direction: "forwards", from: at, to: at, limit: 1 };
  for await (const record of recordsOfRead(context, request)) return record;
  return undefined;
}
