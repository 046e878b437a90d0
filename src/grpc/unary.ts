// A unary handler under grpc-js: whatever it does, the call ends once, with an answer or a status.

import { status as Code, type handleUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { Call } from "./call.ts";
import { failed, type Edge } from "./edge.ts";
import { trailersOf, type CallStatus } from "./status.ts";

/** Request bytes to answer bytes. */
export type UnaryBytes = (request: Buffer, call: Call) => Promise<Buffer>;

/** What an append that is on its way to disk at its deadline must hear. */
const maybeStored: CallStatus = {
  code: Code.DEADLINE_EXCEEDED,
  message: "the call's deadline passed; what was on its way to disk may be stored",
  details: [],
};

export function unary(
  edge: Edge,
  method: string,
  run: UnaryBytes,
): handleUnaryCall<Buffer, Buffer> {
  return (source, callback) => {
    const call = new Call(source);
    let open = true;
    const end = (status: CallStatus | undefined, answer: Buffer | null): void => {
      if (!open) return;
      open = false;
      call.settle();
      try {
        if (status === undefined) callback(null, answer);
        else fail(callback, status);
      } catch (error) {
        edge.logger.error("an answer could not be sent", { method, error });
      }
    };
    const answered = (answer: Buffer): void => end(undefined, answer);
    const thrown = (error: unknown): void => {
      if (open) end(failed(edge, method, call.peer, error), null);
    };
    // A handler that lets go at the deadline has said so by the end of the turn.
    call.onEnded = (reason) => {
      if (reason.reason === "DEADLINE_EXCEEDED") setImmediate(end, maybeStored, null);
    };
    try {
      run(source.request, call).then(answered, thrown);
    } catch (error) {
      thrown(error);
    }
  };
}

function fail(callback: sendUnaryData<Buffer>, status: CallStatus): void {
  callback({ code: status.code, details: status.message, metadata: trailersOf(status) });
}
