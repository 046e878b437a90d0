// A unary handler: whatever it does, the call ends once, with an answer or a status. The same under
// grpc-js and straight on the HTTP/2 stream (see direct.ts).

import type { handleUnaryCall } from "@grpc/grpc-js";
import { Call, timeoutOf } from "./call.ts";
import type { TakeOne } from "./direct-one.ts";
import { failed, type CallEnvironment } from "./call-environment.ts";
import { StatusCode, trailersOf, type CallStatus } from "./status.ts";

/** Request bytes to answer bytes. */
export type UnaryBytes = (request: Buffer, call: Call) => Promise<Buffer>;

/** How a call is ended: by one of the two. */
interface Ends {
  answer(answer: Buffer): void;
  fail(status: CallStatus): void;
}

/** What an append that is on its way to disk at its deadline must hear. */
const maybeStored: CallStatus = {
  code: StatusCode.DEADLINE_EXCEEDED,
  message: "the call's deadline passed; what was on its way to disk may be stored",
  details: [],
};

export function unary(
  environment: CallEnvironment,
  method: string,
  run: UnaryBytes,
): handleUnaryCall<Buffer, Buffer> {
  return (source, callback) => {
    const call = new Call(source, timeoutOf(source.metadata));
    serve(environment, method, run, source.request, call, {
      answer: (answer) => callback(null, answer),
      fail: (status) => {
        callback({ code: status.code, details: status.message, metadata: trailersOf(status) });
      },
    });
  };
}

export function directUnary(
  environment: CallEnvironment,
  method: string,
  run: UnaryBytes,
): TakeOne {
  return (request, direct) => {
    serve(environment, method, run, request, new Call(direct, direct.timeoutMs), direct);
  };
}

function serve(
  environment: CallEnvironment,
  method: string,
  run: UnaryBytes,
  request: Buffer,
  call: Call,
  ends: Ends,
): void {
  let open = true;
  const end = (status: CallStatus | undefined, answer: Buffer): void => {
    if (!open) return;
    open = false;
    call.settle();
    try {
      if (status === undefined) ends.answer(answer);
      else ends.fail(status);
    } catch (error) {
      environment.logger.error("an answer could not be sent", { method, error });
    }
  };
  const answered = (answer: Buffer): void => end(undefined, answer);
  const thrown = (error: unknown): void => {
    if (open) end(failed(environment, method, call.peer, error), nothing);
  };
  // A handler that lets go at the deadline has said so by the end of the turn.
  call.onEnded = (reason) => {
    if (reason.reason === "DEADLINE_EXCEEDED") setImmediate(end, maybeStored, nothing);
  };
  try {
    run(request, call).then(answered, thrown);
  } catch (error) {
    thrown(error);
  }
}

const nothing = Buffer.alloc(0);
