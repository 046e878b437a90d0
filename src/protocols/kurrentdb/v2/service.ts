// The service StreamsService of version 2: appends to several streams.

import { create, type DescMessage } from "@bufbuild/protobuf";
import { eventObjectBytes } from "../../../domain/append.ts";
import { Effort, type Steps } from "../../../domain/steps.ts";
import {
  AppendRecordSchema,
  AppendRecordsRequestSchema,
  AppendRecordsResponseSchema,
  AppendSessionResponseSchema,
  AppendRequestSchema,
  StreamsService,
  type AppendRecord,
  type AppendRecordsRequest,
  type AppendRecordsResponse,
  type AppendSessionResponse,
} from "../../../gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import { splitRequest, type SplitRequest } from "../../../grpc/transport/decode.ts";
import { handling, type BoundService } from "../../../grpc/transport/methods.ts";
import { StatusCode, StatusError } from "../../../grpc/transport/status.ts";
import type { ExpectedRevision } from "../append/append-rules.ts";
import { oneByOne } from "../append/append.ts";
import { onBehalfOf, type CallerContext, type LogContext } from "../mapping/context.ts";
import { accessDenied, invalidArgument } from "../mapping/errors.ts";
import { streamState } from "../mapping/look-up.ts";
import { checkedName, isReserved, streamTargetOf } from "../mapping/names.ts";
import { judged, permit, readNeeds, writeNeeds } from "../mapping/permissions.ts";
import {
  appendToStreams,
  type StreamsAppend,
  type StreamsAppended,
  type StreamsResult,
} from "./append-streams.ts";
import {
  alreadyInSession,
  inconsistent,
  isDeleted,
  isTombstoned,
  revisionConflict,
  transactionTooLarge,
  type Violation,
} from "./errors.ts";
import { proposedOf } from "./records.ts";

export function streamsV2(context: LogContext): BoundService {
  const handlers = {
    appendSession: {
      bytes: (requests: AsyncIterable<readonly Buffer[]>, call: Call) =>
        appendSession(onBehalfOf(call, context), requests, call),
    },
    appendRecords: {
      bytes: (request: Buffer, call: Call) =>
        appendRecords(onBehalfOf(call, context), request, call),
    },
  };
  return handling(StreamsService, handlers, { appendSession: judged, appendRecords: judged });
}

const states = { none: -1n, any: -2n, exists: -4n } as const;
/** The states of a deleted stream, and of one that is deleted for ever. */
const deletedState = -5n;
const tombstonedState = -6n;

/** Throws INVALID_ARGUMENT. */
function expectedOfState(state: bigint): ExpectedRevision {
  if (state >= 0n) return { kind: "revision", revision: state };
  if (state === states.none) return { kind: "none" };
  if (state === states.any) return { kind: "any" };
  if (state === states.exists) return { kind: "exists" };
  throw invalidArgument(`there is no stream state ${state}`);
}

/** What it costs to read a record, and each byte of it: see domain/steps.ts. */
const recordCost = 768;
const byteShare = 1 / 16;

/** The records of a request, as far as they have come. */
class Records {
  readonly expectations = new Map<string, ExpectedRevision>();
  readonly records: StreamsAppend["records"][number][] = [];
  readonly principal: string;
  private readonly context: LogContext;
  private readonly call: Call;
  private bytes = 0;

  constructor(context: LogContext, call: Call) {
    this.context = context;
    this.call = call;
    this.principal = call.principal;
  }

  private add(stream: string, record: AppendRecord): void {
    const { limits } = this.context;
    const event = proposedOf(record, stream, limits);
    this.bytes += event.data.length + event.metadata.length;
    if (this.bytes > limits.appendBytesMax) {
      throw transactionTooLarge(this.bytes, limits.appendBytesMax);
    }
    this.call.hold(event.data.length + event.metadata.length + eventObjectBytes);
    this.records.push({ stream, event });
  }

  *addEach(
    { entries, decode }: Pick<SplitRequest<DescMessage>, "entries" | "decode">,
    streamOf: (record: AppendRecord) => string,
  ): Steps<void> {
    const effort = new Effort();
    for (const [i, entry] of entries.entries()) {
      const record = yield* decode(AppendRecordSchema, entry, i);
      this.add(streamOf(record), record);
      if (effort.spend(recordCost + entry.length * byteShare)) yield effort.take();
    }
  }

  /** The name of a stream that may be written to. */
  named(stream: string): string {
    const name = checkedName(Buffer.from(stream), this.context.limits);
    if (isReserved(name)) throw accessDenied();
    if (streamTargetOf(name).kind === "stream") return name;
    throw invalidArgument(`${name} is not written in several streams at once`);
  }
}

async function appendSession(
  context: CallerContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
): Promise<AppendSessionResponse> {
  const all = new Records(context, call);
  for await (const bytes of oneByOne(requests)) {
    const { rest: request, entries, decode } = splitRequest(AppendRequestSchema, "records", bytes);
    const stream = all.named(request.stream);
    if (all.expectations.has(stream)) throw alreadyInSession(stream);
    if (entries.length === 0) throw invalidArgument("a request has at least one record");
    all.expectations.set(stream, expectedOfState(request.expectedRevision ?? states.any));
    permit(call, writeNeeds(stream));
    await call.inSteps(all.addEach({ entries, decode }, () => stream));
  }
  assertSome(all);
  // Checked again, because grants may have changed while the session was open.
  permit(call, [...all.expectations.keys()].flatMap(writeNeeds));
  const result = await appendToStreams(context, all, call);
  if (result.kind !== "appended") throw await sessionFailure(context, all, result);
  return create(AppendSessionResponseSchema, {
    position: BigInt(result.position),
    output: result.streams.map(({ stream, revision, position }) => ({
      stream,
      streamRevision: BigInt(revision),
      ...(position !== undefined && { position: BigInt(position) }),
    })),
  });
}

function assertSome({ records }: Records): void {
  if (records.length > 0) return;
  throw new StatusError(StatusCode.FAILED_PRECONDITION, "there is nothing to append");
}

type Refusal = Exclude<StreamsResult, StreamsAppended>;

async function sessionFailure(
  context: CallerContext,
  { expectations }: Records,
  refusal: Refusal,
): Promise<StatusError> {
  const conflict = refusal.kind === "conflict" ? refusal.streams[0] : undefined;
  const stream = refusal.kind === "conflict" ? (conflict?.stream ?? "") : refusal.stream;
  const expected = numberOf(expectations.get(stream));
  const actual = await actualState(context, stream);
  if (actual === tombstonedState) return isTombstoned(stream);
  const isGone = actual === deletedState && expected === states.exists;
  if (refusal.kind === "deleted" || isGone) return isDeleted(stream);
  const revision = await lastRevision(context, stream);
  return revisionConflict(stream, expected, revision);
}

function numberOf(expected: ExpectedRevision | undefined): bigint {
  if (expected === undefined) return states.any;
  return expected.kind === "revision" ? expected.revision : states[expected.kind];
}

async function lastRevision(context: CallerContext, stream: string): Promise<bigint> {
  const { version } = await streamState(context, stream);
  return BigInt(version - 1);
}

async function actualState(context: CallerContext, stream: string): Promise<bigint> {
  const state = await streamState(context, stream);
  if (state.isTombstoned) return tombstonedState;
  return state.isDeleted ? deletedState : BigInt(state.version - 1);
}

async function appendRecords(
  context: CallerContext,
  bytes: Buffer,
  call: Call,
): Promise<AppendRecordsResponse> {
  const all = new Records(context, call);
  const { rest: request, ...sent } = splitRequest(AppendRecordsRequestSchema, "records", bytes);
  await call.inSteps(all.addEach(sent, ({ stream }) => all.named(stream)));
  assertSome(all);
  for (const { stream } of all.records) permit(call, writeNeeds(stream));
  for (const [stream, expected] of checksOf(context, request)) {
    permit(call, readNeeds(stream));
    all.expectations.set(stream, expected);
  }
  const result = await appendToStreams(context, all, call);
  if (result.kind !== "appended") throw await recordsFailure(context, request, all, result);
  return create(AppendRecordsResponseSchema, {
    position: BigInt(result.position),
    revisions: result.streams.map(({ stream, revision }) => ({
      stream,
      revision: BigInt(revision),
    })),
  });
}

/** Throws INVALID_ARGUMENT. */
function checksOf({ limits }: LogContext, { checks }: AppendRecordsRequest) {
  const expectations = new Map<string, ExpectedRevision>();
  for (const { type } of checks) {
    if (type.case === undefined) throw invalidArgument("a check is empty");
    const stream = checkedName(Buffer.from(type.value.stream), limits);
    if (expectations.has(stream)) throw invalidArgument(`${stream} is checked twice`);
    expectations.set(stream, expectedOfState(type.value.expectedState));
  }
  return expectations;
}

async function recordsFailure(
  context: CallerContext,
  { checks }: AppendRecordsRequest,
  all: Records,
  refusal: Refusal,
): Promise<StatusError> {
  const conflicts = refusal.kind === "conflict" ? refusal.streams : [refusal];
  const streams = new Set(conflicts.map(({ stream }) => stream));
  const violations: Violation[] = [];
  for (const [checkIndex, { type }] of checks.entries()) {
    const { stream = "", expectedState: expected = states.any } = type.value ?? {};
    if (!streams.has(stream)) continue;
    violations.push({ checkIndex, stream, expected, actual: await actualState(context, stream) });
  }
  const isChecked = violations.length > 0;
  return isChecked ? inconsistent(violations) : sessionFailure(context, all, refusal);
}
