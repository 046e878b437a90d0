// Streaming calls as async iterables. The reader sets the pace: beyond the flow-control window,
// only a bounded number of bytes is taken from the server, undecoded, however long the reader
// pauses.

import type { Writable } from "node:stream";
import {
  InterceptingCall,
  type CallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type Interceptor,
} from "@grpc/grpc-js";
import type { Connection } from "./connection.ts";

/**
 * Bytes of messages between grpc-js and a reader. grpc-js itself limits the number of messages, not
 * their bytes: sixteen messages of up to 4 MiB each.
 */
const readAheadBytesMax = 256 * 1024;

/** Opens a call with further options of grpc-js. Messages are still bytes. */
export type Open<Call> = (options: CallOptions) => Call;
export type Decode<Response> = (bytes: Buffer) => Response;

/**
 * The messages of a call. Leaving the loop, or the signal, cancels the call. Fails with a
 * `CallError`.
 */
export async function* receive<Response>(
  open: Open<ClientReadableStream<Buffer>>,
  decode: Decode<Response>,
  connection: Pick<Connection, "failed">,
  signal?: AbortSignal,
): AsyncGenerator<Response, void, undefined> {
  signal?.throwIfAborted();
  const readAhead = new ReadAhead();
  const call = open({ interceptors: [readAhead.interceptor] });
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  // The status of a call that was cancelled here arrives after the loop and needs a listener.
  call.on("error", () => {});
  try {
    for await (const bytes of call as AsyncIterable<Buffer>) {
      signal?.throwIfAborted();
      readAhead.taken(bytes);
      yield decode(bytes);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw connection.failed(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
    readAhead.release();
  }
}

/** Holds messages back while the reader has enough, so that grpc-js requests no more. */
class ReadAhead {
  private bytes = 0;
  private held: (() => void) | undefined;

  readonly interceptor: Interceptor = (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        next(metadata, {
          onReceiveMessage: (message: Buffer | null, deliver) => {
            const handOn = () => {
              this.bytes += message?.byteLength ?? 0;
              deliver(message);
            };
            if (this.bytes >= readAheadBytesMax) this.held = handOn;
            else handOn();
          },
        });
      },
    });

  taken(message: Buffer): void {
    this.bytes -= message.byteLength;
    if (this.bytes < readAheadBytesMax) this.release();
  }

  release(): void {
    const handOn = this.held;
    this.held = undefined;
    handOn?.();
  }
}

/**
 * Sends requests and yields answers, each at its own pace. A failure of `requests` cancels the call
 * and is thrown. When the answers end, `requests` is returned.
 */
export async function* exchange<Request, Response>(
  open: Open<ClientDuplexStream<Request, Buffer>>,
  decode: Decode<Response>,
  requests: AsyncIterable<Request>,
  connection: Pick<Connection, "failed">,
  signal?: AbortSignal,
): AsyncGenerator<Response, void, undefined> {
  let failed: { readonly error: unknown } | undefined;
  const source = requests[Symbol.asyncIterator]();
  const opened: Open<ClientDuplexStream<Request, Buffer>> = (options) => {
    const call = open(options);
    send(source, call).catch((error: unknown) => {
      failed = { error };
      call.cancel();
    });
    return call;
  };
  try {
    yield* receive(opened, decode, connection, signal);
  } catch (error) {
    throw failed === undefined ? error : failed.error;
  } finally {
    // Not awaited: a source that waits for something else returns later.
    source.return?.().catch(() => {});
  }
}

async function send<Request>(
  source: AsyncIterator<Request>,
  call: ClientDuplexStream<Request, unknown>,
): Promise<void> {
  let over = false;
  call.once("status", () => {
    over = true;
  });
  for (;;) {
    const next = await source.next();
    if (over) return;
    if (next.done === true) break;
    if (!call.write(next.value)) await writableAgain(call);
  }
  call.end();
}

/** `drain` is not emitted after a call has ended, so whichever comes first counts. */
function writableAgain(call: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("status", done);
      resolve();
    };
    call.once("drain", done);
    call.once("status", done);
  });
}
