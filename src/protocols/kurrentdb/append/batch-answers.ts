// The answers of a BatchAppend call. An answer says of which append it is by the client's own id.

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, EmptySchema, type Any } from "@bufbuild/protobuf/wkt";
import { varintBytes, writeVarint } from "../../../domain/wire.ts";
import {
  AccessDeniedSchema,
  BadRequestSchema,
  MaximumAppendSizeExceededSchema,
  StreamDeletedSchema,
  TimeoutSchema,
  UnknownSchema,
  WrongExpectedVersionSchema,
} from "../../../gen/event_store/client/shared_pb.js";
import type { BatchAppendResp } from "../../../gen/event_store/client/streams/streams_pb.js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.js";
import type { Encoded } from "../../../grpc/transport/methods.ts";
import { StatusCode } from "../../../grpc/transport/status.ts";
import type { AppendResult, ExpectedRevision } from "./append-rules.ts";
import type { BatchedAppend } from "./batch-requests.ts";
import { fieldSize, writeBytesField } from "../mapping/bytes.ts";
import type { LogContext } from "../mapping/context.ts";
import { kurrentStatus } from "../mapping/errors.ts";

const emptyBytes = toBinary(EmptySchema, create(EmptySchema));

/** The answer to an append that is stored. */
export function success(
  batch: BatchedAppend,
  { revision, position }: AppendResult & { kind: "appended" },
): Encoded<BatchAppendResp> {
  const at = 2 * (1 + varintBytes(position));
  const bytes =
    (revision < 0 ? fieldSize(emptyBytes.length) : 1 + varintBytes(revision)) +
    (position === 0 ? fieldSize(emptyBytes.length) : fieldSize(at));
  const [into, from] = envelope(batch, 0x1a, bytes);
  let offset = from;
  if (revision < 0) offset = writeBytesField(into, offset, 0x12, emptyBytes);
  else {
    into[offset] = 0x08;
    offset = writeVarint(into, offset + 1, revision);
  }
  if (position === 0) writeBytesField(into, offset, 0x22, emptyBytes);
  else {
    into[offset] = 0x1a;
    offset = writeVarint(into, offset + 1, at);
    into[offset] = 0x08;
    offset = writeVarint(into, offset + 1, position);
    into[offset] = 0x10;
    writeVarint(into, offset + 1, position);
  }
  return into;
}

/** Correlation id and stream around a result. Returns the buffer and where the result begins. */
function envelope(
  batch: BatchedAppend,
  tag: number,
  bytes: number,
): [Encoded<BatchAppendResp>, number] {
  const { correlation, identifier } = batch;
  const name = fieldSize(identifier.length);
  const length = fieldSize(correlation.length) + fieldSize(name) + fieldSize(bytes);
  const into = Buffer.allocUnsafe(length);
  let offset = writeBytesField(into, 0, 0x0a, correlation);
  into[offset] = 0x22;
  offset = writeVarint(into, offset + 1, name);
  offset = writeBytesField(into, offset, 0x1a, identifier);
  into[offset] = tag;
  return [into, writeVarint(into, offset + 1, bytes)];
}

export function refused(batch: BatchedAppend, result: Exclude<AppendResult, { kind: "appended" }>) {
  if (result.kind === "deleted") {
    const message = `Event stream '${batch.stream}' is deleted.`;
    const streamIdentifier = { streamName: batch.identifier };
    const detail = anyPack(StreamDeletedSchema, create(StreamDeletedSchema, { streamIdentifier }));
    return errorAnswer(batch, StatusCode.NOT_FOUND, message, detail);
  }
  const { current } = result;
  const wire = create(WrongExpectedVersionSchema, {
    currentStreamRevisionOption:
      current < 0
        ? { case: "currentNoStream", value: create(EmptySchema) }
        : { case: "currentStreamRevision", value: BigInt(current) },
    expectedStreamPositionOption: wireExpected(batch.expected),
  });
  const detail = anyPack(WrongExpectedVersionSchema, wire);
  return errorAnswer(batch, StatusCode.ALREADY_EXISTS, "Wrong expected version", detail);
}

function wireExpected(expected: ExpectedRevision) {
  const value = create(EmptySchema);
  switch (expected.kind) {
    case "revision":
      return { case: "expectedStreamPosition", value: expected.revision } as const;
    case "any":
      return { case: "expectedAny", value } as const;
    case "exists":
      return { case: "expectedStreamExists", value } as const;
    case "none":
      return { case: "expectedNoStream", value } as const;
  }
}

/** The answer to an append that threw. */
export function failedBatch(
  { limits }: LogContext,
  batch: BatchedAppend,
  thrown: unknown,
): Encoded<BatchAppendResp> {
  const { code, message, trailers = [] } = kurrentStatus(thrown);
  const exception = trailers.find(([name]) => name === "exception")?.[1];
  if (exception === "maximum-append-size-exceeded") {
    const maxAppendSize = limits.appendBytesMax;
    const wire = create(MaximumAppendSizeExceededSchema, { maxAppendSize });
    return errorAnswer(batch, code, message, anyPack(MaximumAppendSizeExceededSchema, wire));
  }
  switch (code) {
    case StatusCode.INVALID_ARGUMENT:
      return errorAnswer(
        batch,
        code,
        message,
        anyPack(BadRequestSchema, create(BadRequestSchema, { message })),
      );
    case StatusCode.PERMISSION_DENIED:
      return errorAnswer(
        batch,
        code,
        message,
        anyPack(AccessDeniedSchema, create(AccessDeniedSchema)),
      );
    case StatusCode.DEADLINE_EXCEEDED:
      return errorAnswer(batch, code, "Timeout", anyPack(TimeoutSchema, create(TimeoutSchema)));
    default:
      return errorAnswer(batch, code, message, anyPack(UnknownSchema, create(UnknownSchema)));
  }
}

function errorAnswer(batch: BatchedAppend, code: StatusCode, message: string, detail: Any) {
  const status = create(StatusSchema, { code, message, details: [detail] });
  const bytes = toBinary(StatusSchema, status);
  const [into, at] = envelope(batch, 0x12, bytes.length);
  into.set(bytes, at);
  return into;
}

/** The answers of a call that are ready, and how many appends wait for theirs. */
export class Answers {
  private readonly countMax: number;
  private readonly bytesMax: number;
  private answered: Encoded<BatchAppendResp>[] = [];
  private count = 0;
  private bytes = 0;
  private closed = false;
  private reader: (() => void) | undefined;
  private writer: (() => void) | undefined;

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  get isFull(): boolean {
    return this.count >= this.countMax || this.bytes >= this.bytesMax;
  }

  enter(bytes: number): void {
    this.count++;
    this.bytes += bytes;
  }

  add(answer: Encoded<BatchAppendResp>, bytes: number): void {
    this.answered.push(answer);
    this.count--;
    this.bytes -= bytes;
    this.writer?.();
  }

  /** Resolves when there is room for another append. */
  async room(): Promise<void> {
    while ((this.isFull || this.answered.length > this.countMax) && !this.closed) {
      await new Promise<void>((resolve) => {
        this.reader = resolve;
      });
    }
  }

  /** Undefined: there will be no more. */
  async ready(): Promise<readonly Encoded<BatchAppendResp>[] | undefined> {
    for (;;) {
      if (this.answered.length > 0) {
        const { answered } = this;
        this.answered = [];
        this.reader?.();
        return answered;
      }
      if (this.closed && this.count === 0) return undefined;
      await new Promise<void>((resolve) => {
        this.writer = resolve;
      });
    }
  }

  /** No append enters any more. */
  close(): void {
    this.closed = true;
    this.reader?.();
    this.writer?.();
  }
}
