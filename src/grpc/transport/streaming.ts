// Streaming handlers: an async generator of answers, pulled no faster than the client takes them.
// Whatever it does, the call ends once, with OK or a status. The same under grpc-js and straight on
// the HTTP/2 stream (see direct.ts).

import type { Writable } from "node:stream";
import type { handleBidiStreamingCall, handleServerStreamingCall } from "@grpc/grpc-js";
import { AnnalsError } from "../../domain/errors.ts";
import { schedulingPolicy } from "../../log/scheduling/policy.ts";
import { Call, streamingWords, timeoutOf, type ServerCall } from "./call.ts";
import type { TakeOne } from "./direct-one.ts";
import type { TakePipe } from "./direct-pipe.ts";
import type { Sink } from "./direct.ts";
import { failed, type CallEnvironment } from "./call-environment.ts";
import { incomingThrough } from "./incoming.ts";
import { Outgoing } from "./outgoing.ts";
import { inOnePiece, type Message } from "./message-parts.ts";
import { trailersOf } from "./status.ts";

/** A request's bytes, or a pipe of them, to answers, one by one or some together. */
export type Run<I> = (request: I, call: Call) => AsyncIterable<unknown>;
type Encode = (answer: unknown) => Message;

const { callUnsentBytesMax } = schedulingPolicy;

type Source = ServerCall & Writable;

export function serverStreaming(
  environment: CallEnvironment,
  method: string,
  encode: Encode,
  run: Run<Buffer>,
): handleServerStreamingCall<Buffer, Buffer> {
  return (source) => {
    const call = new Call(source, timeoutOf(source.metadata), streamingWords);
    const begin = (): AsyncIterable<unknown> => run(source.request, call);
    void answer({ environment, method, sink: sinkOf(source), call, encode }, begin);
  };
}

export function directStreaming(
  environment: CallEnvironment,
  method: string,
  encode: Encode,
  run: Run<Buffer>,
): TakeOne {
  return (request, direct) => {
    const call = new Call(direct, direct.timeoutMs, streamingWords);
    const begin = (): AsyncIterable<unknown> => run(request, call);
    void answer({ environment, method, sink: direct, call, encode }, begin);
  };
}

/** What has come of a pipe's requests, all that wait at a time. */
type Requests = AsyncIterable<readonly Buffer[]>;

export function bidi(
  environment: CallEnvironment,
  method: string,
  encode: Encode,
  run: Run<Requests>,
): handleBidiStreamingCall<Buffer, Buffer> {
  return (source) => {
    const call = new Call(source, timeoutOf(source.metadata), streamingWords);
    const requests = incomingThrough(source, call.signal, environment.stopping);
    const over = (): void => void requests.return();
    const begin = (): AsyncIterable<unknown> => run(requests, call);
    void answer({ environment, method, sink: sinkOf(source), call, encode }, begin).then(
      over,
      over,
    );
  };
}

export function directBidi(
  environment: CallEnvironment,
  method: string,
  encode: Encode,
  run: Run<Requests>,
): TakePipe {
  return (pipe) => {
    const call = new Call(pipe, pipe.timeoutMs, streamingWords);
    const requests = pipe.requests(call.signal, environment.stopping);
    const over = (): void => void requests.return();
    const begin = (): AsyncIterable<unknown> => run(requests, call);
    void answer({ environment, method, sink: pipe, call, encode }, begin).then(over, over);
  };
}

interface Exchange {
  readonly environment: CallEnvironment;
  readonly method: string;
  readonly sink: Sink;
  readonly call: Call;
  readonly encode: Encode;
}

/** Sends what the handler yields, then the end. Never rejects. */
async function answer(exchange: Exchange, begin: () => AsyncIterable<unknown>): Promise<void> {
  const { environment, method, sink, call, encode } = exchange;
  try {
    try {
      const outgoing = new Outgoing(sink, callUnsentBytesMax, environment.unsentBytes, call.signal);
      for await (const said of begin()) {
        for (const message of Array.isArray(said) ? (said as unknown[]) : [said]) {
          if (call.reason !== undefined) break;
          const room = outgoing.send(encode(message));
          if (room !== undefined) await room;
        }
        if (call.reason !== undefined) break;
      }
      if (call.reason === undefined) sink.end();
      else end(exchange, call.reason);
    } catch (error) {
      // What a handler throws because its call is over is the call's own reason, or beside the
      // point.
      if (call.reason !== undefined && !(error instanceof AnnalsError)) {
        environment.logger.error("a handler failed at the end of its call", { method, error });
      }
      end(exchange, call.reason ?? error);
    } finally {
      call.settle();
    }
  } catch (error) {
    environment.logger.error("an answer could not be ended", { method, error });
  }
}

/** Ends the call with the status of an error. */
function end({ environment, method, sink, call }: Exchange, error: unknown): void {
  sink.fail(failed(environment, method, call.peer, error));
}

/** grpc-js takes the status of a streaming call as an event. */
function sinkOf(source: Source): Sink {
  return {
    write: (message, taken) => void source.write(inOnePiece(message), taken),
    end: () => void source.end(),
    fail: (status) => {
      if (source.destroyed) return;
      const { code, message: details } = status;
      source.emit("error", { code, details, metadata: trailersOf(status) });
    },
  };
}
