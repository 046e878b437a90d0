// Append and AppendPipe, from request bytes to the log and back. AppendPipe is a pipe of
// independent appends. Further appends are read while earlier ones wait for the disk, as far as the
// window allows. They are answered in order, and a refusal is an answer like any other.

import { create, toBinary } from "@bufbuild/protobuf";
import { eventObjectBytes, type Append, type Appended, type Outcome } from "../../domain/append.ts";
import { currentEpoch } from "../../domain/epoch.ts";
import {
  AnnalsError,
  appendConflict,
  beyondHead,
  checkpointBackwards,
  checkpointConflict,
  epochMismatched,
  invalidField,
  streamTombstoned,
  timeBackwards,
} from "../../domain/errors.ts";
import type { Steps } from "../../domain/steps.ts";
import { WireReader } from "../../domain/wire.ts";
import {
  AppendFailureSchema,
  AppendPipeRequestSchema,
  type AppendPipeResponse,
  type AppendResponse,
} from "../../gen/annals/v1/append_pb.js";
import { appendResponse, pipeResponse, tagAppendEpoch } from "../convert/append-answer.ts";
import { appendInSteps } from "../convert/append-bytes.ts";
import { epochField } from "../convert/epoch.ts";
import type { Encoded } from "../transport/methods.ts";
import { failed, traceIdOf, type Call } from "../transport/call-environment.ts";
import { splitRequest } from "../transport/decode.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";

export function appendMethods(services: ServiceContext) {
  const { history } = services.log.info().identity;
  const context = {
    ...services,
    epoch: epochField(tagAppendEpoch, currentEpoch(history)),
    asksWhoCalls: services.environment.access !== undefined,
  };
  return {
    append: { bytes: appendOnce(context) },
    appendPipe: { bytes: (requests, call) => appendPipe(context, requests, call) },
  } satisfies EventStoreMethods;
}

/** What every append needs. */
interface AppendContext extends ServiceContext {
  /** `AppendResponse.epoch`, encoded. */
  readonly epoch: Buffer;
  /** Whether the server authenticates callers. */
  readonly asksWhoCalls: boolean;
}

/** The way of one append. What every append needs is looked up once, here. */
function appendOnce(context: AppendContext) {
  const { log, epoch, asksWhoCalls, recordsTraces } = context;
  return async (request: Buffer, call: Call): Promise<Encoded<AppendResponse>> => {
    const converted = call.inSteps(appendInSteps(request, context));
    const whole = "then" in converted ? await converted : converted;
    const asked = asksWhoCalls ? permitted(whole, call) : whole;
    const append = recordsTraces ? traced(asked, call) : asked;
    if (call.isRepeated) checkRepeatable(append);
    call.hold(append.events.length * eventObjectBytes);
    const { outcome, head } = await log.append(append, call, call);
    if (outcome.kind !== "appended") throw refusalOf(outcome);
    return appendResponse(outcome, head, epoch);
  };
}

/**
 * A gRPC library that retries by a service config does not know whether an append may be repeated.
 * Without ids, and without an expectation that the first attempt would have ended, it would be
 * stored twice if only the answer was lost.
 */
function checkRepeatable({ events, expectations }: Append): void {
  const without = events.findIndex(({ idFromClient }) => !idFromClient);
  const isGuarded = expectations.some(
    ({ stream, expected }) =>
      expected.kind !== "exists" && events.some((event) => event.stream === stream),
  );
  if (without < 0 || isGuarded) return;
  throw invalidField(
    `events[${without}].id`,
    "is required in a call that is repeated: an earlier attempt may have been stored",
  );
}

/** The append with who asks for it. Throws PERMISSION_DENIED. */
function permitted(append: Append, call: Call): Append {
  call.permit(append);
  const { principal } = call;
  if (principal === "") return append;
  const bytes = append.bytes + append.events.length * Buffer.byteLength(principal);
  return { ...append, principal, bytes };
}

/** The append with the trace that its call is part of. A pipe is one call of many appends. */
function traced(append: Append, call: Call): Append {
  if (traceIdOf(call.traceParent) === undefined) return append;
  const { traceParent = "" } = call;
  if (traceParent.length > traceParentCharsMax) return append;
  const bytes = append.bytes + append.events.length * traceParent.length;
  return { ...append, traceParent, bytes };
}

function refusalOf(outcome: Exclude<Outcome, Appended>): AnnalsError {
  switch (outcome.kind) {
    case "conflict":
      return appendConflict(outcome);
    case "event-id-conflict": {
      const [first] = outcome.events;
      const more = outcome.events.length > 1 ? ` (and ${outcome.events.length - 1} more)` : "";
      const where = first?.isElsewhere === true ? "elsewhere" : `at position ${first?.position}`;
      const message = `event ${first?.id} is recorded ${where}, but with ${
        first === undefined ? "" : problemTexts[first.problem]
      }${more}`;
      return new AnnalsError({ reason: "EVENT_ID_CONFLICT", conflict: outcome }, message);
    }
    case "tombstoned":
      return streamTombstoned(outcome);
    case "time-backwards":
      return timeBackwards(`events[${outcome.index}].recorded_at`, outcome);
    case "checkpoint-backwards":
      return checkpointBackwards(outcome);
    case "checkpoint-conflict":
      return checkpointConflict(outcome);
    case "beyond-head":
      return beyondHead(outcome);
    case "epoch-mismatch":
      return epochMismatched(outcome);
  }
}

const problemTexts = {
  "other-content": "other content",
  "other-stream": "another stream",
  "other-order": "another order of events",
  "partly-recorded": "others of this append missing",
} as const;

/** Of version 00. Later versions may have more behind it, which is not recorded. */
const traceParentCharsMax = 55;

/** What an append of a pipe takes in memory until its answer is sent, beside its own bytes. */
const pipeAnswerBytes = 512;
const pipeMethod = "/annals.v1.EventStoreService/AppendPipe";
const tagAppend = 0x0a;
const tagAppended = 0x12;
const tagFailure = 0x1a;

/** The answer to one append of a pipe. */
interface PipeAnswer {
  readonly bytes: number;
  answer: Encoded<AppendPipeResponse> | undefined;
  /** Called when there is an answer. */
  readonly answered: () => void;
}

/** Yields the answers in order, as many at a time as are ready. Throws if the pipe ends early. */
async function* appendPipe(
  context: AppendContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
): AsyncGenerator<readonly Encoded<AppendPipeResponse>[]> {
  const window = new Window(context.limits.pipeAppendsMax, context.limits.pipeBytesMax);
  const reading = takeAll(context, requests, call, window).finally(() => window.close());
  // A failure is for the end of the pipe; a pipe that ends early never asks for it.
  reading.catch(() => {});
  try {
    for (;;) {
      const answers = await window.answers();
      if (answers.length === 0) break;
      yield answers;
      window.leave(answers.length);
      call.release(answers.length * pipeAnswerBytes);
    }
  } finally {
    window.close();
  }
  await reading;
}

/** Begins every append of the pipe, at most as many at a time as the window holds. */
async function takeAll(
  context: AppendContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
  window: Window,
): Promise<void> {
  let sequence = 0;
  for await (const some of requests) {
    for (const request of some) {
      sequence++;
      call.hold(pipeAnswerBytes);
      const converted = convertOne(context, request, call);
      // In order: an append that needs a lookup first is not overtaken by later ones.
      const append = "then" in converted ? await converted : converted;
      void appendOne(context, append, sequence, call, window.enter(request.length));
      if (window.isFull) await window.room();
      if (window.isClosed) return;
    }
  }
}

/** Completes the pipe's answer to an append. Never rejects. */
async function appendOne(
  context: AppendContext,
  append: Append | Refused,
  sequence: number,
  call: Call,
  pending: PipeAnswer,
): Promise<void> {
  let heldBytes = 0;
  try {
    if ("refused" in append) throw append.refused;
    if (call.reason !== undefined) throw call.reason;
    const bytes = pending.bytes + append.events.length * eventObjectBytes;
    call.hold(bytes);
    heldBytes = bytes;
    // Without the call's signal: a thousand listeners on one signal cost more than the few appends
    // that are stored although their pipe was just cut off. Their outcome is unknown to the client
    // anyway.
    const { outcome, head } = await context.log.append(append, undefined, call);
    if (outcome.kind !== "appended") throw refusalOf(outcome);
    const answer = appendResponse(outcome, head, context.epoch);
    pending.answer = pipeResponse(sequence, tagAppended, answer);
  } catch (error) {
    const { code, message, details } = failed(context.environment, pipeMethod, call, error);
    const failure = create(AppendFailureSchema, { code, message, details });
    pending.answer = pipeResponse(sequence, tagFailure, toBinary(AppendFailureSchema, failure));
  }
  call.release(heldBytes);
  pending.answered();
}

/** Why one request of the pipe is not a valid append. */
interface Refused {
  readonly refused: unknown;
}

/** Neither throws nor rejects. */
function convertOne(
  context: AppendContext,
  request: Buffer,
  call: Call,
): Append | Refused | Promise<Append | Refused> {
  const lookedAhead = (converted: Append): Append | Promise<Append | Refused> => {
    const append = context.asksWhoCalls ? permitted(converted, call) : converted;
    return (
      context.log.lookAhead(append, call.gate)?.catch((refused: unknown) => ({ refused })) ?? append
    );
  };
  try {
    const converted = call.inSteps(convert(context, request));
    if (!("then" in converted)) return lookedAhead(converted);
    return converted.then(lookedAhead).catch((refused: unknown) => ({ refused }));
  } catch (refused) {
    return { refused };
  }
}

function* convert(context: ServiceContext, request: Buffer): Steps<Append> {
  const inner = appendIn(request);
  if (inner !== undefined) return yield* appendInSteps(inner, context);
  // Messages of one field, one behind the other, are one message.
  const { entries } = splitRequest(AppendPipeRequestSchema, "append", request);
  if (entries.length > 0) return yield* appendInSteps(Buffer.concat(entries), context);
  const violations = [{ field: "append", description: "is required" }];
  throw new AnnalsError({ reason: "INVALID_FIELD", violations }, "append: is required");
}

/** The bytes of `append`, if the request has that field and nothing else. */
function appendIn(request: Buffer): Buffer | undefined {
  if (request[0] !== tagAppend) return undefined;
  try {
    const reader = new WireReader(request, 1);
    const end = reader.lengthEnd();
    return end === request.length ? request.subarray(reader.offset, end) : undefined;
  } catch {
    return undefined;
  }
}

/** The appends of a pipe whose answers have not been sent, in order. */
class Window {
  private readonly countMax: number;
  private readonly bytesMax: number;
  private readonly pending: PipeAnswer[] = [];
  private bytes = 0;
  isClosed = false;
  private reader: (() => void) | undefined;
  private writer: (() => void) | undefined;

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  /** Whether the next append has to wait for room. */
  get isFull(): boolean {
    return this.pending.length >= this.countMax || this.bytes >= this.bytesMax;
  }

  enter(bytes: number): PipeAnswer {
    const pending: PipeAnswer = { bytes, answer: undefined, answered: this.answered };
    this.pending.push(pending);
    this.bytes += bytes;
    return pending;
  }

  /** Resolves when the window is not full, or is closed. */
  async room(): Promise<void> {
    while (this.isFull && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.reader = resolve;
      });
    }
  }

  private readonly answered = (): void => {
    if (this.pending[0]?.answer !== undefined) this.writer?.();
  };

  /** All answers that can be sent, at least one. Empty when there will be no more. */
  async answers(): Promise<readonly Encoded<AppendPipeResponse>[]> {
    for (;;) {
      const answers: Encoded<AppendPipeResponse>[] = [];
      for (const { answer } of this.pending) {
        if (answer === undefined) break;
        answers.push(answer);
      }
      if (answers.length > 0 || (this.isClosed && this.pending.length === 0)) return answers;
      await new Promise<void>((resolve) => {
        this.writer = resolve;
      });
    }
  }

  /** Removes the first appends after their answers were sent. */
  leave(count: number): void {
    for (const { bytes } of this.pending.splice(0, count)) this.bytes -= bytes;
    this.reader?.();
  }

  /** No append enters any more, and none has to wait for room. */
  close(): void {
    this.isClosed = true;
    this.reader?.();
    this.writer?.();
  }
}
