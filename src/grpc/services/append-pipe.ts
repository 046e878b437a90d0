// AppendPipe: a pipe of independent appends. They are read while earlier ones wait for the disk,
// as far as the window allows, and answered in order; a refused one is an answer like any other.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Append } from "../../domain/append.ts";
import { AnnalsError } from "../../domain/errors.ts";
import { WireReader } from "../../domain/wire.ts";
import {
  AppendFailureSchema,
  AppendPipeRequestSchema,
  type AppendPipeResponse,
} from "../../gen/annals/v1/append_pb.js";
import { answerOf } from "./append.ts";
import type { Encoded } from "../transport/bind.ts";
import type { Call } from "../transport/call.ts";
import type { Context } from "./context.ts";
import { appendFromBytes, convertAppend } from "../convert/append.ts";
import { pipeResponse } from "../convert/appended.ts";
import { decodeRequest } from "../transport/decode.ts";
import { failed } from "../transport/call-environment.ts";

const method = "/annals.v1.EventStoreService/AppendPipe";
const tagAppend = 0x0a;
const tagAppended = 0x12;
const tagFailure = 0x1a;

/** An append's place among the answers of its pipe. */
interface Place {
  readonly bytes: number;
  answer: Encoded<AppendPipeResponse> | undefined;
  /** To be called when there is an answer. */
  readonly answered: () => void;
}

/**
 * Yields the answers, in order, as many as are ready. Throws where the pipe itself ends before its
 * time.
 */
export async function* appendPipe(
  context: Context,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
): AsyncGenerator<readonly Encoded<AppendPipeResponse>[]> {
  const window = new Window(context.limits.pipeAppendsMax, context.limits.pipeBytesMax);
  const reading = takeAll(context, requests, call, window);
  // Its error is for the end of the pipe, which may come without anybody asking for it.
  reading.catch(() => {});
  try {
    for (;;) {
      const answers = await window.answers();
      if (answers.length === 0) break;
      yield answers;
      window.leave(answers.length);
    }
  } finally {
    window.close();
  }
  await reading;
}

/** Begins every append of the pipe, no more at a time than the window holds. */
async function takeAll(
  context: Context,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
  window: Window,
): Promise<void> {
  let sequence = 0;
  try {
    for await (const some of requests) {
      for (const request of some) {
        sequence++;
        const converted = convertOne(context, request);
        // In order: an append that is looked up first is not overtaken by the ones behind it.
        const append = "then" in converted ? await converted : converted;
        void appendOne(context, append, sequence, call, window.enter(request.length));
        if (window.isFull) await window.room();
        if (window.closed) return;
      }
    }
  } finally {
    window.close();
  }
}

/** Its place gets the answer. Never rejects. */
async function appendOne(
  context: Context,
  append: Append | Refused,
  sequence: number,
  call: Call,
  place: Place,
): Promise<void> {
  try {
    if ("refused" in append) throw append.refused;
    if (call.reason !== undefined) throw call.reason;
    // Without the call's signal: a thousand listeners on one signal cost more than the few appends
    // that are stored although their pipe was just cut off. What became of them is unknown anyway.
    const { outcome, head } = await context.log.append(append);
    place.answer = pipeResponse(sequence, tagAppended, answerOf(append, outcome, head));
  } catch (error) {
    const { code, message, details } = failed(context.environment, method, call.peer, error);
    const failure = create(AppendFailureSchema, { code, message, details });
    place.answer = pipeResponse(sequence, tagFailure, toBinary(AppendFailureSchema, failure));
  }
  place.answered();
}

/** Why one request of the pipe is no append. */
interface Refused {
  readonly refused: unknown;
}

/** Neither throws nor rejects. */
function convertOne(
  context: Context,
  request: Buffer,
): Append | Refused | Promise<Append | Refused> {
  try {
    const append = convert(context, request);
    return context.log.lookAhead(append)?.catch((refused: unknown) => ({ refused })) ?? append;
  } catch (refused) {
    return { refused };
  }
}

function convert(context: Context, request: Buffer): Append {
  const inner = appendIn(request);
  if (inner !== undefined) return appendFromBytes(inner, context);
  const { append } = decodeRequest(AppendPipeRequestSchema, request);
  if (append !== undefined) return convertAppend(append, context);
  const violations = [{ field: "append", description: "is required" }];
  throw new AnnalsError({ reason: "INVALID_FIELD", violations }, "append: is required");
}

/** The bytes of `append`, where the request is that field and nothing else. */
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

/** The appends of a pipe that wait for their answer to be sent, in order. */
class Window {
  private readonly countMax: number;
  private readonly bytesMax: number;
  private readonly places: Place[] = [];
  private bytes = 0;
  private isClosed = false;
  private reader: (() => void) | undefined;
  private writer: (() => void) | undefined;

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  get closed(): boolean {
    return this.isClosed;
  }

  /** The next append has to wait for room. */
  get isFull(): boolean {
    return this.places.length >= this.countMax || this.bytes >= this.bytesMax;
  }

  enter(bytes: number): Place {
    const place: Place = { bytes, answer: undefined, answered: this.answered };
    this.places.push(place);
    this.bytes += bytes;
    return place;
  }

  /** Resolves once it is not full, or closed. */
  async room(): Promise<void> {
    while (this.isFull && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.reader = resolve;
      });
    }
  }

  private readonly answered = (): void => {
    if (this.places[0]?.answer !== undefined) this.writer?.();
  };

  /** All that can be sent, at least one; none when there will be none any more. */
  async answers(): Promise<readonly Encoded<AppendPipeResponse>[]> {
    for (;;) {
      const answers: Encoded<AppendPipeResponse>[] = [];
      for (const { answer } of this.places) {
        if (answer === undefined) break;
        answers.push(answer);
      }
      if (answers.length > 0 || (this.isClosed && this.places.length === 0)) return answers;
      await new Promise<void>((resolve) => {
        this.writer = resolve;
      });
    }
  }

  /** The first ones have been sent. */
  leave(count: number): void {
    for (const { bytes } of this.places.splice(0, count)) this.bytes -= bytes;
    this.reader?.();
  }

  /** Nothing will enter any more, and nothing has to wait for room. */
  close(): void {
    this.isClosed = true;
    this.reader?.();
    this.writer?.();
  }
}
