// AppendStream: a pipe of independent appends. They are read while earlier ones wait for the disk,
// as far as the window allows, and answered in order; a refused one is an answer like any other.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Append } from "../domain/append.ts";
import { AnnalsError } from "../domain/errors.ts";
import { WireReader } from "../domain/wire.ts";
import {
  AppendFailureSchema,
  AppendStreamRequestSchema,
  type AppendStreamResponse,
} from "../gen/annals/v1/append_pb.js";
import { answerOf } from "./append.ts";
import type { Encoded } from "./bind.ts";
import type { Call } from "./call.ts";
import type { Context } from "./context.ts";
import { appendFromBytes, convertAppend } from "./convert/append.ts";
import { pipeResponse } from "./convert/appended.ts";
import { decodeRequest } from "./decode.ts";
import { failed } from "./edge.ts";

const method = "/annals.v1.EventStoreService/AppendStream";
const tagAppend = 0x0a;
const tagAppended = 0x12;
const tagFailure = 0x1a;

interface Waiting {
  readonly bytes: number;
  readonly answer: Promise<Encoded<AppendStreamResponse>>;
}

/** Yields the answers, in order. Throws where the pipe itself ends before its time. */
export async function* appendStream(
  context: Context,
  requests: AsyncIterable<Buffer>,
  call: Call,
): AsyncGenerator<Encoded<AppendStreamResponse>> {
  const window = new Window(context.limits.pipeAppendsMax, context.limits.pipeBytesMax);
  const reading = takeAll(context, requests, call, window);
  // Its error is for the end of the pipe, which may come without anybody asking for it.
  reading.catch(() => {});
  try {
    for (;;) {
      const waiting = await window.first();
      if (waiting === undefined) break;
      yield await waiting.answer;
      window.leave(waiting);
    }
  } finally {
    window.close();
  }
  await reading;
}

/** Begins every append of the pipe, no more at a time than the window holds. */
async function takeAll(
  context: Context,
  requests: AsyncIterable<Buffer>,
  call: Call,
  window: Window,
): Promise<void> {
  let sequence = 0;
  try {
    for await (const request of requests) {
      sequence++;
      const converted = convertOne(context, request);
      // In order: an append that is looked up first is not overtaken by the ones behind it.
      const append = "then" in converted ? await converted : converted;
      const answer = appendOne(context, append, sequence, call);
      await window.enter({ bytes: request.length, answer });
      if (window.closed) break;
    }
  } finally {
    window.close();
  }
}

/** Never rejects. */
async function appendOne(
  context: Context,
  append: Append | Refused,
  sequence: number,
  call: Call,
): Promise<Encoded<AppendStreamResponse>> {
  try {
    if ("refused" in append) throw append.refused;
    if (call.reason !== undefined) throw call.reason;
    // Without the call's signal: a thousand listeners on one signal cost more than the few appends
    // that are stored although their pipe was just cut off. What became of them is unknown anyway.
    const { outcome, head } = await context.log.append(append);
    return pipeResponse(sequence, tagAppended, answerOf(append, outcome, head));
  } catch (error) {
    const { code, message, details } = failed(context.edge, method, call.peer, error);
    const failure = create(AppendFailureSchema, { code, message, details });
    return pipeResponse(sequence, tagFailure, toBinary(AppendFailureSchema, failure));
  }
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
  const { append } = decodeRequest(AppendStreamRequestSchema, request);
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
  readonly #countMax: number;
  readonly #bytesMax: number;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;
  #closed = false;
  #reader: (() => void) | undefined;
  #writer: (() => void) | undefined;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Takes one more; answers when the next may come. */
  async enter(waiting: Waiting): Promise<void> {
    this.#waiting.push(waiting);
    this.#bytes += waiting.bytes;
    this.#writer?.();
    const full = (): boolean =>
      this.#waiting.length >= this.#countMax || this.#bytes >= this.#bytesMax;
    while (full() && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#reader = resolve;
      });
    }
  }

  /** The one to be answered next; undefined when there will be none. */
  async first(): Promise<Waiting | undefined> {
    while (this.#waiting.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#writer = resolve;
      });
    }
    return this.#waiting[0];
  }

  leave({ bytes }: Waiting): void {
    this.#waiting.shift();
    this.#bytes -= bytes;
    this.#reader?.();
  }

  /** Nothing will enter any more, and nothing has to wait. */
  close(): void {
    this.#closed = true;
    this.#reader?.();
    this.#writer?.();
  }
}
