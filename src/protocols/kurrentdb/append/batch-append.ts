// BatchAppend: one call carries all appends of a client, each under a correlation id of its own.
// They are independent: each is answered when it is durable or refused, in whichever order that
// happens, and no refusal ends the call. An append may come in several messages.

import { AnnalsError } from "../../../domain/errors.ts";
import type { BatchAppendResp } from "../../../gen/event_store/client/streams/streams_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import { prefixed, PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import type { Encoded } from "../../../grpc/transport/methods.ts";
import { Answers, failedBatch, refused, success } from "./batch-answers.ts";
import { Incomplete, type BatchedAppend } from "./batch-requests.ts";
import type { CallerContext } from "../mapping/context.ts";
import { permit, writeNeeds } from "../mapping/permissions.ts";
import { writeEvents } from "./write.ts";

/** Yields answers as many at a time as are ready. */
export async function* batchAppend(
  context: CallerContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
): AsyncGenerator<readonly PrefixedMessages[]> {
  const answers = new Answers(context.limits.pipeAppendsMax, context.limits.pipeBytesMax);
  const reading = takeAll(context, requests, call, answers).finally(() => answers.close());
  // The failure is thrown below; a call that ends early does not ask for it.
  reading.catch(() => {});
  try {
    for (;;) {
      const ready = await answers.ready();
      if (ready === undefined) break;
      yield [new PrefixedMessages(prefixed(ready))];
    }
  } finally {
    answers.close();
  }
  await reading;
}

async function takeAll(
  context: CallerContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
  answers: Answers,
): Promise<void> {
  const incomplete = new Incomplete();
  const hold = (bytes: number): void => call.hold(bytes);
  for await (const some of requests) {
    for (const request of some) {
      const added = call.inSteps(incomplete.add(context, request, hold));
      const batch = added instanceof Promise ? await added : added;
      const room = batch && begin(context, batch, call, answers);
      if (room !== undefined) await room;
    }
    if (answers.isClosed) return;
  }
}

/** A promise, if the next append has to wait for room. */
function begin(
  context: CallerContext,
  batch: BatchedAppend,
  call: Call,
  answers: Answers,
): Promise<void> | undefined {
  answers.enter(batch.bytes);
  void appendBatch(context, batch, call, answers);
  return answers.isFull ? answers.room() : undefined;
}

/** Never rejects. */
async function appendBatch(
  context: CallerContext,
  batch: BatchedAppend,
  call: Call,
  answers: Answers,
): Promise<void> {
  let answer: Encoded<BatchAppendResp>;
  try {
    const { stream, expected, events } = batch;
    if (call.reason !== undefined) throw call.reason;
    if (Date.now() > batch.deadline) throw new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, "late");
    if (batch.refusal !== undefined) throw batch.refusal as Error;
    permit(call, writeNeeds(stream));
    const result = await writeEvents(context, {
      stream,
      expected,
      events,
      principal: call.principal,
    });
    answer = result.kind === "appended" ? success(batch, result) : refused(batch, result);
  } catch (error) {
    answer = failedBatch(context, batch, error);
  }
  call.release(batch.heldBytes);
  answers.add(answer, batch.bytes);
}
